// A layer's linear part and its transpose, for sweeps of tangents and gradients of any order: what a layer does to a
// small change of its input, without activation. Images have channels last.
#pragma once

#include <kindling/model.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/dispatch.h"

namespace kindling {

/// u = W x + b of a dense or convolution layer with the given parameters in place of its own: weight (units x fan_in),
/// x (N x inputs), u (N x outputs).
void linear_forward(const kernels::Execution& exec, const Layer& layer, ConstTensorView weight,
                    std::span<const float> bias, ConstTensorView x, TensorView u);

/// dx = W^T du; `x` is any batch of the layer's inputs, of which nothing but the shape counts.
void linear_transposed(const kernels::Execution& exec, const Layer& layer, ConstTensorView weight, ConstTensorView du,
                       ConstTensorView x, TensorView dx);

/// dw (units x fan_in) and db (units): gradients of sum(u du).
void linear_weight_gradient(const kernels::Execution& exec, const Layer& layer, ConstTensorView x, ConstTensorView du,
                            TensorView dw, std::span<float> db);

/// The same two maps of a layer without parameters: pooling, flatten, dropout in inference. `places` (N * outputs) are
/// those of max_pool_forward, empty for other layers. Throws Error{usage} that names a layer whose map these are not.
void fixed_forward(const kernels::Execution& exec, const Layer& layer, std::span<const std::uint8_t> places,
                   ConstTensorView x, TensorView y);
void fixed_transposed(const kernels::Execution& exec, const Layer& layer, std::span<const std::uint8_t> places,
                      ConstTensorView dy, ConstTensorView x, TensorView dx);

}  // namespace kindling
