#include "kernels/optimizer.h"

#include <kindling/kernels/optimizer.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

kindling_status kindling_sgd_step(const kindling_context* context, kindling_const_vector gradient, kindling_sgd step,
                                  kindling_vector parameters) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    sgd_step(e, a.vector("gradient", gradient),
             {.learning_rate = step.learning_rate, .weight_decay = step.weight_decay},
             a.vector("parameters", parameters));
  });
}

kindling_status kindling_momentum_step(const kindling_context* context, kindling_const_vector gradient,
                                       kindling_momentum step, kindling_vector parameters, kindling_vector velocity) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    momentum_step(e, a.vector("gradient", gradient),
                  {.learning_rate = step.learning_rate, .momentum = step.momentum, .weight_decay = step.weight_decay},
                  a.vector("parameters", parameters), a.vector("velocity", velocity));
  });
}

kindling_status kindling_adam_step(const kindling_context* context, kindling_const_vector gradient, kindling_adam step,
                                   kindling_vector parameters, kindling_vector mean, kindling_vector mean_square) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    adam_step(e, a.vector("gradient", gradient),
              {.learning_rate = step.learning_rate,
               .beta1 = step.beta1,
               .beta2 = step.beta2,
               .epsilon = step.epsilon,
               .weight_decay = step.weight_decay,
               .step = step.step},
              a.vector("parameters", parameters), a.vector("mean", mean), a.vector("mean_square", mean_square));
  });
}
