#include "kernels/information.h"

#include <kindling/kernels/information.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

kindling_status kindling_donsker_varadhan(const kindling_context* context, kindling_const_matrix joint,
                                          kindling_const_matrix product, kindling_donsker_varadhan_options options,
                                          kindling_vector log_average, kindling_vector value,
                                          kindling_matrix joint_gradient, kindling_matrix product_gradient) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    donsker_varadhan(e, a.matrix("joint", joint), a.matrix("product", product),
                     {.scale = options.scale, .rate = options.rate}, a.vector("log_average", log_average),
                     a.vector("value", value), a.matrix("joint_gradient", joint_gradient),
                     a.matrix("product_gradient", product_gradient));
  });
}
