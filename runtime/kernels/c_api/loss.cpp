#include "kernels/loss.h"

#include <kindling/kernels/loss.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

kindling_status kindling_softmax_cross_entropy(const kindling_context* context, kindling_const_matrix logits,
                                               kindling_const_indices labels, float scale, kindling_vector loss,
                                               kindling_matrix gradient, kindling_indices prediction) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    softmax_cross_entropy(e, a.matrix("logits", logits), a.vector("labels", labels), scale, a.vector("loss", loss),
                          a.matrix("gradient", gradient), a.vector("prediction", prediction));
  });
}

kindling_status kindling_softmax_cross_entropy_loss(const kindling_context* context, kindling_const_matrix logits,
                                                    kindling_const_indices labels, kindling_vector loss,
                                                    kindling_indices prediction) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    softmax_cross_entropy_loss(e, a.matrix("logits", logits), a.vector("labels", labels), a.vector("loss", loss),
                               a.vector("prediction", prediction));
  });
}

kindling_status kindling_softmax_hessian_product(const kindling_context* context, kindling_const_matrix logits,
                                                 kindling_const_matrix tangent, float scale, kindling_matrix product) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    softmax_hessian_product(e, a.matrix("logits", logits), a.matrix("tangent", tangent), scale,
                            a.matrix("product", product));
  });
}

kindling_status kindling_squared_error(const kindling_context* context, kindling_const_matrix y,
                                       kindling_const_matrix target, float scale, kindling_vector loss,
                                       kindling_matrix gradient) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    squared_error(e, a.matrix("y", y), a.matrix("target", target), scale, a.vector("loss", loss),
                  a.matrix("gradient", gradient));
  });
}

kindling_status kindling_activation_gradient(const kindling_context* context, kindling_const_matrix y,
                                             kindling_activation activation, kindling_const_matrix dy,
                                             kindling_matrix dz) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    activation_gradient(e, a.matrix("y", y), a.activation(activation), a.matrix("dy", dy), a.matrix("dz", dz));
  });
}
