// Sums of the Gaussian kernel K_ij = exp(-|x_i - y_j|^2 / (2 gamma^2)) over pairs of samples, their gradients, the
// squared maximum mean discrepancy, and quantiles of pairwise distances for the median heuristic. No matrix of pairs is
// stored, but for quantiles of small samples. Everything is bitwise independent of the number of threads.
//
// One problem is a matrix, a row a sample (n x d); P problems of one shape are a tensor (P x n x d). What is per
// problem has P elements (one for a matrix), what is per sample P n, problem by problem.
//
// Accuracy. For d <= 32 squared distances are sums of squared differences: relative error at most (d + 3) 2^-24, K_ii
// is exactly 1. For larger d they are |x - c|^2 + |y - c|^2 - 2 (x - c).(y - c) about the mean c of the columns, with
// an error of at most (d + 4) 2^-23 (|x - c|^2 + |y - c|^2). The exponential adds 2e-7, relative; values below 2^-126
// may come out as any number from 0 to 2^-126. Sums over columns run in float32 over slabs of 512 columns, then in
// float64 (in gradients: lane by lane in float32); sums over rows in float64.
//
// Every function throws Error{usage}, before anything is computed, for shapes that do not fit, for d = 0, for a
// coordinate that is not finite or larger than 1e15 in magnitude (which problem, row and column), for a bandwidth gamma
// outside [1e-15, 1e15] (0, infinite and NaN among them), and for an output that overlaps an input or another output.
#pragma once

#include <kindling/tensor.h>

#include <cstdint>
#include <span>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// Dimensions up to which squared distances are sums of squared differences.
inline constexpr std::int64_t gram_difference_dimensions = 32;

/// row_sums[i] = sum_j K_ij and totals = sum_i row_sums[i]: x (n x d), y (m x d), gamma and totals (P), row_sums (P n).
/// y may be x; the sum over i != j is then the total less n. With n = 0 or m = 0 the sums are 0.
void gaussian_gram_sum(const Execution& execution, ConstTensorView x, ConstTensorView y, std::span<const float> gamma,
                       std::span<double> row_sums, std::span<double> totals);

/// Weights of rows (P n) and columns (P m); an empty span stands for ones.
struct GramWeights {
  std::span<const float> rows;
  std::span<const float> columns;
};

/// What gaussian_gram_gradient writes.
struct GramGradient {
  std::span<double> row_sums;  ///< (P n)
  std::span<double> totals;    ///< (P)
  TensorView gradient;         ///< like x
};

/// Of f = sum_ij a_i b_j K_ij: row_sums[i] = sum_j b_j K_ij, totals = f, and gradient = df/dx, that is
/// -a_i / gamma^2 sum_j b_j K_ij (x_i - y_j), all in one pass. Weights of rank one are what the gradient of a function
/// of row sums or of the total needs. df/dy comes from the call with x and y, and a and b, exchanged; where y is x the
/// gradient is the sum of both. Weights must be finite. With n = 0 or m = 0 sums and gradient are 0.
void gaussian_gram_gradient(const Execution& execution, ConstTensorView x, ConstTensorView y,
                            std::span<const float> gamma, const GramWeights& weights, const GramGradient& out);

/// How expectations within a sample are estimated (Gretton et al., JMLR 2012, eq. 5 and 3).
enum class MmdEstimate {
  v_statistic,  ///< over all n^2 pairs: never negative, biased
  u_statistic   ///< over the n (n - 1) pairs i != j: unbiased, can be negative
};

/// Squared maximum mean discrepancy between the rows of u (n x d) and of v (m x d), per problem, and its gradient with
/// respect to u: value (P) = E K(u, u') - 2 E K(u, v) + E K(v, v'), gradient like u. A U-statistic needs n, m >= 2,
/// a V-statistic n, m >= 1. Memory: the packed operands of as many problems as there are threads, and O(P n d).
void mmd_squared(const Execution& execution, ConstTensorView u, ConstTensorView v, std::span<const float> gamma,
                 MmdEstimate estimate, std::span<double> value, TensorView gradient);

/// The quantile q in [0, 1] of the distances |z_i - z_j|, i < j, of the pooled sample z = (x, y), per problem:
/// distances (P). Linear interpolation between order statistics, so that q = 0.5 is the usual median. x (n x d), y (m x
/// d) or a default view for nothing; n + m >= 2. Exact up to the float32 rounding of each squared distance (always
/// summed from differences). 0 where at least so many pairs coincide. Sorts no distances: pairs are counted below ever
/// closer thresholds. Stores none where n + m > 256; below, 256 KiB a thread at most (on a GPU, a problem), of the
/// problem at hand.
void pair_distance_quantile(const Execution& execution, ConstTensorView x, ConstTensorView y, double q,
                            std::span<float> distances);

}  // namespace kindling::kernels
