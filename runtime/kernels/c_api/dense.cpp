#include "kernels/dense.h"

#include <kindling/kernels/dense.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

namespace {

DenseParameters parameters_of(const Arguments& a, std::string_view weight, std::string_view bias,
                              const kindling_dense_parameters& p) {
  return {a.matrix(weight, p.weight), a.vector(bias, p.bias)};
}

}  // namespace

kindling_status kindling_dense_forward(const kindling_context* context, kindling_const_matrix x,
                                       kindling_const_matrix w, kindling_const_vector bias,
                                       kindling_activation activation, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    dense_forward(e, a.matrix("x", x), a.matrix("w", w), a.vector("bias", bias), a.activation(activation),
                  a.matrix("y", y));
  });
}

kindling_status kindling_dense_forward_added(const kindling_context* context, kindling_const_matrix x,
                                             kindling_const_matrix w, kindling_const_matrix added,
                                             kindling_activation activation, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    dense_forward_added(e, a.matrix("x", x), a.matrix("w", w), a.matrix("added", added), a.activation(activation),
                        a.matrix("y", y));
  });
}

kindling_status kindling_dense_input_gradient(const kindling_context* context, kindling_const_matrix dz,
                                              kindling_const_matrix w, kindling_const_matrix x,
                                              kindling_activation below, kindling_matrix dx) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    dense_input_gradient(e, a.matrix("dz", dz), a.matrix("w", w), a.matrix("x", x), a.activation(below),
                         a.matrix("dx", dx));
  });
}

kindling_status kindling_dense_weight_gradient(const kindling_context* context, kindling_const_matrix x,
                                               kindling_const_matrix dz, kindling_matrix dw, kindling_vector db) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    dense_weight_gradient(e, a.matrix("x", x), a.matrix("dz", dz), a.matrix("dw", dw), a.vector("db", db));
  });
}

kindling_status kindling_dense_weight_sgd(const kindling_context* context, kindling_const_matrix x,
                                          kindling_const_matrix dz, kindling_dense_parameters parameters,
                                          kindling_sgd step) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    dense_weight_sgd(e, a.matrix("x", x), a.matrix("dz", dz),
                     parameters_of(a, "parameters.weight", "parameters.bias", parameters),
                     {.learning_rate = step.learning_rate, .weight_decay = step.weight_decay});
  });
}

kindling_status kindling_dense_weight_momentum(const kindling_context* context, kindling_const_matrix x,
                                               kindling_const_matrix dz, kindling_dense_parameters parameters,
                                               kindling_dense_parameters velocity, kindling_momentum step) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    dense_weight_momentum(
        e, a.matrix("x", x), a.matrix("dz", dz), parameters_of(a, "parameters.weight", "parameters.bias", parameters),
        parameters_of(a, "velocity.weight", "velocity.bias", velocity),
        {.learning_rate = step.learning_rate, .momentum = step.momentum, .weight_decay = step.weight_decay});
  });
}

kindling_status kindling_dense_weight_adam(const kindling_context* context, kindling_const_matrix x,
                                           kindling_const_matrix dz, kindling_dense_parameters parameters,
                                           kindling_dense_parameters mean, kindling_dense_parameters square,
                                           kindling_adam step) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    dense_weight_adam(
        e, a.matrix("x", x), a.matrix("dz", dz), parameters_of(a, "parameters.weight", "parameters.bias", parameters),
        parameters_of(a, "mean.weight", "mean.bias", mean), parameters_of(a, "square.weight", "square.bias", square),
        {.learning_rate = step.learning_rate,
         .beta1 = step.beta1,
         .beta2 = step.beta2,
         .epsilon = step.epsilon,
         .weight_decay = step.weight_decay,
         .step = step.step});
  });
}

kindling_status kindling_dense_moments(const kindling_context* context, kindling_const_matrix x,
                                       kindling_const_matrix w, kindling_const_vector bias,
                                       kindling_activation activation, kindling_const_indices labels,
                                       kindling_const_vector shift, int64_t classes, kindling_doubles sum,
                                       kindling_doubles sum_squares) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    dense_moments(e, a.matrix("x", x), a.matrix("w", w), a.vector("bias", bias), a.activation(activation),
                  a.vector("labels", labels), a.vector("shift", shift), classes, a.vector("sum", sum),
                  a.vector("sum_squares", sum_squares));
  });
}
