/* Layouts of images, one sample a row. */
#ifndef KINDLING_KERNELS_LAYOUT_H
#define KINDLING_KERNELS_LAYOUT_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rows of channels x positions (C, H, W) to rows of positions x channels (H, W, C), and back. */
KINDLING_CHECKED kindling_status kindling_planar_to_channels_last(const kindling_context* context,
                                                                  kindling_const_matrix x, int64_t channels,
                                                                  kindling_matrix y);
KINDLING_CHECKED kindling_status kindling_channels_last_to_planar(const kindling_context* context,
                                                                  kindling_const_matrix x, int64_t channels,
                                                                  kindling_matrix y);

/* A convolution's view of an image of height x width x channels, channels last. */
typedef struct kindling_patch_shape {
  int64_t height, width, channels;
  int64_t kernel_height, kernel_width;
  int64_t stride, padding;
} kindling_patch_shape;

/* Row (n * out_height + h) * out_width + w of `rows` holds the receptive field of output pixel (h, w) of sample n in
 * the order of a convolution's weights (channel, kernel row, kernel column), zeros in the padding. x (N x height *
 * width * channels), rows (N * out_height * out_width x channels * kernel_height * kernel_width), contiguous; an output
 * extent is (extent + 2 padding - kernel) / stride + 1. */
KINDLING_CHECKED kindling_status kindling_patches(const kindling_context* context, kindling_const_matrix x,
                                                  kindling_patch_shape shape, kindling_matrix rows);

#ifdef __cplusplus
}
#endif

#endif
