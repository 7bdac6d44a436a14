// The 2-d convolution's kernels: Y = f(X * W + b) and its gradients. `*` is the cross-correlation that deep learning
// calls convolution.
//
// Throughout: N samples of height x width pixels with C channels in, O out. Images are row-major matrices, one sample a
// row, channels last: X is N x (height * width * C), Y and dZ are N x (out_height * out_width * O). W is O x (C * kh *
// kw), one row a neuron, in PyTorch's order (o, c, ky, kx). Rows may be strided, in outputs too. Outputs overlap no
// input. Results do not depend on the number of threads. What does not fit throws Error{usage}; NaN and infinity pass
// through as IEEE arithmetic has them, where the zeros between the pixels of dZ under a stride count as numbers: 0
// times infinity is NaN. Those of the border may or may not, since rows of a window that are border for a whole tile of
// pixels are skipped.
//
// Kernels of 3 x 3 with stride 1 and many channels are computed by Winograd's filtering (by_winograd), with 4/9 of the
// multiply-adds. Its errors are relative to what its transforms add up: at most (terms + 16) eps times the sum of the
// products of transformed magnitudes, transformed back, instead of sum |x w|; terms are the channels that are summed
// over, for weight gradients the tiles of 2 x 2 pixels. A NaN or an infinity may also show, as NaN, in the other pixels
// of its tile or the other weights of its channels.
#pragma once

#include <kindling/activation.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <span>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// Stride and zero padding are the same in both directions; one group.
struct ConvShape {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels_in = 0;
  std::int64_t channels_out = 0;
  std::int64_t kernel_height = 0;
  std::int64_t kernel_width = 0;
  std::int64_t stride = 1;
  std::int64_t padding = 0;

  /// Only for a kernel that fits into the padded image, and stride >= 1.
  [[nodiscard]] std::int64_t out_height() const { return (height + 2 * padding - kernel_height) / stride + 1; }
  [[nodiscard]] std::int64_t out_width() const { return (width + 2 * padding - kernel_width) / stride + 1; }
  [[nodiscard]] std::int64_t in_features() const { return height * width * channels_in; }
  [[nodiscard]] std::int64_t out_features() const { return out_height() * out_width() * channels_out; }
  /// Weights of one neuron.
  [[nodiscard]] std::int64_t fan_in() const { return channels_in * kernel_height * kernel_width; }

  bool operator==(const ConvShape&) const = default;
};

enum class ConvPass { forward, input_gradient, weight_gradient };
/// Whether a pass over so many samples is computed by Winograd's filtering on this target: where it is faster.
bool by_winograd(const Target& target, ConvPass pass, const ConvShape& shape, std::int64_t samples);

/// Y = f(X * W + b). Unless by_winograd, error of the pre-activation against exact arithmetic: at most K eps sum |x w|
/// + 2 eps |b|, K = fan_in(), eps = 2^-24; tanh and sigmoid add at most 4 ulp.
void conv2d_forward(const Execution& execution, ConstTensorView x, ConstTensorView w, std::span<const float> bias,
                    const Activation& activation, const ConvShape& shape, TensorView y);

/// dX = f'(X) * (the gradient of sum(Z dZ) with respect to X), Z the pre-activations, X the output of the activation
/// `below` that fed this layer. At the kink of a piecewise-linear activation (X = 0) the derivative is that of the
/// negative side.
void conv2d_input_gradient(const Execution& execution, ConstTensorView dz, ConstTensorView w, ConstTensorView x,
                           const Activation& below, const ConvShape& shape, TensorView dx);

/// dW (O x fan_in()) and db (O), the gradients of sum(Z dZ). No samples: both are zero.
void conv2d_weight_gradient(const Execution& execution, ConstTensorView x, ConstTensorView dz, const ConvShape& shape,
                            TensorView dw, std::span<float> db);

}  // namespace kindling::kernels
