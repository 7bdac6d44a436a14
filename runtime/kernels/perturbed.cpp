#include "kernels/perturbed.h"

#include <algorithm>
#include <cmath>

#include "kernels/activation_kernels.h"
#include "kernels/expect.h"

namespace kindling::kernels {
namespace {

struct Sizes {
  std::int64_t samples, batch, fan_in, fan_out;
};

template <class T>
void expect_samples(std::string_view kernel, std::string_view name, const BasicTensorView<T>& view,
                    std::int64_t samples, std::int64_t batch, std::int64_t cols) {
  if (view.rank() != 3 || view.extent(0) != samples || view.extent(1) != batch || view.extent(2) != cols) {
    refuse(kernel, fmt::format("expected {} of {} x {} x {}, found {}", name, samples, batch, cols,
                               shape_string(view.shape())));
  }
  expect_rows(kernel, name, view);
}

void expect_perturbation(std::string_view kernel, const Perturbation& p, const Sizes& s) {
  if (s.fan_in < 1) refuse(kernel, fmt::format("expected a fan-in of at least 1, found {}", s.fan_in));
  for (const float stddev : {p.weight_stddev, p.bias_stddev}) {
    if (!std::isfinite(stddev) || stddev < 0) {
      refuse(kernel, fmt::format("expected finite standard deviations >= 0, found {}", stddev));
    }
  }
  if (s.samples * perturbation_blocks(s.fan_in, s.fan_out) > std::int64_t{1} << 32) {
    refuse(kernel, fmt::format("a stream has 2^32 blocks of four, found {} samples of {}", s.samples,
                               perturbation_blocks(s.fan_in, s.fan_out)));
  }
}

// A buffer spans less than 2^31 bytes, and a device holds the perturbed weights of a whole call.
std::int64_t samples_per_call(const Execution& execution, const Sizes& s) {
  const std::int64_t weights = execution.target->gpu ? s.fan_in * s.fan_out : 1;
  const std::int64_t elements = std::max({s.batch * std::max(s.fan_in, s.fan_out), weights, std::int64_t{1}});
  return std::max<std::int64_t>(1, (std::int64_t{1} << 27) / elements);
}

// `count` samples from `first` on of an S x N x C view; an N x C view stands for every sample.
template <class T>
Buffer samples_of(Buffer::Use use, const BasicTensorView<T>& v, std::int64_t first, std::int64_t count) {
  if (v.rank() == 2) return Buffer(use, v.data(), {v.cols(), v.rows(), 1}, {1, v.row_stride(), 0});
  return Buffer(use, v.data() + first * v.row_stride(), {v.extent(2), v.extent(1), count},
                {1, v.extent(2), v.row_stride()});
}

template <class Run>
void in_parts(const Execution& execution, const Perturbation& p, const Sizes& s, const Run& run) {
  const std::int64_t most = samples_per_call(execution, s);
  for (std::int64_t first = 0; first < s.samples; first += most) {
    const auto block = static_cast<std::uint32_t>(first * perturbation_blocks(s.fan_in, s.fan_out));
    run(first, std::min(most, s.samples - first), block, static_cast<std::uint32_t>(p.stream.seed),
        static_cast<std::uint32_t>(p.stream.seed >> 32U), static_cast<std::uint32_t>(p.stream.purpose));
  }
}

}  // namespace

std::int64_t perturbation_blocks(std::int64_t fan_in, std::int64_t fan_out) {
  return fan_out * ((fan_in + 3) / 4) + (fan_out + 3) / 4;
}

void perturbed_dense_forward(const Execution& execution, const Perturbation& perturbation, ConstTensorView x,
                             ConstTensorView w, std::span<const float> bias, const Activation& activation,
                             TensorView y) {
  constexpr std::string_view name = "perturbed_dense_forward";
  if (y.rank() != 3) refuse(name, fmt::format("expected y of S x N x M, found {}", shape_string(y.shape())));
  const Sizes s{y.extent(0), y.extent(1), w.cols(), y.extent(2)};
  expect_samples(name, "y", y, s.samples, s.batch, s.fan_out);
  expect_shape(name, "w", w, s.fan_out, s.fan_in);
  expect_size(name, "bias", bias, s.fan_out);
  if (x.rank() == 2) {
    expect_shape(name, "x", x, s.batch, s.fan_in);
  } else {
    expect_samples(name, "x", x, s.samples, s.batch, s.fan_in);
  }
  expect_perturbation(name, perturbation, s);
  if (y.size() == 0) return;
  static const ActivationKernels kernels("perturbed_dense_forward");
  in_parts(execution, perturbation, s,
           [&](std::int64_t first, std::int64_t count, std::uint32_t block, std::uint32_t low, std::uint32_t high,
               std::uint32_t purpose) {
             kernels.of(activation)(execution, low, high, perturbation.stream.step, perturbation.stream.unit, purpose,
                                    block, perturbation.weight_stddev, perturbation.bias_stddev,
                                    samples_of(Buffer::Use::in, x, first, count), in(w.matrix()), in(bias),
                                    slope_of(activation), static_cast<std::int32_t>(count),
                                    samples_of(Buffer::Use::out, y, first, count));
           });
}

void perturbed_input_gradient(const Execution& execution, const Perturbation& perturbation, ConstTensorView dz,
                              ConstTensorView w, ConstTensorView x, const Activation& below, TensorView dx) {
  constexpr std::string_view name = "perturbed_input_gradient";
  if (dz.rank() != 3) refuse(name, fmt::format("expected dz of S x N x M, found {}", shape_string(dz.shape())));
  const Sizes s{dz.extent(0), dz.extent(1), w.cols(), dz.extent(2)};
  expect_samples(name, "dz", dz, s.samples, s.batch, s.fan_out);
  expect_shape(name, "w", w, s.fan_out, s.fan_in);
  expect_samples(name, "x", x, s.samples, s.batch, s.fan_in);
  expect_samples(name, "dx", dx, s.samples, s.batch, s.fan_in);
  expect_perturbation(name, perturbation, s);
  if (dx.size() == 0) return;
  if (s.fan_out == 0) {
    // Sums of nothing, of which a NaN in X still makes one.
    for (std::int64_t i = 0; i < s.samples; ++i) {
      std::transform(x.row(i), x.row(i) + s.batch * s.fan_in, dx.row(i), [](float v) { return std::isnan(v) ? v : 0; });
    }
    return;
  }
  static const ActivationKernels kernels("perturbed_input_gradient");
  in_parts(execution, perturbation, s,
           [&](std::int64_t first, std::int64_t count, std::uint32_t block, std::uint32_t low, std::uint32_t high,
               std::uint32_t purpose) {
             kernels.of(below)(execution, low, high, perturbation.stream.step, perturbation.stream.unit, purpose, block,
                               perturbation.weight_stddev, samples_of(Buffer::Use::in, dz, first, count),
                               in(w.matrix()), samples_of(Buffer::Use::in, x, first, count), slope_of(below),
                               samples_of(Buffer::Use::out, dx, first, count));
           });
}

}  // namespace kindling::kernels
