#include "kernels/layout.h"

#include <kindling/kernels/layout.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

kindling_status kindling_planar_to_channels_last(const kindling_context* context, kindling_const_matrix x,
                                                 int64_t channels, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    planar_to_channels_last(e, a.matrix("x", x), channels, a.matrix("y", y));
  });
}

kindling_status kindling_channels_last_to_planar(const kindling_context* context, kindling_const_matrix x,
                                                 int64_t channels, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    channels_last_to_planar(e, a.matrix("x", x), channels, a.matrix("y", y));
  });
}

kindling_status kindling_patches(const kindling_context* context, kindling_const_matrix x, kindling_patch_shape shape,
                                 kindling_matrix rows) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    patches(e, a.matrix("x", x),
            {.height = shape.height,
             .width = shape.width,
             .channels = shape.channels,
             .kernel_height = shape.kernel_height,
             .kernel_width = shape.kernel_width,
             .stride = shape.stride,
             .padding = shape.padding},
            a.matrix("rows", rows));
  });
}
