// Losses of a batch, with their gradients: N samples in rows, C classes or D features in columns, row-major float32.
// Results do not depend on the number of threads. An empty batch is allowed and changes nothing.
#pragma once

#include <kindling/activation.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <span>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// Softmax cross-entropy in nats: loss[n] = log sum_c exp(z[n,c]) - z[n,label[n]], shifted by the row's maximum.
///
/// logits and gradient (N x C), labels, loss and prediction (N), C >= 1. gradient = (softmax(z) - onehot) * scale;
/// scale 1/N gives the gradient of the mean; a probability below 2^-126 may be 0. prediction is the class of the
/// largest logit, the lowest one on ties. Absolute error of the loss at most about (C + 4) 2^-24 plus 2^-23 |loss|. A
/// NaN or +inf logit makes the row's loss and gradient NaN; a NaN logit is never predicted (a row of nothing but NaN
/// predicts class 0). A label whose logit is -inf has loss +inf.
///
/// Throws Error{usage} for shapes that do not fit and for labels outside 0..C-1, with the sample.
void softmax_cross_entropy(const Execution& execution, ConstTensorView logits, std::span<const std::int32_t> labels,
                           float scale, std::span<float> loss, TensorView gradient, std::span<std::int32_t> prediction);

/// The same without the gradient, for evaluation.
void softmax_cross_entropy_loss(const Execution& execution, ConstTensorView logits,
                                std::span<const std::int32_t> labels, std::span<float> loss,
                                std::span<std::int32_t> prediction);

/// product(n) = scale (diag p - p p^T) tangent(n), p = softmax(logits(n)): the second derivative of the cross-entropy
/// with respect to the logits, times a vector; it does not depend on the label.
///
/// logits, tangent and product (N x C), C >= 1. Absolute error at most about eps p_c (C + 16 + 2 (max z - z_c)) (|t_c|
/// + sum_j p_j |t_j|), eps = 2^-24. A NaN or +inf logit makes the row NaN. Throws Error{usage} for shapes that do not
/// fit.
void softmax_hessian_product(const Execution& execution, ConstTensorView logits, ConstTensorView tangent, float scale,
                             TensorView product);

/// Squared error: loss[n] = (1/D) sum_d (y[n,d] - t[n,d])^2, gradient = (2/D) scale (y - t).
///
/// y, target and gradient (N x D), loss (N), D >= 1. Throws Error{usage} for shapes that do not fit.
void squared_error(const Execution& execution, ConstTensorView y, ConstTensorView target, float scale,
                   std::span<float> loss, TensorView gradient);

/// dZ = f'(Z) dY, given the activation's output Y = f(Z): y, dy and dz (N x M); dz may be dy. At the kink of a
/// piecewise-linear activation (Y = 0) the derivative is that of the negative side. Throws Error{usage} for shapes that
/// do not fit.
void activation_gradient(const Execution& execution, ConstTensorView y, const Activation& activation,
                         ConstTensorView dy, TensorView dz);

}  // namespace kindling::kernels
