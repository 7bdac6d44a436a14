// Objectives of neural estimates of mutual information: value and gradient with respect to a critic's scores.
#pragma once

#include <kindling/tensor.h>

#include <span>

#include "kernels/dispatch.h"

namespace kindling::kernels {

struct DonskerVaradhanOptions {
  float scale = 1.0F;  ///< of the gradients; -1 to minimise
  float rate = 1.0F;   ///< of MINE's moving average, in (0, 1]; 1: the gradient of the batch's own value
};

/// Donsker-Varadhan bound of B estimates at once, in nats:
///
///   I_b = mean_i joint(b, i) - log mean_j exp(product(b, j))
///
/// joint (B x N): scores T(x_i, y_i) of pairs drawn together; product (B x M): of pairs drawn apart; N, M >= 1. The
/// gradients are scale / N and -scale exp(product - A_b) / M, where A_b is the log-mean-exp or, with rate < 1, the
/// logarithm of its moving average, exp A_b = (1 - rate) exp(log_average[b]) + rate mean_j exp(product(b, j)) (Belghazi
/// et al. 2018, section 3.2, against the bias of the mini-batch gradient; the value is corrected nowhere).
///
/// log_average (B): state, in and out; -infinity means no batch so far, and then A_b is this batch's. Empty with rate
/// 1, where it is not needed.
///
/// All is relative to the largest product score, so that no finite score overflows: absolute error of I_b about
/// 2^-20 (1 + mean |joint - max product|); an exponential below 2^-126 of the largest counts as 0. A NaN score, or an
/// infinite one that leaves the sum of exponentials undefined (+infinity, or -infinity throughout), makes value,
/// log_average and product gradient of its estimate NaN, and of no other. Results do not depend on the number of
/// threads. No estimates: nothing to do.
///
/// Throws Error{usage} for shapes that do not fit, for N or M = 0, and for a rate outside (0, 1].
/// Source: Donsker and Varadhan 1983; eq. 6 of the layer-wise information bottleneck.
void donsker_varadhan(const Execution& execution, ConstTensorView joint, ConstTensorView product,
                      const DonskerVaradhanOptions& options, std::span<float> log_average, std::span<float> value,
                      TensorView joint_gradient, TensorView product_gradient);

}  // namespace kindling::kernels
