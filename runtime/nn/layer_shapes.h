// What the kernels need to know of a layer, in their own terms.
#pragma once

#include <kindling/model.h>

#include "kernels/batch_norm.h"
#include "kernels/conv.h"
#include "kernels/layout.h"
#include "kernels/pool.h"

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

inline kernels::PatchShape patch_shape(const Layer& l) {
  return {.height = l.input.height,
          .width = l.input.width,
          .channels = l.input.channels,
          .kernel_height = l.window.height,
          .kernel_width = l.window.width,
          .stride = l.window.stride,
          .padding = l.window.padding};
}

inline kernels::PoolShape pool_shape(const Layer& l) {
  return {.height = l.input.height,
          .width = l.input.width,
          .channels = l.input.channels,
          .window_height = l.window.height,
          .window_width = l.window.width,
          .stride = l.window.stride,
          .padding = l.window.padding};
}

inline kernels::BatchNormParameters norm_parameters(const Layer& l) {
  return {l.weight.flat(), l.bias.flat(), Layer::batch_norm_epsilon};
}

}  // namespace kindling
