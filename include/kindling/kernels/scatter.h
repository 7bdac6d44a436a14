/* Standardisation, mini-batch gathering, moments by feature and by class, scatter criteria. N samples in rows, K
 * features in columns. Sums run over groups of 960 rows in float32 and over the groups in float64. */
#ifndef KINDLING_KERNELS_SCATTER_H
#define KINDLING_KERNELS_SCATTER_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* y = (x - mean[k]) * inverse_std[k]; x and y (N x K), mean and inverse_std (K). y may be x. _u8: bytes stand for
 * x / 255. */
KINDLING_CHECKED kindling_status kindling_standardize(const kindling_context* context, kindling_const_matrix x,
                                                      kindling_const_vector mean, kindling_const_vector inverse_std,
                                                      kindling_matrix y);
KINDLING_CHECKED kindling_status kindling_standardize_u8(const kindling_context* context, kindling_const_byte_matrix x,
                                                         kindling_const_vector mean, kindling_const_vector inverse_std,
                                                         kindling_matrix y);

/* Row r of y (N x K) is row index[r] of x (R x K), standardised; index (N) in 0..R-1, rows may repeat. */
KINDLING_CHECKED kindling_status kindling_gather_rows(const kindling_context* context, kindling_const_matrix x,
                                                      kindling_const_indices index, kindling_const_vector mean,
                                                      kindling_const_vector inverse_std, kindling_matrix y);
KINDLING_CHECKED kindling_status kindling_gather_rows_u8(const kindling_context* context, kindling_const_byte_matrix x,
                                                         kindling_const_indices index, kindling_const_vector mean,
                                                         kindling_const_vector inverse_std, kindling_matrix y);

/* mean[k] over the rows of x (N x K), N >= 1. */
KINDLING_CHECKED kindling_status kindling_column_mean(const kindling_context* context, kindling_const_matrix x,
                                                      kindling_vector mean);

/* mean[k] and population variance (division by N) over the rows of x (N x K), N >= 1. _u8: bytes stand for x / 255. */
KINDLING_CHECKED kindling_status kindling_feature_moments(const kindling_context* context, kindling_const_matrix x,
                                                          kindling_doubles mean, kindling_doubles variance);
KINDLING_CHECKED kindling_status kindling_feature_moments_u8(const kindling_context* context,
                                                             kindling_const_byte_matrix x, kindling_doubles mean,
                                                             kindling_doubles variance);

/* sum[c * K + k] += sum of (z - shift[k]) over the samples of class c, sum_squares likewise of the squares. z (N x K),
 * labels (N) in 0..classes-1, shift (K), sum and sum_squares (classes * K). */
KINDLING_CHECKED kindling_status kindling_class_scatter(const kindling_context* context, kindling_const_matrix z,
                                                        kindling_const_indices labels, kindling_const_vector shift,
                                                        int64_t classes, kindling_doubles sum,
                                                        kindling_doubles sum_squares);

/* Where scatter_criteria writes: K elements each, class_mean C * K. Classes without samples are left out of C. */
typedef struct kindling_scatter {
  kindling_doubles mean;             /* over the samples */
  kindling_doubles total;            /* (1/m) sum (z - mean)^2 */
  kindling_doubles between;          /* (1/C) sum_c (mu_c - mean of the mu_c)^2 */
  kindling_doubles within;           /* (1/C) sum_c (1/m_c) sum_{i in c} (z_i - mu_c)^2 */
  kindling_doubles between_weighted; /* sum_c (m_c/m) (mu_c - mean)^2 */
  kindling_doubles within_weighted;  /* sum_c (m_c/m) (1/m_c) sum_{i in c} (z_i - mu_c)^2 */
  kindling_doubles class_mean;       /* of each class; shift for one without samples */
} kindling_scatter;

/* Criteria from the moments that class_scatter or dense_moments summed: counts (C), each >= 0 and not all 0; sum and
 * sum_squares (C * K) about shift (K). */
KINDLING_CHECKED kindling_status kindling_scatter_criteria(const kindling_context* context,
                                                           kindling_const_counts counts, kindling_const_doubles sum,
                                                           kindling_const_doubles sum_squares,
                                                           kindling_const_vector shift, kindling_scatter result);

/* All of kindling_scatter_criteria in one pass over a stored z (N x K), N >= 1, labels (N) in 0..classes-1. count (C):
 * samples of each class; class_variance (C K): variance within each class; result.class_mean is 0 for a class without
 * samples. */
KINDLING_CHECKED kindling_status kindling_stored_scatter(const kindling_context* context, kindling_const_matrix z,
                                                         kindling_const_indices labels, int64_t classes,
                                                         kindling_counts count, kindling_doubles class_variance,
                                                         kindling_scatter result);

/* mean (K) and covariance (K x K, both halves, divided by N) of the rows of x (N x K), N >= 1; trace (1): the total
 * variance, the sum of the diagonal. */
KINDLING_CHECKED kindling_status kindling_covariance(const kindling_context* context, kindling_const_matrix x,
                                                     kindling_vector mean, kindling_matrix covariance,
                                                     kindling_doubles trace);

#ifdef __cplusplus
}
#endif

#endif
