/* 2-d convolution (the cross-correlation of deep learning): N samples, one image a row, channels last, a neuron's
 * weights a row of w (O x C kh kw) in the order (c, ky, kx).
 *
 * 3 x 3 kernels with stride 1 and 16 channels or more on both sides (64 on a GPU) are computed by Winograd's filtering
 * where that is faster: other roundings than the plain sum's, relative to sums of neighbouring pixels, and a NaN or an
 * infinity also shows, as NaN, in the other pixels of its tile of 2 x 2, or the other weights of its channels. */
#ifndef KINDLING_KERNELS_CONV_H
#define KINDLING_KERNELS_CONV_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of one layer; zero padding and stride are the same in both directions. Output pixels a direction:
 * (size + 2 padding - kernel) / stride + 1. */
typedef struct kindling_conv_shape {
  int64_t height, width, channels_in, channels_out;
  int64_t kernel_height, kernel_width;
  int64_t stride, padding;
} kindling_conv_shape;

/* Y = f(X * W + b): x (N x height width C), w (O x C kh kw), bias (O), y (N x out_height out_width O). */
KINDLING_CHECKED kindling_status kindling_conv2d_forward(const kindling_context* context, kindling_const_matrix x,
                                                         kindling_const_matrix w, kindling_const_vector bias,
                                                         kindling_activation activation, kindling_conv_shape shape,
                                                         kindling_matrix y);

/* dX = f'(X) * (gradient of sum(Z dZ) with respect to X): dz like y, x and dx (N x height width C), x the output of the
 * activation `below`. At the kink (X = 0) the derivative is that of the negative side. */
KINDLING_CHECKED kindling_status kindling_conv2d_input_gradient(const kindling_context* context,
                                                                kindling_const_matrix dz, kindling_const_matrix w,
                                                                kindling_const_matrix x, kindling_activation below,
                                                                kindling_conv_shape shape, kindling_matrix dx);

/* Gradients of sum(Z dZ): dw (O x C kh kw), db (O). */
KINDLING_CHECKED kindling_status kindling_conv2d_weight_gradient(const kindling_context* context,
                                                                 kindling_const_matrix x, kindling_const_matrix dz,
                                                                 kindling_conv_shape shape, kindling_matrix dw,
                                                                 kindling_vector db);

#ifdef __cplusplus
}
#endif

#endif
