// Row norms of the Jacobians of any feed-forward model's logits, and the gradient of a function of them: for models
// that jacobian.h, faster, does not know.
//
// A batch-norm layer is an affine map with the statistics of the batch x, constant in Jacobian and gradient; dropout is
// left out; max-pooling routes by the first maximum. x_0 is the input, x_1 .. x_(L-1) the pre-activations that feed
// the later layers with neurons (after batch-norm where it follows), L the number of layers with neurons.
#pragma once

#include <kindling/model.h>

#include <string>
#include <utility>
#include <vector>

#include "nn/jacobian.h"

namespace kindling {

/// Why the model has no such Jacobian, empty if it has: activations must be piecewise-linear.
std::string layer_jacobian_problem(const Model& model);

/// ||J^(i)_(l:L)||: L x (N d) for x (N x inputs). N >= 1, 2 with batch-norm of plain features.
Tensor layer_jacobian_norms(const Model& model, ConstTensorView x, const Context& context);

/// The norms' function as in jacobian_norm_gradient; an entry a layer of the model, empty where it has no parameters.
std::vector<LayerGradient> layer_jacobian_norm_gradient(const Model& model, ConstTensorView x,
                                                        const NormGradient& norm_gradient, const Context& context,
                                                        kernels::Residency* keeper = nullptr);

}  // namespace kindling
