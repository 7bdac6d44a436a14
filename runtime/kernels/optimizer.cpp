#include "kernels/optimizer.h"

#include <cmath>

#include "kernels/expect.h"

namespace kindling::kernels {
namespace {

// One row, as the kernels take them.
template <class T>
Buffer row(Buffer::Use use, std::span<T> values) {
  const auto size = static_cast<std::int64_t>(values.size());
  return Buffer(use, values.data(), {size, 1}, {1, size});
}
Buffer in_row(std::span<const float> values) { return row(Buffer::Use::in, values); }
Buffer inout_row(std::span<float> values) { return row(Buffer::Use::inout, values); }

}  // namespace

void sgd_step(const Execution& execution, std::span<const float> gradient, const SgdStep& step,
              std::span<float> parameters) {
  static const Kernel kernel{"sgd_step"};
  expect_size("sgd_step", "parameters", parameters, static_cast<std::int64_t>(gradient.size()));
  if (gradient.empty()) return;
  kernel(execution, in_row(gradient), step.learning_rate, step.weight_decay, inout_row(parameters));
}

void momentum_step(const Execution& execution, std::span<const float> gradient, const MomentumStep& step,
                   std::span<float> parameters, std::span<float> velocity) {
  static const Kernel kernel{"momentum_step"};
  const auto size = static_cast<std::int64_t>(gradient.size());
  expect_size("momentum_step", "parameters", parameters, size);
  expect_size("momentum_step", "velocity", velocity, size);
  if (size == 0) return;
  kernel(execution, in_row(gradient), step.learning_rate, step.weight_decay, step.momentum, inout_row(parameters),
         inout_row(velocity));
}

void adam_step(const Execution& execution, std::span<const float> gradient, const AdamStep& step,
               std::span<float> parameters, std::span<float> mean, std::span<float> mean_square) {
  static const Kernel kernel{"adam_step"};
  const auto size = static_cast<std::int64_t>(gradient.size());
  expect_size("adam_step", "parameters", parameters, size);
  expect_size("adam_step", "mean", mean, size);
  expect_size("adam_step", "mean_square", mean_square, size);
  if (step.step < 1) refuse("adam_step", fmt::format("steps count from 1, found {}", step.step));
  if (size == 0) return;
  // Powers in float64: near 1, what is left of 1 would have few digits.
  const auto t = static_cast<double>(step.step);
  const double beta1 = step.beta1, beta2 = step.beta2;
  kernel(execution, in_row(gradient), step.learning_rate, step.weight_decay, step.beta1, step.beta2, step.epsilon,
         static_cast<float>(1 - beta1), static_cast<float>(1 - beta2), static_cast<float>(1 - std::pow(beta1, t)),
         static_cast<float>(1 - std::pow(beta2, t)), inout_row(parameters), inout_row(mean), inout_row(mean_square));
}

}  // namespace kindling::kernels
