#include "kernels/batch_norm.h"

#include <cmath>
#include <vector>

#include "kernels/device_log.h"
#include "kernels/expect.h"
#include "kernels/loss.h"

namespace kindling::kernels {
namespace {

using Use = Buffer::Use;

bool is_smooth(const Activation& a) { return a.kind == ActivationKind::tanh || a.kind == ActivationKind::sigmoid; }

std::int64_t expect_channels(std::string_view kernel, ConstTensorView x, std::size_t channels) {
  expect_rows(kernel, "x", x);
  const auto c = static_cast<std::int64_t>(channels);
  if (c < 1 || x.cols() % c != 0) {
    refuse(kernel, fmt::format("expected rows of a multiple of {} channels, found {}", c, x.cols()));
  }
  if (x.cols() != c && !x.contiguous()) {
    refuse(kernel, fmt::format("expected contiguous rows of images, found rows of {} elements {} apart", x.cols(),
                               x.row_stride()));
  }
  return c;
}

void expect_like(std::string_view kernel, std::string_view name, ConstTensorView v, ConstTensorView x, std::int64_t c) {
  expect_shape(kernel, name, v, x.rows(), x.cols());
  if (x.cols() != c && !v.contiguous()) refuse(kernel, fmt::format("expected contiguous rows of {}", name));
}

// (channels, positions of all samples)
template <class T>
Buffer matrix(Use use, const BasicTensorView<T>& v, std::int64_t channels) {
  const std::int64_t positions = v.cols() / channels;
  const std::int64_t stride = positions > 1 || v.rank() <= 1 ? channels : v.row_stride();
  return Buffer(use, v.data(), {channels, v.rows() * positions}, {1, stride});
}

void apply(const Execution& execution, ConstTensorView x, const BatchNormParameters& parameters,
           std::span<const float> mean, std::span<const float> inverse_std, const Activation& activation, TensorView y,
           std::int64_t channels) {
  static const Kernel piecewise_linear{"batch_norm_apply"}, tanh{"batch_norm_apply_tanh"},
      sigmoid{"batch_norm_apply_sigmoid"};
  const Kernel& kernel = activation.kind == ActivationKind::tanh ? tanh
                         : is_smooth(activation)                 ? sigmoid
                                                                 : piecewise_linear;
  kernel(execution, matrix(Use::in, x, channels), in(mean), in(inverse_std), in(parameters.weight), in(parameters.bias),
         is_smooth(activation) ? 0.0F : negative_slope(activation), matrix(Use::out_in_place, y, channels));
}

void expect_parameters(std::string_view kernel, const BatchNormParameters& p, std::int64_t channels) {
  expect_size(kernel, "weight", p.weight, channels);
  expect_size(kernel, "bias", p.bias, channels);
  if (!(p.epsilon > 0)) refuse(kernel, fmt::format("expected a positive epsilon, found {}", p.epsilon));
}

}  // namespace

void batch_norm_moments(const Execution& execution, ConstTensorView x, std::span<double> mean,
                        std::span<double> variance) {
  constexpr std::string_view name = "batch_norm_moments";
  const std::int64_t channels = expect_channels(name, x, mean.size());
  expect_size(name, "variance", variance, channels);
  if (x.rows() == 0) refuse(name, "expected at least one sample, found none");
  static const Kernel kernel{"batch_norm_statistics"};
  kernel(execution, matrix(Use::in, x, channels), out(mean), out(variance));
}

void batch_norm_forward(const Execution& execution, ConstTensorView x, const BatchNormParameters& parameters,
                        const Activation& activation, const BatchNormSaved& saved, const RunningStatistics& running,
                        TensorView y) {
  constexpr std::string_view name = "batch_norm_forward";
  const std::int64_t channels = expect_channels(name, x, parameters.weight.size());
  expect_parameters(name, parameters, channels);
  expect_size(name, "saved mean", saved.mean, channels);
  expect_size(name, "saved inverse_std", saved.inverse_std, channels);
  expect_size(name, "running mean", running.mean, channels);
  expect_size(name, "running variance", running.variance, channels);
  expect_like(name, "y", y, x, channels);
  const auto values = static_cast<double>(x.size() / channels);
  if (values < 2) {
    refuse(name, fmt::format("the statistics of a batch need at least 2 values a channel, found {}", values));
  }
  on_host("batch-norm: means and deviations of every batch, from its sums");
  std::vector<double> mean(static_cast<std::size_t>(channels)), variance(mean.size());
  batch_norm_moments(execution, x, mean, variance);
  const double momentum = running.momentum, unbiased = values / (values - 1);
  for (std::size_t c = 0; c < mean.size(); ++c) {
    saved.mean[c] = static_cast<float>(mean[c]);
    saved.inverse_std[c] = static_cast<float>(1 / std::sqrt(variance[c] + double{parameters.epsilon}));
    running.mean[c] = static_cast<float>((1 - momentum) * double{running.mean[c]} + momentum * mean[c]);
    running.variance[c] =
        static_cast<float>((1 - momentum) * double{running.variance[c]} + momentum * unbiased * variance[c]);
  }
  apply(execution, x, parameters, saved.mean, saved.inverse_std, activation, y, channels);
}

void batch_norm_inference(const Execution& execution, ConstTensorView x, const BatchNormParameters& parameters,
                          std::span<const float> mean, std::span<const float> variance, const Activation& activation,
                          TensorView y) {
  constexpr std::string_view name = "batch_norm_inference";
  const std::int64_t channels = expect_channels(name, x, parameters.weight.size());
  expect_parameters(name, parameters, channels);
  expect_size(name, "mean", mean, channels);
  expect_size(name, "variance", variance, channels);
  expect_like(name, "y", y, x, channels);
  if (x.size() == 0) return;
  std::vector<float> inverse_std(variance.size());
  for (std::size_t c = 0; c < inverse_std.size(); ++c) {
    inverse_std[c] = static_cast<float>(1 / std::sqrt(double{variance[c]} + double{parameters.epsilon}));
  }
  apply(execution, x, parameters, mean, inverse_std, activation, y, channels);
}

void batch_norm_weight_gradient(const Execution& execution, ConstTensorView dz, ConstTensorView x,
                                const BatchNormSaved& saved, std::span<float> dweight, std::span<float> dbias) {
  constexpr std::string_view name = "batch_norm_weight_gradient";
  const std::int64_t channels = expect_channels(name, x, dweight.size());
  expect_like(name, "dz", dz, x, channels);
  expect_size(name, "saved mean", saved.mean, channels);
  expect_size(name, "saved inverse_std", saved.inverse_std, channels);
  expect_size(name, "dbias", dbias, channels);
  if (x.rows() == 0) {
    std::fill(dweight.begin(), dweight.end(), 0.0F);
    std::fill(dbias.begin(), dbias.end(), 0.0F);
    return;
  }
  static const Kernel kernel{"batch_norm_sums"};
  kernel(execution, matrix(Use::in, dz, channels), matrix(Use::in, x, channels), in(saved.mean), in(saved.inverse_std),
         out(dweight), out(dbias));
}

void batch_norm_input_gradient(const Execution& execution, ConstTensorView dz, ConstTensorView x,
                               std::span<const float> weight, const BatchNormSaved& saved,
                               std::span<const float> dweight, std::span<const float> dbias, const Activation& below,
                               TensorView dx) {
  constexpr std::string_view name = "batch_norm_input_gradient";
  const std::int64_t channels = expect_channels(name, x, weight.size());
  expect_like(name, "dz", dz, x, channels);
  expect_like(name, "dx", dx, x, channels);
  expect_size(name, "saved mean", saved.mean, channels);
  expect_size(name, "saved inverse_std", saved.inverse_std, channels);
  expect_size(name, "dweight", dweight, channels);
  expect_size(name, "dbias", dbias, channels);
  if (x.rows() == 0) return;
  static const Kernel kernel{"batch_norm_gradient"};
  kernel(execution, matrix(Use::in, dz, channels), matrix(Use::in, x, channels), in(saved.mean), in(saved.inverse_std),
         in(weight), in(dweight), in(dbias), is_smooth(below) ? 1.0F : negative_slope(below),
         matrix(Use::out_in_place, dx, channels));
  if (is_smooth(below)) activation_gradient(execution, x, below, dx, dx);
}

}  // namespace kindling::kernels
