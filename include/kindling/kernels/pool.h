/* Pooling of images: one sample a row of height * width * channels numbers, channels last. */
#ifndef KINDLING_KERNELS_POOL_H
#define KINDLING_KERNELS_POOL_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A window slides by `stride` over an image with `padding` pixels on every side, at most half the window. Outputs have
 * (extent + 2 padding - window) / stride + 1 pixels a side. */
typedef struct kindling_pool_shape {
  int64_t height, width, channels;
  int64_t window_height, window_width;
  int64_t stride, padding;
} kindling_pool_shape;

/* y = maximum of each window, index = its place in the window, counted row by row (N * out_features; windows of at most
 * 256 pixels). The first of equal values wins, a NaN over everything, padding never. */
KINDLING_CHECKED kindling_status kindling_max_pool_forward(const kindling_context* context, kindling_const_matrix x,
                                                           kindling_pool_shape shape, kindling_matrix y,
                                                           kindling_bytes index);
/* The same without indices, for windows of any size. */
KINDLING_CHECKED kindling_status kindling_max_pool_inference(const kindling_context* context, kindling_const_matrix x,
                                                             kindling_pool_shape shape, kindling_matrix y);
/* dx = dy at the places of the maxima, summed where windows overlap, 0 elsewhere. dy (N x out_features), dx (N x
 * in_features). */
KINDLING_CHECKED kindling_status kindling_max_pool_gradient(const kindling_context* context, kindling_const_matrix dy,
                                                            kindling_const_bytes index, kindling_pool_shape shape,
                                                            kindling_matrix dx);

/* y = x at the places of the maxima: what max_pool_forward's y changes by with its input. */
KINDLING_CHECKED kindling_status kindling_max_pool_take(const kindling_context* context, kindling_const_matrix x,
                                                        kindling_const_bytes index, kindling_pool_shape shape,
                                                        kindling_matrix y);

/* y = mean of each window; padding counts as zeros. */
KINDLING_CHECKED kindling_status kindling_average_pool_forward(const kindling_context* context, kindling_const_matrix x,
                                                               kindling_pool_shape shape, kindling_matrix y);
/* dx = f'(Z) * (dy spread over the windows), where x (N x in_features) is the output f(Z) of the activation `below`. */
KINDLING_CHECKED kindling_status kindling_average_pool_gradient(const kindling_context* context,
                                                                kindling_const_matrix dy, kindling_const_matrix x,
                                                                kindling_activation below, kindling_pool_shape shape,
                                                                kindling_matrix dx);

#ifdef __cplusplus
}
#endif

#endif
