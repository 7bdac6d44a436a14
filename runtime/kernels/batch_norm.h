// Batch normalisation (Ioffe & Szegedy, ICML 2015): one sample a row, row-major float32. C channels are the innermost
// part of a row: rows of C features (dense layers), or of P * C numbers, P positions with channels last (images). Rows
// of images must be contiguous. Statistics run over samples and positions, R = N * P values a channel.
//
// Sums run over blocks of rows in float32, about the block's own mean, and over blocks in float64, in their order:
// results do not depend on the number of threads. NaN and infinity pass through as IEEE arithmetic has them. A shape
// that does not fit throws Error{usage}.
#pragma once

#include <kindling/activation.h>
#include <kindling/tensor.h>

#include <span>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// Scale and shift of every channel: z = (x - mean) / sqrt(variance + epsilon) * weight + bias. Spans of C.
struct BatchNormParameters {
  std::span<const float> weight, bias;
  float epsilon = 1e-5F;
};

/// What the backward pass needs of the forward pass: mean and 1 / sqrt(variance + epsilon) of the batch. Spans of C.
struct BatchNormSaved {
  std::span<float> mean, inverse_std;
};

/// Moving averages for inference, PyTorch's definition: r = (1 - momentum) r + momentum * (statistic of the batch),
/// the variance divided by R - 1. Spans of C.
struct RunningStatistics {
  std::span<float> mean, variance;
  float momentum = 0.1F;
};

/// Mean and variance (divided by R) of every channel; mean and variance (C), R >= 1.
void batch_norm_moments(const Execution& execution, ConstTensorView x, std::span<double> mean,
                        std::span<double> variance);

/// Training: y = f(z) with the batch's own statistics (variance divided by R), which are saved and enter `running`.
/// Needs R >= 2: a single value has no variance.
void batch_norm_forward(const Execution& execution, ConstTensorView x, const BatchNormParameters& parameters,
                        const Activation& activation, const BatchNormSaved& saved, const RunningStatistics& running,
                        TensorView y);

/// Inference: y = f(z) with given statistics (C). y may be x.
void batch_norm_inference(const Execution& execution, ConstTensorView x, const BatchNormParameters& parameters,
                          std::span<const float> mean, std::span<const float> variance, const Activation& activation,
                          TensorView y);

/// Gradients of weight and bias (C), given dz at the pre-activation z.
void batch_norm_weight_gradient(const Execution& execution, ConstTensorView dz, ConstTensorView x,
                                const BatchNormSaved& saved, std::span<float> dweight, std::span<float> dbias);

/// dx = f'(.) * gradient at the layer's input x, through the batch's statistics, where x is the output of the
/// activation `below`; needs the results of batch_norm_weight_gradient. dx may be dz.
void batch_norm_input_gradient(const Execution& execution, ConstTensorView dz, ConstTensorView x,
                               std::span<const float> weight, const BatchNormSaved& saved,
                               std::span<const float> dweight, std::span<const float> dbias, const Activation& below,
                               TensorView dx);

}  // namespace kindling::kernels
