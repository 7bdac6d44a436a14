#include "kernels/dense.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string_view>

#include "kernels/activation_kernels.h"
#include "kernels/expect.h"

namespace kindling::kernels {
namespace {

// Packing the weights pays from a few samples on; below that each output is a dot product along the fan-in, whose fixed
// cost, the sum over the lanes, needs a large fan-in.
constexpr std::int64_t most_dot_rows = 16;
constexpr std::int64_t least_dot_depth(std::int64_t rows) { return std::max<std::int64_t>(40 * rows, 40); }

// Up to here the gradients read their matrix in place, row by row.
constexpr std::int64_t most_few_rows = 4;

// One kernel for any number of samples and its form for a few.
struct BatchKernels {
  Kernel any, few;

  [[nodiscard]] const Kernel& of(std::int64_t samples) const { return samples <= most_few_rows ? few : any; }
};

// A matrix as rank 2, whatever the rank of its rows.
Buffer in_matrix(ConstTensorView v) { return in(v.matrix()); }
Buffer out_matrix(TensorView v) { return out(v.matrix()); }
Buffer inout_matrix(TensorView v) { return inout(v.matrix()); }

void expect_gradient_operands(std::string_view kernel, ConstTensorView x, ConstTensorView dz) {
  if (x.rank() < 1 || dz.rank() < 1) refuse(kernel, "expected x and dz, found a view of nothing");
  expect_shape(kernel, "x", x, dz.rows(), x.cols());
  expect_shape(kernel, "dz", dz, x.rows(), dz.cols());
}

// What the two parts are called in a message.
struct Names {
  std::string_view weights, biases;
};

void expect_parameters(std::string_view kernel, const Names& names, const DenseParameters& p, ConstTensorView x,
                       ConstTensorView dz) {
  expect_shape(kernel, names.weights, p.weight, dz.cols(), x.cols());
  expect_size(kernel, names.biases, p.bias, dz.cols());
}

// A layer without inputs still has outputs, and biases to update, but kernels clamp their loads to an element of X and
// W: one feature of zeros stands in.
Tensor no_features(ConstTensorView x) { return Tensor({x.rows(), 1}); }

}  // namespace

void dense_forward(const Execution& execution, ConstTensorView x, ConstTensorView w, std::span<const float> bias,
                   const Activation& activation, TensorView y) {
  constexpr std::string_view name = "dense_forward";
  expect_shape(name, "x", x, x.rows(), w.cols());
  expect_shape(name, "w", w, y.cols(), w.cols());
  expect_size(name, "bias", bias, w.rows());
  expect_shape(name, "y", y, x.rows(), w.rows());
  if (y.size() == 0) return;
  if (x.cols() == 0) return dense_forward(execution, no_features(x), no_features(w), bias, activation, y);
  static const ActivationKernels kernels("dense_forward"), few("dense_forward_few");
  const bool dots = x.rows() <= most_dot_rows && x.cols() >= least_dot_depth(x.rows());
  (dots ? few : kernels)
      .of(activation)(execution, in_matrix(x), in_matrix(w), in(bias), slope_of(activation), out_matrix(y));
}

void dense_forward_added(const Execution& execution, ConstTensorView x, ConstTensorView w, ConstTensorView added,
                         const Activation& activation, TensorView y) {
  constexpr std::string_view name = "dense_forward_added";
  expect_shape(name, "x", x, x.rows(), w.cols());
  expect_shape(name, "w", w, y.cols(), w.cols());
  expect_shape(name, "added", added, added.rows(), w.rows());
  expect_shape(name, "y", y, x.rows(), w.rows());
  if (y.size() == 0) return;
  expect_count(name, "rows of added", added.rows(), 1);
  if (x.cols() == 0) return dense_forward_added(execution, no_features(x), no_features(w), added, activation, y);
  static const Kernel kernel("dense_forward_added");
  kernel(execution, in_matrix(x), in_matrix(w), in_matrix(added), negative_slope(activation), out_matrix(y));
}

void dense_input_gradient(const Execution& execution, ConstTensorView dz, ConstTensorView w, ConstTensorView x,
                          const Activation& below, TensorView dx) {
  constexpr std::string_view name = "dense_input_gradient";
  expect_shape(name, "dz", dz, dz.rows(), w.rows());
  expect_shape(name, "w", w, dz.cols(), w.cols());
  expect_shape(name, "x", x, dz.rows(), w.cols());
  expect_shape(name, "dx", dx, dz.rows(), w.cols());
  if (dx.size() == 0) return;
  // A layer without outputs: one of zeros stands in.
  if (dz.cols() == 0) return dense_input_gradient(execution, no_features(dz), Tensor({1, w.cols()}), x, below, dx);
  static const ActivationKernels kernels("dense_input_gradient"), few("dense_input_gradient_few");
  (dz.rows() <= most_few_rows ? few : kernels)
      .of(below)(execution, in_matrix(dz), in_matrix(w), in_matrix(x), slope_of(below), out_matrix(dx));
}

void dense_weight_gradient(const Execution& execution, ConstTensorView x, ConstTensorView dz, TensorView dw,
                           std::span<float> db) {
  constexpr std::string_view name = "dense_weight_gradient";
  expect_gradient_operands(name, x, dz);
  expect_parameters(name, {"gradient weights", "gradient biases"}, {dw, db}, x, dz);
  if (x.rows() == 0) {
    expect_apart(name, {{"gradient weights", dw}, {"gradient biases", db}}, {});
    for (std::int64_t m = 0; m < dw.rows(); ++m) std::fill_n(dw.row(m), dw.cols(), 0.0F);
    std::fill(db.begin(), db.end(), 0.0F);
    return;
  }
  if (dz.cols() == 0) return;
  if (x.cols() == 0) {
    Tensor none({dz.cols(), 1});
    return dense_weight_gradient(execution, no_features(x), dz, none, db);
  }
  static const BatchKernels kernels{Kernel("dense_weight_gradient"), Kernel("dense_weight_gradient_few")};
  kernels.of(x.rows())(execution, in_matrix(x), in_matrix(dz), out_matrix(dw), out(db));
}

void dense_weight_sgd(const Execution& execution, ConstTensorView x, ConstTensorView dz,
                      const DenseParameters& parameters, const SgdStep& step) {
  constexpr std::string_view name = "dense_weight_sgd";
  expect_gradient_operands(name, x, dz);
  expect_parameters(name, {"parameter weights", "parameter biases"}, parameters, x, dz);
  if (dz.size() == 0) return;
  if (x.cols() == 0) {
    Tensor none({dz.cols(), 1});
    return dense_weight_sgd(execution, no_features(x), dz, {none, parameters.bias}, step);
  }
  static const BatchKernels kernels{Kernel("dense_weight_sgd"), Kernel("dense_weight_sgd_few")};
  kernels.of(x.rows())(execution, in_matrix(x), in_matrix(dz), step.learning_rate, step.weight_decay,
                       inout_matrix(parameters.weight), inout(parameters.bias));
}

void dense_weight_momentum(const Execution& execution, ConstTensorView x, ConstTensorView dz,
                           const DenseParameters& parameters, const DenseParameters& velocity,
                           const MomentumStep& step) {
  constexpr std::string_view name = "dense_weight_momentum";
  expect_gradient_operands(name, x, dz);
  expect_parameters(name, {"parameter weights", "parameter biases"}, parameters, x, dz);
  expect_parameters(name, {"velocity weights", "velocity biases"}, velocity, x, dz);
  if (dz.size() == 0) return;
  if (x.cols() == 0) {
    Tensor none({dz.cols(), 1}), no_velocity({dz.cols(), 1});
    return dense_weight_momentum(execution, no_features(x), dz, {none, parameters.bias}, {no_velocity, velocity.bias},
                                 step);
  }
  static const BatchKernels kernels{Kernel("dense_weight_momentum"), Kernel("dense_weight_momentum_few")};
  kernels.of(x.rows())(execution, in_matrix(x), in_matrix(dz), step.learning_rate, step.weight_decay, step.momentum,
                       inout_matrix(parameters.weight), inout_matrix(velocity.weight), inout(parameters.bias),
                       inout(velocity.bias));
}

void dense_weight_adam(const Execution& execution, ConstTensorView x, ConstTensorView dz,
                       const DenseParameters& parameters, const DenseParameters& mean, const DenseParameters& square,
                       const AdamStep& step) {
  constexpr std::string_view name = "dense_weight_adam";
  expect_gradient_operands(name, x, dz);
  expect_parameters(name, {"parameter weights", "parameter biases"}, parameters, x, dz);
  expect_parameters(name, {"first-moment weights", "first-moment biases"}, mean, x, dz);
  expect_parameters(name, {"second-moment weights", "second-moment biases"}, square, x, dz);
  if (step.step < 1) refuse(name, fmt::format("expected a step number from 1 on, found {}", step.step));
  if (dz.size() == 0) return;
  if (x.cols() == 0) {
    Tensor none({dz.cols(), 1}), no_mean({dz.cols(), 1}), no_square({dz.cols(), 1});
    return dense_weight_adam(execution, no_features(x), dz, {none, parameters.bias}, {no_mean, mean.bias},
                             {no_square, square.bias}, step);
  }
  const auto correction = [&](float beta) {
    return static_cast<float>(1.0 - std::pow(static_cast<double>(beta), static_cast<double>(step.step)));
  };
  const auto rest = [](float beta) { return static_cast<float>(1.0 - static_cast<double>(beta)); };
  static const BatchKernels kernels{Kernel("dense_weight_adam"), Kernel("dense_weight_adam_few")};
  kernels.of(x.rows())(execution, in_matrix(x), in_matrix(dz), step.learning_rate, step.weight_decay, step.beta1,
                       step.beta2, rest(step.beta1), rest(step.beta2), step.epsilon, correction(step.beta1),
                       correction(step.beta2), inout_matrix(parameters.weight), inout_matrix(mean.weight),
                       inout_matrix(square.weight), inout(parameters.bias), inout(mean.bias), inout(square.bias));
}

void dense_moments(const Execution& execution, ConstTensorView x, ConstTensorView w, std::span<const float> bias,
                   const Activation& activation, std::span<const std::int32_t> labels, std::span<const float> shift,
                   std::int64_t classes, std::span<double> sum, std::span<double> sum_squares) {
  constexpr std::string_view name = "dense_moments";
  const std::int64_t units = w.rows();
  expect_shape(name, "x", x, x.rows(), w.cols());
  expect_shape(name, "w", w, units, w.cols());
  expect_size(name, "bias", bias, units);
  expect_size(name, "shift", shift, units);
  expect_size(name, "labels", labels, x.rows());
  expect_count(name, "classes", classes, 1);
  expect_size(name, "sum", sum, units * classes);
  expect_size(name, "sum_squares", sum_squares, units * classes);
  expect_labels(name, labels, classes);
  expect_apart(name, {{"sum", sum}, {"sum_squares", sum_squares}},
               {{"x", x}, {"w", w}, {"bias", bias}, {"labels", labels}, {"shift", shift}});
  if (x.rows() == 0 || units == 0) return;
  if (x.cols() == 0) {
    return dense_moments(execution, no_features(x), no_features(w), bias, activation, labels, shift, classes, sum,
                         sum_squares);
  }

  static const ActivationKernels kernels("dense_moments");
  // The kernel keeps one float32 sum per group: enough groups a call to share the packing of W, few enough that their
  // sums stay small. How many makes no difference to the result.
  constexpr std::int64_t most_groups = 32, group_sum_bytes = 16 << 20;
  const std::int64_t groups = std::clamp<std::int64_t>(group_sum_bytes / (8 * units * classes), 1, most_groups);
  const std::int64_t rows_per_call = groups * moment_group_rows;
  const auto totals = [&](std::span<double> values) {
    return Buffer(Buffer::Use::inout, values.data(), {units, classes}, {1, units});
  };
  for (std::int64_t first = 0; first < x.rows(); first += rows_per_call) {
    const std::int64_t count = std::min(rows_per_call, x.rows() - first);
    kernels.of(activation)(execution, in_matrix(x.rows(first, count)), in_matrix(w), in(bias),
                           in(labels.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count))),
                           in(shift), slope_of(activation), totals(sum), totals(sum_squares));
  }
}

}  // namespace kindling::kernels
