// The backward pass of nn/perturbed_pass.h.
#include "kernels/batch_norm.h"
#include "kernels/conv.h"
#include "kernels/dense.h"
#include "kernels/layout.h"
#include "kernels/pool.h"
#include "nn/layer_shapes.h"
#include "nn/perturbed_pass.h"

namespace kindling {

void PerturbedPass::backward(const kernels::Execution& exec, const Model& model) {
  for (std::size_t i = last_; i != none && i >= first_trained_; i = before_[i]) {
    const Layer& layer = model.layers()[i];
    parameter_gradient(exec, layer, i);
    if (i > first_trained_) input_gradient(exec, layer, i);
  }
}

// Sums over the copies: the column sums that come with a weight gradient.
void PerturbedPass::sum_copies(const kernels::Execution& exec, ConstTensorView values, std::span<float> sum) {
  const auto size = static_cast<std::int64_t>(sum.size());
  kernels::dense_weight_gradient(exec, ones_, ConstTensorView(values.data(), {options_.samples, size}),
                                 TensorView(discarded_.data(), {size, 1}), sum);
}

void PerturbedPass::parameter_gradient(const kernels::Execution& exec, const Layer& layer, std::size_t index) {
  State& state = state_[index];
  LayerGradient& gradient = gradients_[index];
  const std::int64_t s = options_.samples, b = options_.batch;
  const Input in = input_of(index);
  if (layer.has_neurons()) {
    // Where all copies share their input, the gradient of sum_s dZ_s.
    ConstTensorView x(in.view.data(), {in.shared ? b : s * b, layer.input.features()});
    ConstTensorView dz = all_rows(state.gradient);
    if (in.shared) {
      const std::int64_t size = b * layer.output.features();
      sum_copies(exec, state.gradient, summed_.flat().first(static_cast<std::size_t>(size)));
      dz = ConstTensorView(summed_.data(), {b, layer.output.features()});
    }
    if (layer.kind == LayerKind::dense) {
      kernels::dense_weight_gradient(exec, x, dz, gradient.weight, gradient.bias.flat());
    } else {
      kernels::conv2d_weight_gradient(exec, x, dz, conv_shape(layer), gradient.weight.view().matrix(),
                                      gradient.bias.flat());
    }
  } else if (layer.kind == LayerKind::batch_norm) {
    const auto c = static_cast<std::size_t>(layer.weight.size());
    for (std::int64_t i = 0; i < s; ++i) {
      const ConstTensorView x(in.shared ? in.view.data() : in.view.row(i), {b, layer.input.features()});
      kernels::batch_norm_weight_gradient(
          exec, ConstTensorView(state.gradient.view().row(i), {b, layer.output.features()}), x,
          {std::span(state.mean.view().row(i), c), std::span(state.inverse_std.view().row(i), c)},
          std::span(state.weight_copies.view().row(i), c), std::span(state.bias_copies.view().row(i), c));
    }
    sum_copies(exec, state.weight_copies, gradient.weight.flat());
    sum_copies(exec, state.bias_copies, gradient.bias.flat());
  }
}

void PerturbedPass::input_gradient(const kernels::Execution& exec, const Layer& layer, std::size_t index) {
  State& state = state_[index];
  const Input in = input_of(index);
  Tensor& below = state_[before_[index]].gradient;
  const std::int64_t s = options_.samples, b = options_.batch;
  const ConstTensorView dz = all_rows(state.gradient), x(in.view.data(), {s * b, layer.input.features()});
  const auto sample = [&](auto&& view, std::int64_t i, std::int64_t features) {
    return TensorView(view.row(i), {b, features});
  };
  switch (layer.kind) {
    case LayerKind::dense:
      if (stores(exec, layer)) {
        for (std::int64_t i = s - 1; i >= 0; --i) {  // the last ones may still be in cache
          const ConstTensorView w(state.weights.view().row(i), {layer.units(), layer.fan_in()});
          kernels::dense_input_gradient(exec, sample(state.gradient.view(), i, layer.units()), w,
                                        ConstTensorView(in.view.row(i), {b, layer.fan_in()}), in.carried,
                                        sample(below.view(), i, layer.fan_in()));
        }
        break;
      }
      kernels::perturbed_input_gradient(exec, perturbation(layer, index), state.gradient, layer.weight, in.view,
                                        in.carried, below);
      break;
    case LayerKind::conv2d:
      for (std::int64_t i = 0; i < s; ++i) {
        const ConstTensorView w(state.weights.view().row(i), {layer.units(), layer.fan_in()});
        kernels::conv2d_input_gradient(exec, sample(state.gradient.view(), i, layer.output.features()), w,
                                       ConstTensorView(in.view.row(i), {b, layer.input.features()}), in.carried,
                                       conv_shape(layer), sample(below.view(), i, layer.input.features()));
      }
      break;
    case LayerKind::batch_norm: {
      const auto c = static_cast<std::size_t>(layer.weight.size());
      for (std::int64_t i = 0; i < s; ++i) {
        kernels::batch_norm_input_gradient(
            exec, sample(state.gradient.view(), i, layer.output.features()),
            ConstTensorView(in.view.row(i), {b, layer.input.features()}), layer.weight.flat(),
            {std::span(state.mean.view().row(i), c), std::span(state.inverse_std.view().row(i), c)},
            std::span<const float>(state.weight_copies.view().row(i), c),
            std::span<const float>(state.bias_copies.view().row(i), c), in.carried,
            sample(below.view(), i, layer.input.features()));
      }
      break;
    }
    case LayerKind::max_pool:
      kernels::max_pool_gradient(exec, dz, std::span<const std::uint8_t>(state.places), pool_shape(layer),
                                 all_rows(below));
      break;
    case LayerKind::average_pool:
      kernels::average_pool_gradient(exec, dz, x, in.carried, pool_shape(layer), all_rows(below));
      break;
    case LayerKind::flatten: kernels::planar_to_channels_last(exec, dz, layer.input.channels, all_rows(below)); break;
    case LayerKind::dropout: break;
  }
}

}  // namespace kindling
