// Convolution layers on the kernels of kernels/conv.h.
#pragma once

#include <kindling/model.h>

#include <span>

#include "kernels/conv.h"
#include "kernels/dispatch.h"

namespace kindling {

inline kernels::ConvShape conv_shape(const Layer& l) {
  return {.height = l.input.height,
          .width = l.input.width,
          .channels_in = l.input.channels,
          .channels_out = l.output.channels,
          .kernel_height = l.window.height,
          .kernel_width = l.window.width,
          .stride = l.window.stride,
          .padding = l.window.padding};
}

inline void conv_forward(const kernels::Execution& exec, const Layer& l, ConstTensorView x, TensorView y) {
  kernels::conv2d_forward(exec, x, l.weight.view().matrix(), l.bias.flat(), l.activation, conv_shape(l), y);
}
inline void conv_input_gradient(const kernels::Execution& exec, const Layer& l, ConstTensorView dz, ConstTensorView x,
                                const Activation& below, TensorView dx) {
  kernels::conv2d_input_gradient(exec, dz, l.weight.view().matrix(), x, below, conv_shape(l), dx);
}
inline void conv_weight_gradient(const kernels::Execution& exec, const Layer& l, ConstTensorView x, ConstTensorView dz,
                                 TensorView dw, std::span<float> db) {
  kernels::conv2d_weight_gradient(exec, x, dz, conv_shape(l), dw, db);
}

}  // namespace kindling
