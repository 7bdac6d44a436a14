#include "kernels/pool.h"

#include <kindling/kernels/pool.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

namespace {

PoolShape shape_of(const kindling_pool_shape& s) {
  return {.height = s.height,
          .width = s.width,
          .channels = s.channels,
          .window_height = s.window_height,
          .window_width = s.window_width,
          .stride = s.stride,
          .padding = s.padding};
}

}  // namespace

kindling_status kindling_max_pool_forward(const kindling_context* context, kindling_const_matrix x,
                                          kindling_pool_shape shape, kindling_matrix y, kindling_bytes index) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    max_pool_forward(e, a.matrix("x", x), shape_of(shape), a.matrix("y", y), a.vector("index", index));
  });
}

kindling_status kindling_max_pool_inference(const kindling_context* context, kindling_const_matrix x,
                                            kindling_pool_shape shape, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    max_pool_inference(e, a.matrix("x", x), shape_of(shape), a.matrix("y", y));
  });
}

kindling_status kindling_max_pool_gradient(const kindling_context* context, kindling_const_matrix dy,
                                           kindling_const_bytes index, kindling_pool_shape shape, kindling_matrix dx) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    max_pool_gradient(e, a.matrix("dy", dy), a.vector("index", index), shape_of(shape), a.matrix("dx", dx));
  });
}

kindling_status kindling_max_pool_take(const kindling_context* context, kindling_const_matrix x,
                                       kindling_const_bytes index, kindling_pool_shape shape, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    max_pool_take(e, a.matrix("x", x), a.vector("index", index), shape_of(shape), a.matrix("y", y));
  });
}

kindling_status kindling_average_pool_forward(const kindling_context* context, kindling_const_matrix x,
                                              kindling_pool_shape shape, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    average_pool_forward(e, a.matrix("x", x), shape_of(shape), a.matrix("y", y));
  });
}

kindling_status kindling_average_pool_gradient(const kindling_context* context, kindling_const_matrix dy,
                                               kindling_const_matrix x, kindling_activation below,
                                               kindling_pool_shape shape, kindling_matrix dx) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    average_pool_gradient(e, a.matrix("dy", dy), a.matrix("x", x), a.activation(below), shape_of(shape),
                          a.matrix("dx", dx));
  });
}
