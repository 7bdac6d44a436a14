/* Losses of a batch with their gradients: N samples in rows, C classes or D features in columns. */
#ifndef KINDLING_KERNELS_LOSS_H
#define KINDLING_KERNELS_LOSS_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Softmax cross-entropy in nats: loss[n] = log sum_c exp(z[n,c]) - z[n,label[n]]; gradient = (softmax(z) - onehot) *
 * scale, so that scale 1/N gives the gradient of the mean. logits and gradient (N x C), labels, loss and prediction
 * (N), C >= 1. prediction is the class of the largest logit, the lowest one on ties. A NaN or +inf logit makes the
 * row's loss and gradient NaN. KINDLING_USAGE names a label outside 0..C-1 and its sample. */
KINDLING_CHECKED kindling_status kindling_softmax_cross_entropy(const kindling_context* context,
                                                                kindling_const_matrix logits,
                                                                kindling_const_indices labels, float scale,
                                                                kindling_vector loss, kindling_matrix gradient,
                                                                kindling_indices prediction);

/* The same without the gradient, for evaluation. */
KINDLING_CHECKED kindling_status kindling_softmax_cross_entropy_loss(const kindling_context* context,
                                                                     kindling_const_matrix logits,
                                                                     kindling_const_indices labels,
                                                                     kindling_vector loss, kindling_indices prediction);

/* product(n) = scale (diag p - p p^T) tangent(n), p = softmax(logits(n)): the second derivative of the cross-entropy
 * times a vector. logits, tangent and product (N x C), C >= 1. */
KINDLING_CHECKED kindling_status kindling_softmax_hessian_product(const kindling_context* context,
                                                                  kindling_const_matrix logits,
                                                                  kindling_const_matrix tangent, float scale,
                                                                  kindling_matrix product);

/* loss[n] = (1/D) sum_d (y[n,d] - target[n,d])^2, gradient = (2/D) scale (y - target). y, target and gradient (N x D),
 * loss (N), D >= 1. */
KINDLING_CHECKED kindling_status kindling_squared_error(const kindling_context* context, kindling_const_matrix y,
                                                        kindling_const_matrix target, float scale, kindling_vector loss,
                                                        kindling_matrix gradient);

/* dZ = f'(Z) dY, given the activation's output Y = f(Z): y, dy and dz (N x M); dz may be dy. At the kink of a
 * piecewise-linear activation (Y = 0) the derivative is that of the negative side. */
KINDLING_CHECKED kindling_status kindling_activation_gradient(const kindling_context* context, kindling_const_matrix y,
                                                              kindling_activation activation, kindling_const_matrix dy,
                                                              kindling_matrix dz);

#ifdef __cplusplus
}
#endif

#endif
