#include "kernels/conv.h"

#include <kindling/kernels/conv.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

namespace {

ConvShape shape_of(const kindling_conv_shape& s) {
  return {.height = s.height,
          .width = s.width,
          .channels_in = s.channels_in,
          .channels_out = s.channels_out,
          .kernel_height = s.kernel_height,
          .kernel_width = s.kernel_width,
          .stride = s.stride,
          .padding = s.padding};
}

}  // namespace

kindling_status kindling_conv2d_forward(const kindling_context* context, kindling_const_matrix x,
                                        kindling_const_matrix w, kindling_const_vector bias,
                                        kindling_activation activation, kindling_conv_shape shape, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    conv2d_forward(e, a.matrix("x", x), a.matrix("w", w), a.vector("bias", bias), a.activation(activation),
                   shape_of(shape), a.matrix("y", y));
  });
}

kindling_status kindling_conv2d_input_gradient(const kindling_context* context, kindling_const_matrix dz,
                                               kindling_const_matrix w, kindling_const_matrix x,
                                               kindling_activation below, kindling_conv_shape shape,
                                               kindling_matrix dx) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    conv2d_input_gradient(e, a.matrix("dz", dz), a.matrix("w", w), a.matrix("x", x), a.activation(below),
                          shape_of(shape), a.matrix("dx", dx));
  });
}

kindling_status kindling_conv2d_weight_gradient(const kindling_context* context, kindling_const_matrix x,
                                                kindling_const_matrix dz, kindling_conv_shape shape, kindling_matrix dw,
                                                kindling_vector db) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    conv2d_weight_gradient(e, a.matrix("x", x), a.matrix("dz", dz), shape_of(shape), a.matrix("dw", dw),
                           a.vector("db", db));
  });
}
