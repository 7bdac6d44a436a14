// L_iod: mean over x of (1/d) sum_i max_l (1 - ||J^(i)_(l:L)(x_l)||)^2 at theta0, on logits, and its gradient.
#pragma once

#include <kindling/model.h>

#include <utility>
#include <vector>

#include "nn/jacobian.h"

namespace kindling {

/// Throws Error{usage} naming the first layer whose Jacobian is not known: smooth activations beside convolutions.
void check_detachment(const Model& model);

double detachment_loss(const Model& model, ConstTensorView x, const Context& context);

/// The loss, and `weight` times its gradient, an entry a layer of the model; it may stay on the device, with `keeper`.
std::pair<double, std::vector<LayerGradient>> detachment_gradient(const Model& model, ConstTensorView x, double weight,
                                                                  const Context& context, kernels::Residency* keeper);

}  // namespace kindling
