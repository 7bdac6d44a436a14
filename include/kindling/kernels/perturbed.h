/* Dense layers whose parameters are perturbed anew for every sample s = 0 .. S-1: W + E_s and b + e_s, E_s ~ N(0,
 * weight_stddev^2), e_s ~ N(0, bias_stddev^2), drawn inside the kernel from a random stream. N rows a sample, samples
 * below each other: y (S N x M). */
#ifndef KINDLING_KERNELS_PERTURBED_H
#define KINDLING_KERNELS_PERTURBED_H

#include <kindling/kernels/random.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sample s begins at block s B of the stream, B = kindling_perturbation_blocks(): the rows of E_s, ceil(K / 4) blocks
 * each, then e_s. Standard deviations are finite and >= 0. */
typedef struct kindling_perturbation {
  kindling_stream stream;
  float weight_stddev, bias_stddev;
} kindling_perturbation;

/* Blocks of the stream that one sample of a layer takes. */
int64_t kindling_perturbation_blocks(int64_t fan_in, int64_t fan_out);

/* Y_s = f(X_s (W + E_s)^T + b + e_s): x (S N x K), or (N x K) where all samples share it; w (M x K), bias (M), y (S N x
 * M), S = samples. Rows have no gaps. */
KINDLING_CHECKED kindling_status kindling_perturbed_dense_forward(const kindling_context* context,
                                                                  kindling_perturbation perturbation, int64_t samples,
                                                                  kindling_const_matrix x, kindling_const_matrix w,
                                                                  kindling_const_vector bias,
                                                                  kindling_activation activation, kindling_matrix y);

/* dX_s = f'(X_s) * (dZ_s (W + E_s)) with the E_s of the forward pass: dz (S N x M), x and dx (S N x K), x the output of
 * the activation `below`. */
KINDLING_CHECKED kindling_status kindling_perturbed_input_gradient(const kindling_context* context,
                                                                   kindling_perturbation perturbation, int64_t samples,
                                                                   kindling_const_matrix dz, kindling_const_matrix w,
                                                                   kindling_const_matrix x, kindling_activation below,
                                                                   kindling_matrix dx);

#ifdef __cplusplus
}
#endif

#endif
