/* Optimiser steps over flat parameters, in place, for gradients that are stored; dense.h has them fused into a layer's
 * weight gradient. g' = gradient + weight_decay * parameter. Arrays of one call have one size and do not overlap. */
#ifndef KINDLING_KERNELS_OPTIMIZER_H
#define KINDLING_KERNELS_OPTIMIZER_H

#include <kindling/kernels/dense.h>

#ifdef __cplusplus
extern "C" {
#endif

/* p -= learning_rate g'. */
KINDLING_CHECKED kindling_status kindling_sgd_step(const kindling_context* context, kindling_const_vector gradient,
                                                   kindling_sgd step, kindling_vector parameters);

/* v = momentum v + g'; p -= learning_rate v. The velocity starts at zero. */
KINDLING_CHECKED kindling_status kindling_momentum_step(const kindling_context* context, kindling_const_vector gradient,
                                                        kindling_momentum step, kindling_vector parameters,
                                                        kindling_vector velocity);

/* m = beta1 m + (1 - beta1) g'; s = beta2 s + (1 - beta2) g'^2;
 * p -= learning_rate / (1 - beta1^t) * m / (sqrt(s / (1 - beta2^t)) + epsilon). Both states start at zero. */
KINDLING_CHECKED kindling_status kindling_adam_step(const kindling_context* context, kindling_const_vector gradient,
                                                    kindling_adam step, kindling_vector parameters,
                                                    kindling_vector mean, kindling_vector mean_square);

#ifdef __cplusplus
}
#endif

#endif
