/* Objectives of neural estimates of mutual information. */
#ifndef KINDLING_KERNELS_INFORMATION_H
#define KINDLING_KERNELS_INFORMATION_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* scale multiplies the gradients (-1 to minimise); rate in (0, 1] is that of MINE's moving average, 1 for none. */
typedef struct kindling_donsker_varadhan_options {
  float scale, rate;
} kindling_donsker_varadhan_options;

/* Donsker-Varadhan bound of B estimates, in nats: value(b) = mean_i joint(b, i) - log mean_j exp(product(b, j)), joint
 * (B x N) the scores of pairs drawn together, product (B x M) of pairs drawn apart, N, M >= 1; value (B) and the
 * gradients with respect to both scores. log_average (B): the logarithm of the moving average, in and out, -infinity
 * before the first batch; of size 0 where rate is 1. */
KINDLING_CHECKED kindling_status kindling_donsker_varadhan(const kindling_context* context, kindling_const_matrix joint,
                                                           kindling_const_matrix product,
                                                           kindling_donsker_varadhan_options options,
                                                           kindling_vector log_average, kindling_vector value,
                                                           kindling_matrix joint_gradient,
                                                           kindling_matrix product_gradient);

#ifdef __cplusplus
}
#endif

#endif
