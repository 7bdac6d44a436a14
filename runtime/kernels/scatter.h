// Inputs and moments: standardisation, mini-batch gathering, per-feature and per-class moments of stored matrices, and
// the scatter criteria of neuron selection. Matrices hold one sample a row, row-major; rows may be strided.
//
// Sums over samples run over groups of moment_group_rows (dense.h) rows in float32 and over the groups in float64, in
// their order: results do not depend on the number of threads. NaN and infinity pass through as IEEE arithmetic has
// them. A shape that does not fit throws Error{usage}.
#pragma once

#include <kindling/tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/dispatch.h"

namespace kindling::kernels {

using ConstByteView = BasicTensorView<const std::uint8_t>;

/// y = (x - mean[k]) * inverse_std[k]; x and y (N x K), mean and inverse_std (K). y may be x.
void standardize(const Execution& execution, ConstTensorView x, std::span<const float> mean,
                 std::span<const float> inverse_std, TensorView y);
/// y = (x / 255 - mean[k]) * inverse_std[k] of unsigned bytes.
void standardize_u8(const Execution& execution, ConstByteView x, std::span<const float> mean,
                    std::span<const float> inverse_std, TensorView y);

/// Row r of y is row index[r] of x, standardised; x (R x K), index (N) with values in 0..R-1 (Error{usage} names the
/// one that is not), y (N x K). Rows may repeat.
void gather_rows(const Execution& execution, ConstTensorView x, std::span<const std::int32_t> index,
                 std::span<const float> mean, std::span<const float> inverse_std, TensorView y);
void gather_rows_u8(const Execution& execution, ConstByteView x, std::span<const std::int32_t> index,
                    std::span<const float> mean, std::span<const float> inverse_std, TensorView y);

/// mean[k] over the rows of x (N x K), N >= 1.
void column_mean(const Execution& execution, ConstTensorView x, std::span<float> mean);

/// mean[k] and population variance (division by N) over the rows of x (N x K), N >= 1. Squares are summed about the
/// mean of the first group of rows, so that a large mean costs no digits; a column with an infinity has a mean that is
/// not finite, and no variance (NaN). Bytes stand for x / 255.
void feature_moments(const Execution& execution, ConstTensorView x, std::span<double> mean, std::span<double> variance);
void feature_moments_u8(const Execution& execution, ConstByteView x, std::span<double> mean,
                        std::span<double> variance);

/// sum[c * M + m] += sum of (z - shift[m]) over the samples of class c, sum_squares likewise of the squares. z (N x M),
/// labels (N) in 0..classes-1 (Error{usage} names the sample), shift (M), sum and sum_squares (classes * M). Data that
/// comes in several calls gives the same bits as in one when every call but the last brings a multiple of
/// moment_group_rows.
void class_scatter(const Execution& execution, ConstTensorView z, std::span<const std::int32_t> labels,
                   std::span<const float> shift, std::int64_t classes, std::span<double> sum,
                   std::span<double> sum_squares);

/// Per feature (M each): scatter of z over m samples in C classes of m_c samples, mu_c the class means. Classes without
/// samples are left out of C. total = between_weighted + within_weighted up to rounding.
struct ScatterCriteria {
  std::vector<double> mean;              ///< over the samples
  std::vector<double> total;             ///< (1/m) sum (z - mean)^2, eq. 8 of the neuron campaign
  std::vector<double> between;           ///< (1/C) sum_c (mu_c - mean of the mu_c)^2
  std::vector<double> within;            ///< (1/C) sum_c (1/m_c) sum_{i in c} (z_i - mu_c)^2
  std::vector<double> between_weighted;  ///< sum_c (m_c/m) (mu_c - mean)^2
  std::vector<double> within_weighted;   ///< sum_c (m_c/m) (1/m_c) sum_{i in c} (z_i - mu_c)^2
  std::vector<double> class_mean;        ///< C x M, all classes; for one without samples, shift
};

/// Criteria from the moments that class_scatter or dense_moments summed: counts (C), each >= 0 and not all 0
/// (Error{usage}), sum and sum_squares (C * M) about shift (M).
ScatterCriteria scatter_criteria(const Execution& execution, std::span<const std::int64_t> counts,
                                 std::span<const double> sum, std::span<const double> sum_squares,
                                 std::span<const float> shift);

/// Scatter of a stored matrix and the moments of its classes.
struct StoredScatter {
  std::vector<std::int64_t> count;     ///< C: samples of each class
  std::vector<double> class_variance;  ///< C x M: (1/m_c) sum_{i in c} (z_i - mu_c)^2; 0 for a class without samples
  ScatterCriteria criteria;            ///< class_mean is 0 for a class without samples
};

/// Everything of scatter_criteria in one pass over z (N x M), N >= 1, labels (N) in 0..classes-1 (Error{usage} names
/// the sample). No shift is asked for: the sums of a class run about its first sample, so that variances stay right to
/// about 1e-5 of (variance + squared distance of that sample from its class mean), whatever the means are.
StoredScatter stored_scatter(const Execution& execution, ConstTensorView z, std::span<const std::int32_t> labels,
                             std::int64_t classes);

/// mean (D) and covariance (D x D, both halves, bitwise symmetric) of the rows of x (N x D), N >= 1, divided by N.
/// Returns the trace, the total variance. Products of differences from the means as rounded to float32, added up in
/// float32: element (i, j) is right to about 2 N eps of the mean of |x_i - mean_i| |x_j - mean_j|, eps = 2^-24.
double covariance(const Execution& execution, ConstTensorView x, std::span<float> mean, TensorView covariance);

}  // namespace kindling::kernels
