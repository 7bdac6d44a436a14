// Pooling of images: one sample a row of height * width * channels numbers, channels last, row-major float32; rows may
// be strided. Results do not depend on the number of threads. An empty batch is allowed and changes nothing. A shape
// that does not fit throws Error{usage}.
#pragma once

#include <kindling/activation.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <span>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// A window of window_height x window_width slides by `stride` over an image with `padding` pixels on every side.
/// padding is at most half the window, so that every window sees the image; a window has at most 256 pixels for
/// max_pool_forward, whose indices are bytes.
struct PoolShape {
  std::int64_t height = 1, width = 1, channels = 1;  ///< of the image
  std::int64_t window_height = 2, window_width = 2;
  std::int64_t stride = 2, padding = 0;

  [[nodiscard]] std::int64_t out_height() const { return (height + 2 * padding - window_height) / stride + 1; }
  [[nodiscard]] std::int64_t out_width() const { return (width + 2 * padding - window_width) / stride + 1; }
  [[nodiscard]] std::int64_t in_features() const { return height * width * channels; }
  [[nodiscard]] std::int64_t out_features() const { return out_height() * out_width() * channels; }
};

/// y = maximum of each window, index = its place in the window, counted row by row; index (N * out_features), one row
/// after the other. The first of equal values wins. A NaN wins over everything. Padding never wins.
void max_pool_forward(const Execution& execution, ConstTensorView x, const PoolShape& shape, TensorView y,
                      std::span<std::uint8_t> index);
/// The same without indices, for windows of any size.
void max_pool_inference(const Execution& execution, ConstTensorView x, const PoolShape& shape, TensorView y);
/// dx = dy at the places of the maxima, summed where windows overlap, 0 elsewhere. dy (N x out_features), dx (N x
/// in_features).
void max_pool_gradient(const Execution& execution, ConstTensorView dy, std::span<const std::uint8_t> index,
                       const PoolShape& shape, TensorView dx);

/// y = x at the places of the maxima: what max_pool_forward's y changes by with its input. x (N x in_features), y and
/// index as there. A place beyond the window gives 0.
void max_pool_take(const Execution& execution, ConstTensorView x, std::span<const std::uint8_t> index,
                   const PoolShape& shape, TensorView y);

/// y = mean of each window; padding counts as zeros, as PyTorch's AvgPool2d has it by default.
void average_pool_forward(const Execution& execution, ConstTensorView x, const PoolShape& shape, TensorView y);
/// dx = f'(Z) * (dy spread over the windows), where X (N x in_features) is the output f(Z) of the activation `below`.
/// The derivative is 1 throughout for the identity, whose X is not read; else a NaN in X stays one.
void average_pool_gradient(const Execution& execution, ConstTensorView dy, ConstTensorView x, const Activation& below,
                           const PoolShape& shape, TensorView dx);

}  // namespace kindling::kernels
