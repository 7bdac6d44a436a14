// Layouts of images, one sample a row. Rows may be strided unless stated otherwise. A shape that does not fit throws
// Error{usage}; an empty batch changes nothing.
#pragma once

#include <kindling/tensor.h>

#include <cstdint>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// Rows of channels x positions (C, H, W as data sets and PyTorch have them) to rows of positions x channels (H, W, C).
void planar_to_channels_last(const Execution& execution, ConstTensorView x, std::int64_t channels, TensorView y);
/// And back.
void channels_last_to_planar(const Execution& execution, ConstTensorView x, std::int64_t channels, TensorView y);

/// A convolution's view of an image of height x width x channels, channels last.
struct PatchShape {
  std::int64_t height = 1, width = 1, channels = 1;
  std::int64_t kernel_height = 3, kernel_width = 3;
  std::int64_t stride = 1, padding = 0;

  [[nodiscard]] std::int64_t out_height() const { return (height + 2 * padding - kernel_height) / stride + 1; }
  [[nodiscard]] std::int64_t out_width() const { return (width + 2 * padding - kernel_width) / stride + 1; }
  [[nodiscard]] std::int64_t positions() const { return out_height() * out_width(); }
  [[nodiscard]] std::int64_t fan_in() const { return channels * kernel_height * kernel_width; }
};

/// Row (n * out_height + h) * out_width + w of `rows` holds the receptive field of output pixel (h, w) of sample n in
/// the order of a convolution's weights (channel, kernel row, kernel column), zeros where it reaches into the padding:
/// Y = rows W^T is the convolution. x (N x height * width * channels), rows (N * positions x fan_in), contiguous.
void patches(const Execution& execution, ConstTensorView x, const PatchShape& shape, TensorView rows);

}  // namespace kindling::kernels
