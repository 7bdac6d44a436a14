// Optimiser steps over flat parameters, in place, for gradients that are stored; dense layers have the steps fused into
// their weight gradient (dense.h). Semantics of PyTorch's SGD (dampening 0, no Nesterov) and Adam: weight decay is
// added to the gradient. Spans of one call have one size and do not overlap. Throws Error{usage} when sizes differ.
#pragma once

#include <span>

#include "kernels/dense.h"
#include "kernels/dispatch.h"

namespace kindling::kernels {

/// g' = g + weight_decay p; p -= learning_rate g'.
void sgd_step(const Execution& execution, std::span<const float> gradient, const SgdStep& step,
              std::span<float> parameters);

/// v = momentum v + g'; p -= learning_rate v. The velocity starts at zero.
void momentum_step(const Execution& execution, std::span<const float> gradient, const MomentumStep& step,
                   std::span<float> parameters, std::span<float> velocity);

/// m = beta1 m + (1 - beta1) g'; s = beta2 s + (1 - beta2) g'^2;
/// p -= learning_rate / (1 - beta1^t) * m / (sqrt(s / (1 - beta2^t)) + epsilon). Both states start at zero.
void adam_step(const Execution& execution, std::span<const float> gradient, const AdamStep& step,
               std::span<float> parameters, std::span<float> mean, std::span<float> mean_square);

}  // namespace kindling::kernels
