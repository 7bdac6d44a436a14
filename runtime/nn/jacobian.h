// Jacobians of a model's logits, sample by sample, with respect to what enters each of its layers.
//
// x_l, l = 0 .. L-1, are a sample's pre-activations that feed layer l (x_0 the input itself, to which no activation is
// applied), n_l their number, d the number of logits. The logits are the last layer's pre-activations, whatever its own
// activation. J_(l:L) = dlogits / dx_l = W_(L-1) F_(L-1) ... W_l F_l with F_l = diag f'(x_l), F_0 = 1 (Lee et al.,
// "Initialization using perturbation", section on input-output detachment; docs of the MMD method).
//
// All functions take a model of dense layers and refuse another layer by its name (Error{usage}), x (N x n_0), and give
// results that are bitwise the same for any number of threads. f' at a kink is that of the negative side; a sample
// whose activations are NaN has a Jacobian of NaN.
#pragma once

#include <kindling/model.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace kindling {

namespace kernels {
class Residency;
}

/// J_(from:L) of every sample, N x d x n_from. Throws Error{usage} unless 0 <= from < L.
Tensor jacobian(const Model& model, ConstTensorView x, std::int64_t from, const Context& context);

/// ||J^(i)_(l:L)||, the norm of every row of every layer's Jacobian: L x N x d.
///
/// Samples are taken in fixed blocks, so that besides the activations only two blocks of rows are kept, never a whole
/// Jacobian. Where it is cheaper, the norm at the input is the root of v (W W^T) v^T, v the row at the first layer's
/// output. That cancels when ||v W|| << ||v|| ||W||; rows for which it could spoil the norm by more than
/// `gram_tolerance` relative are computed plainly.
Tensor jacobian_row_norms(const Model& model, ConstTensorView x, const Context& context);

/// Greatest relative error of a row norm that its computation through W W^T may be suspected of: rounding errors are
/// taken to grow like the root of the number of terms, at most
/// (4 sqrt(2 n_1) + 4 sqrt(n_0) + 8) 2^-24 ||v||^2 ||W W^T||_F in the squared norm.
inline constexpr double gram_tolerance = 1e-3;

/// Gradient with respect to one layer's parameters.
struct LayerGradient {
  Tensor weight;  ///< fan_out x fan_in
  Tensor bias;    ///< fan_out
};

/// Zeros like a layer's parameters, nothing for a layer without.
inline LayerGradient empty_gradient(const Layer& layer) {
  if (layer.weight.empty()) return {};
  return {Tensor(layer.weight.shape()), Tensor(layer.bias.shape())};
}

/// Given the row norms of some samples, what a scalar F changes by with each of them. norms and gradient are L x (count
/// d), the samples first .. first + count - 1; gradient comes zero-filled.
using NormGradient =
    std::function<void(std::int64_t first, std::int64_t count, ConstTensorView norms, TensorView gradient)>;

/// dF/dW and dF/db for all layers, F a function of the row norms. `norm_gradient` is called once for each block of
/// samples, in order. For piecewise-linear activations masks are constant, and the biases' gradient is 0; for tanh and
/// sigmoid f'' enters, and with it the biases. A row of norm 0 has gradient 0 (the norm has no derivative there). With
/// a `keeper` the result stays on the device, for kernels and until the keeper ends.
std::vector<LayerGradient> jacobian_norm_gradient(const Model& model, ConstTensorView x,
                                                  const NormGradient& norm_gradient, const Context& context,
                                                  kernels::Residency* keeper = nullptr);

/// J_(0:L)(x) v for every sample: v (N x n_0), result N x d.
Tensor jacobian_vectors(const Model& model, ConstTensorView x, ConstTensorView v, const Context& context);

/// J_(0:L)(x)^T u for every sample: u (N x d), result N x n_0.
Tensor transposed_jacobian_vectors(const Model& model, ConstTensorView x, ConstTensorView u, const Context& context);

}  // namespace kindling
