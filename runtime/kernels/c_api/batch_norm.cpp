#include "kernels/batch_norm.h"

#include <kindling/kernels/batch_norm.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

namespace {

BatchNormParameters parameters_of(const Arguments& a, const kindling_batch_norm& p) {
  return {a.vector("parameters.weight", p.weight), a.vector("parameters.bias", p.bias), p.epsilon};
}

BatchNormSaved saved_of(const Arguments& a, const kindling_batch_norm_saved& s) {
  return {a.vector("saved.mean", s.mean), a.vector("saved.inverse_std", s.inverse_std)};
}

}  // namespace

kindling_status kindling_batch_norm_moments(const kindling_context* context, kindling_const_matrix x,
                                            kindling_doubles mean, kindling_doubles variance) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    batch_norm_moments(e, a.matrix("x", x), a.vector("mean", mean), a.vector("variance", variance));
  });
}

kindling_status kindling_batch_norm_forward(const kindling_context* context, kindling_const_matrix x,
                                            kindling_batch_norm parameters, kindling_activation activation,
                                            kindling_batch_norm_saved saved, kindling_running_statistics running,
                                            kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    batch_norm_forward(
        e, a.matrix("x", x), parameters_of(a, parameters), a.activation(activation), saved_of(a, saved),
        {a.vector("running.mean", running.mean), a.vector("running.variance", running.variance), running.momentum},
        a.matrix("y", y));
  });
}

kindling_status kindling_batch_norm_inference(const kindling_context* context, kindling_const_matrix x,
                                              kindling_batch_norm parameters, kindling_const_vector mean,
                                              kindling_const_vector variance, kindling_activation activation,
                                              kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    batch_norm_inference(e, a.matrix("x", x), parameters_of(a, parameters), a.vector("mean", mean),
                         a.vector("variance", variance), a.activation(activation), a.matrix("y", y));
  });
}

kindling_status kindling_batch_norm_weight_gradient(const kindling_context* context, kindling_const_matrix dz,
                                                    kindling_const_matrix x, kindling_batch_norm_saved saved,
                                                    kindling_vector dweight, kindling_vector dbias) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    batch_norm_weight_gradient(e, a.matrix("dz", dz), a.matrix("x", x), saved_of(a, saved),
                               a.vector("dweight", dweight), a.vector("dbias", dbias));
  });
}

kindling_status kindling_batch_norm_input_gradient(const kindling_context* context, kindling_const_matrix dz,
                                                   kindling_const_matrix x, kindling_const_vector weight,
                                                   kindling_batch_norm_saved saved, kindling_const_vector dweight,
                                                   kindling_const_vector dbias, kindling_activation below,
                                                   kindling_matrix dx) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    batch_norm_input_gradient(e, a.matrix("dz", dz), a.matrix("x", x), a.vector("weight", weight), saved_of(a, saved),
                              a.vector("dweight", dweight), a.vector("dbias", dbias), a.activation(below),
                              a.matrix("dx", dx));
  });
}
