/* Batch normalisation (Ioffe & Szegedy, ICML 2015). One sample a row; C channels are the innermost part of a row: C
 * features, or P * C numbers of P positions with channels last (images, whose rows are contiguous). Statistics run over
 * samples and positions, R = N * P values a channel. */
#ifndef KINDLING_KERNELS_BATCH_NORM_H
#define KINDLING_KERNELS_BATCH_NORM_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Scale and shift of every channel: z = (x - mean) / sqrt(variance + epsilon) * weight + bias. weight, bias (C);
 * epsilon > 0. */
typedef struct kindling_batch_norm {
  kindling_const_vector weight, bias;
  float epsilon;
} kindling_batch_norm;

/* Mean and 1 / sqrt(variance + epsilon) of the batch (C), for the backward pass. */
typedef struct kindling_batch_norm_saved {
  kindling_vector mean, inverse_std;
} kindling_batch_norm_saved;

/* Moving averages (C), PyTorch's: r = (1 - momentum) r + momentum * (statistic of the batch), the variance divided by
 * R - 1. */
typedef struct kindling_running_statistics {
  kindling_vector mean, variance;
  float momentum;
} kindling_running_statistics;

/* Mean and variance (divided by R) of every channel: x (R x C), R >= 1; mean, variance (C). */
KINDLING_CHECKED kindling_status kindling_batch_norm_moments(const kindling_context* context, kindling_const_matrix x,
                                                             kindling_doubles mean, kindling_doubles variance);

/* Training: y = f(z) with the batch's own statistics (variance divided by R), which are saved and enter `running`.
 * R >= 2. */
KINDLING_CHECKED kindling_status kindling_batch_norm_forward(const kindling_context* context, kindling_const_matrix x,
                                                             kindling_batch_norm parameters,
                                                             kindling_activation activation,
                                                             kindling_batch_norm_saved saved,
                                                             kindling_running_statistics running, kindling_matrix y);

/* Inference: y = f(z) with given statistics (C). y may be x. */
KINDLING_CHECKED kindling_status kindling_batch_norm_inference(const kindling_context* context, kindling_const_matrix x,
                                                               kindling_batch_norm parameters,
                                                               kindling_const_vector mean,
                                                               kindling_const_vector variance,
                                                               kindling_activation activation, kindling_matrix y);

/* Gradients of weight and bias (C), given dz at the pre-activation z. */
KINDLING_CHECKED kindling_status kindling_batch_norm_weight_gradient(const kindling_context* context,
                                                                     kindling_const_matrix dz, kindling_const_matrix x,
                                                                     kindling_batch_norm_saved saved,
                                                                     kindling_vector dweight, kindling_vector dbias);

/* dx = f'(x) * gradient at the layer's input x, the output of the activation `below`, through the batch's statistics;
 * needs the results of batch_norm_weight_gradient. dx may be dz. */
KINDLING_CHECKED kindling_status kindling_batch_norm_input_gradient(
    const kindling_context* context, kindling_const_matrix dz, kindling_const_matrix x, kindling_const_vector weight,
    kindling_batch_norm_saved saved, kindling_const_vector dweight, kindling_const_vector dbias,
    kindling_activation below, kindling_matrix dx);

#ifdef __cplusplus
}
#endif

#endif
