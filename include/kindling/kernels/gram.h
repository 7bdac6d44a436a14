/* Sums of the Gaussian kernel K_ij = exp(-|x_i - y_j|^2 / (2 gamma^2)), squared maximum mean discrepancy and quantiles
 * of pairwise distances; no matrix of pairs is stored. P problems of one shape lie below each other: x (P n x d), y (P
 * m x d), P the size of gamma (or of the result); with P > 1 rows have no gaps. A coordinate that is not finite or
 * beyond 1e15, and a gamma outside [1e-15, 1e15], is KINDLING_USAGE. */
#ifndef KINDLING_KERNELS_GRAM_H
#define KINDLING_KERNELS_GRAM_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* row_sums(i) = sum_j K_ij (P n) and totals = sum_i row_sums(i) (P); y may be x. */
KINDLING_CHECKED kindling_status kindling_gaussian_gram_sum(const kindling_context* context, kindling_const_matrix x,
                                                            kindling_const_matrix y, kindling_const_vector gamma,
                                                            kindling_doubles row_sums, kindling_doubles totals);

/* Of f = sum_ij a_i b_j K_ij: row_sums(i) = sum_j b_j K_ij, totals = f, gradient = df/dx (like x). Weights a (P n) and
 * b (P m); one of size 0 stands for ones. */
KINDLING_CHECKED kindling_status kindling_gaussian_gram_gradient(
    const kindling_context* context, kindling_const_matrix x, kindling_const_matrix y, kindling_const_vector gamma,
    kindling_const_vector row_weights, kindling_const_vector column_weights, kindling_doubles row_sums,
    kindling_doubles totals, kindling_matrix gradient);

typedef enum kindling_mmd_estimate {
  KINDLING_V_STATISTIC = 0, /* all pairs: never negative, biased; n, m >= 1 */
  KINDLING_U_STATISTIC = 1  /* pairs i != j within a sample: unbiased; n, m >= 2 */
} kindling_mmd_estimate;

/* Squared maximum mean discrepancy of u (P n x d) and v (P m x d): value (P), and its gradient with respect to u. */
KINDLING_CHECKED kindling_status kindling_mmd_squared(const kindling_context* context, kindling_const_matrix u,
                                                      kindling_const_matrix v, kindling_const_vector gamma,
                                                      kindling_mmd_estimate estimate, kindling_doubles value,
                                                      kindling_matrix gradient);

/* Quantile q in [0, 1] of the distances |z_i - z_j|, i < j, of the pooled sample z = (x, y): distances (P). y with 0
 * rows: x alone. */
KINDLING_CHECKED kindling_status kindling_pair_distance_quantile(const kindling_context* context,
                                                                 kindling_const_matrix x, kindling_const_matrix y,
                                                                 double q, kindling_vector distances);

#ifdef __cplusplus
}
#endif

#endif
