#include "nn/power_iteration.h"

#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <utility>

#include "kernels/conv.h"
#include "kernels/loss.h"
#include "kernels/residency.h"
#include "nn/layer_shapes.h"

namespace kindling {
namespace {

void check_options(const PowerIterationOptions& options) {
  if (options.max_iterations >= 1 && options.tolerance >= 0) return;
  throw Error(
      ErrorCode::usage,
      fmt::format("largest_singular_values: expected at least one iteration and a tolerance of 0 or more, found "
                  "{} and {}",
                  options.max_iterations, options.tolerance));
}

}  // namespace

SingularValues largest_singular_values(const LinearMaps& maps, const PowerIterationOptions& options,
                                       const Context& context) {
  check_options(options);
  const kernels::Execution execution = kernels::execution(context);
  const std::int64_t samples = maps.samples;
  const auto n = static_cast<std::size_t>(samples);
  SingularValues result;
  result.value.resize(n);
  if (samples == 0 || maps.inputs == 0 || maps.outputs == 0) return result;

  Tensor v({samples, maps.inputs}), next({samples, maps.inputs}), u({samples, maps.outputs});
  std::vector<float> norms(n), scale(n);
  kernels::Residency residency(execution);
  for (const Tensor* t : {&v, &next, &u}) residency.keep(kernels::Residency::Role::scratch, *t);
  if (maps.unread) {
    residency.keep(kernels::Residency::Role::scratch, *maps.unread);
    kernels::zero(execution, maps.unread->flat());  // no NaN may be found there
  }
  Stream start = options.start;
  start.seed = context.seed;
  fill_normal(start, 0.0F, 1.0F, v.flat(), context);
  const auto normalize = [&](Tensor& vectors) {
    kernels::row_norms(execution, vectors, norms);
    for (std::size_t i = 0; i < n; ++i) scale[i] = norms[i] == 0 ? 0.0F : 1 / norms[i];
    kernels::scale_rows(execution, vectors, scale, vectors);
  };
  normalize(v);
  std::vector<float> before(n, -1.0F);
  while (true) {
    context.check_stop();
    maps.apply(v, u);
    kernels::row_norms(execution, u, result.value);
    result.unconverged = 0;
    for (std::size_t i = 0; i < n; ++i) {
      // A NaN never converges.
      const bool settled = std::abs(double{result.value[i]} - double{before[i]}) <=
                           options.tolerance * std::abs(double{result.value[i]});
      result.unconverged += settled ? 0 : 1;
    }
    if (++result.iterations >= options.max_iterations || result.unconverged == 0) return result;
    before = result.value;
    maps.apply_transposed(u, next);
    normalize(next);
    std::swap(v, next);
  }
}

LinearMaps layer_jacobians(const kernels::Execution& execution, const Layer& layer, ConstTensorView y) {
  if (!layer.has_neurons()) {
    throw Error(ErrorCode::usage, fmt::format("layer_jacobians: expected a dense or convolution layer, found {}, {}",
                                              layer.name, to_string(layer.kind)));
  }
  const ConstTensorView w = layer.weight.view().matrix();
  LinearMaps maps{.samples = y.rows(), .inputs = layer.input.features(), .outputs = layer.output.features()};
  if (layer.kind == LayerKind::dense) {
    const kernels::Derivative at{y, layer.activation};
    maps.apply = [=](ConstTensorView v, TensorView u) { kernels::jacobian_transposed(execution, v, w, at, u); };
    maps.apply_transposed = [=](TensorView u, TensorView v) {
      kernels::activation_gradient(execution, at.y, at.activation, u, u);
      kernels::jacobian_product(execution, u, w, v);
    };
    return maps;
  }
  const kernels::ConvShape shape = conv_shape(layer);
  const Activation identity{ActivationKind::identity}, f = layer.activation;
  maps.apply = [=, no_bias = std::vector<float>(static_cast<std::size_t>(layer.units()))](ConstTensorView v,
                                                                                          TensorView u) {
    kernels::conv2d_forward(execution, v, w, no_bias, identity, shape, u);
    kernels::activation_gradient(execution, y, f, u, u);
  };
  // Behind the identity only the size of what fed the layer counts; v has it, but may not be overwritten while read.
  maps.unread = std::make_shared<Tensor>(std::vector<std::int64_t>{maps.samples, maps.inputs});
  maps.apply_transposed = [=, fed = maps.unread](TensorView u, TensorView v) {
    kernels::activation_gradient(execution, y, f, u, u);
    kernels::conv2d_input_gradient(execution, u, w, *fed, identity, shape, v);
  };
  return maps;
}

SingularValues largest_singular_values(ConstTensorView w, const kernels::Derivative& at,
                                       const PowerIterationOptions& options, const Context& context) {
  check_options(options);
  if (w.rank() < 1 || at.y.rank() < 1 || at.y.cols() != w.rows()) {
    throw Error(ErrorCode::usage, "largest_singular_values: expected y with one column for each row of w");
  }
  const kernels::Execution execution = kernels::execution(context);
  const LinearMaps maps{
      .samples = at.y.rows(),
      .inputs = w.cols(),
      .outputs = w.rows(),
      .apply = [&](ConstTensorView v, TensorView u) { kernels::jacobian_transposed(execution, v, w, at, u); },
      .apply_transposed =
          [&](TensorView u, TensorView v) {
            kernels::activation_gradient(execution, at.y, at.activation, u, u);
            kernels::jacobian_product(execution, u, w, v);
          }};
  return largest_singular_values(maps, options, context);
}

}  // namespace kindling
