/* The dense layer: Y = f(X W^T + b), its gradients, fused optimiser steps, and the class moments of Y without Y.
 * N samples, fan-in K, fan-out M: X (N x K), W (M x K), b (M), Y and dZ (N x M). */
#ifndef KINDLING_KERNELS_DENSE_H
#define KINDLING_KERNELS_DENSE_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Y = f(X W^T + b). Error of the pre-activation against exact arithmetic: at most K eps sum_k |x_k w_k| + 2 eps |b|,
 * eps = 2^-24; tanh and sigmoid add at most 4 ulp. */
KINDLING_CHECKED kindling_status kindling_dense_forward(const kindling_context* context, kindling_const_matrix x,
                                                        kindling_const_matrix w, kindling_const_vector bias,
                                                        kindling_activation activation, kindling_matrix y);

/* Y = f(X W^T + A), row n of Y with row n mod P of A (P x M), P >= 1: a layer whose input is two parts, of which the
 * first was multiplied before. f is piecewise linear. */
KINDLING_CHECKED kindling_status kindling_dense_forward_added(const kindling_context* context, kindling_const_matrix x,
                                                              kindling_const_matrix w, kindling_const_matrix added,
                                                              kindling_activation activation, kindling_matrix y);

/* dX = f'(X) * (dZ W), where X (N x K) is the output of the activation `below` that fed this layer; dX (N x K). At the
 * kink of a piecewise-linear activation (X = 0) the derivative is that of the negative side. */
KINDLING_CHECKED kindling_status kindling_dense_input_gradient(const kindling_context* context,
                                                               kindling_const_matrix dz, kindling_const_matrix w,
                                                               kindling_const_matrix x, kindling_activation below,
                                                               kindling_matrix dx);

/* dW = dZ^T X (M x K) and db = column sums of dZ (M). No samples: both are zero. */
KINDLING_CHECKED kindling_status kindling_dense_weight_gradient(const kindling_context* context,
                                                                kindling_const_matrix x, kindling_const_matrix dz,
                                                                kindling_matrix dw, kindling_vector db);

/* Steps as PyTorch's SGD (dampening 0, no Nesterov) and Adam take them. Defaults there: learning_rate 1e-3 (Adam),
 * momentum 0, beta1 0.9, beta2 0.999, epsilon 1e-8, weight_decay 0. */
typedef struct kindling_sgd {
  float learning_rate, weight_decay;
} kindling_sgd;
typedef struct kindling_momentum {
  float learning_rate, momentum, weight_decay;
} kindling_momentum;
typedef struct kindling_adam {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  int64_t step; /* t in the bias corrections 1 - beta^t, counted from 1 */
} kindling_adam;

/* Parameters of one layer, or an optimiser's state of the same shape: weight (M x K), bias (M). */
typedef struct kindling_dense_parameters {
  kindling_matrix weight;
  kindling_vector bias;
} kindling_dense_parameters;

/* Weight and bias gradient with the optimiser's step: dW is never stored, parameters and state change in place. Weight
 * decay is added to the gradient of the weights and not to that of the biases. No samples: nothing changes. */
KINDLING_CHECKED kindling_status kindling_dense_weight_sgd(const kindling_context* context, kindling_const_matrix x,
                                                           kindling_const_matrix dz,
                                                           kindling_dense_parameters parameters, kindling_sgd step);
KINDLING_CHECKED kindling_status kindling_dense_weight_momentum(const kindling_context* context,
                                                                kindling_const_matrix x, kindling_const_matrix dz,
                                                                kindling_dense_parameters parameters,
                                                                kindling_dense_parameters velocity,
                                                                kindling_momentum step);
KINDLING_CHECKED kindling_status kindling_dense_weight_adam(const kindling_context* context, kindling_const_matrix x,
                                                            kindling_const_matrix dz,
                                                            kindling_dense_parameters parameters,
                                                            kindling_dense_parameters mean,
                                                            kindling_dense_parameters square, kindling_adam step);

/* Class moments of z = f(X W^T + b) - shift: sum[c * M + m] += sum of z over the samples of class c, sum_squares[c * M
 * + m] += sum of z^2. labels (N), each in 0..classes-1; shift (M); sum and sum_squares (classes * M), added to. Data in
 * several calls gives the same bits as in one when every call but the last brings a multiple of 960 samples. */
KINDLING_CHECKED kindling_status kindling_dense_moments(const kindling_context* context, kindling_const_matrix x,
                                                        kindling_const_matrix w, kindling_const_vector bias,
                                                        kindling_activation activation, kindling_const_indices labels,
                                                        kindling_const_vector shift, int64_t classes,
                                                        kindling_doubles sum, kindling_doubles sum_squares);

#ifdef __cplusplus
}
#endif

#endif
