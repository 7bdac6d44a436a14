// Kernels of the neuron campaign: blocked, weighted, pivoted Gram-Schmidt over rows. Every kernel is bitwise
// independent of the number of threads.
#pragma once

#include <kindling/tensor.h>

#include <cstdint>
#include <span>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// Rows of a matrix, picked and scaled: row i stands for scale[index[i]] * rows[index[i]]. Both spans live as long as
/// the call; every index is in [0, rows.rows()), `scale` has one entry per row of the matrix.
struct PickedRows {
  ConstTensorView rows;                 ///< (P x K), rows may be strided
  std::span<const std::int32_t> index;  ///< (A)
  std::span<const float> scale;         ///< (P)
};

/// Sum of squares of every row, rows (P x K), sum_squares (P). NaN and infinity in a row show in its sum.
void campaign_norms(const Execution& execution, ConstTensorView rows, std::span<float> sum_squares);

/// Coefficients of picked rows along directions: c(i, j) = row_i . directions_j. directions (B x K), c (A x B).
void campaign_project(const Execution& execution, const PickedRows& picked, ConstTensorView directions, TensorView c);

/// Lowers squared residual norms by the coefficients along new directions, none of which is stored:
/// squared[i] = before[i] - sum over j >= first[i] of (row_i . directions_j)^2. directions (B x K); first, before,
/// squared (A). Fast when rows of similar `first` stand together.
void campaign_update(const Execution& execution, const PickedRows& picked, ConstTensorView directions,
                     std::span<const std::int32_t> first, std::span<const float> before, std::span<float> squared);

/// Takes the part along directions away: residual_i = row_i - sum_j c(j, i) directions_j, and its squared norm.
/// c (B x A), directions (B x K), residual (A x K), squared (A). `residual` overlaps no input.
void campaign_residual(const Execution& execution, const PickedRows& picked, ConstTensorView c,
                       ConstTensorView directions, TensorView residual, std::span<float> squared);

/// The state of an active set of A candidates inside a block of pivoted Cholesky steps.
struct CampaignStep {
  ConstTensorView gram;              ///< (A x S) inner products of every candidate with the residuals of S of them
  std::int64_t column = 0;           ///< the pivot's column of `gram`
  std::int64_t pivot = 0;            ///< the pivot's position among the candidates
  ConstTensorView factor;            ///< (steps so far x A) coefficients along the block's earlier directions
  std::span<const float> weight;     ///< (A) score of each candidate, negative for one that is out
  std::span<const float> reference;  ///< (A) squared norm at its last exact computation
  float spoilt = 0;                  ///< a squared norm below spoilt * reference has lost its accuracy ...
  float slack = 0;                   ///< ... and counts as slack * reference more
};

/// What a step decided: the largest product and its position, the lower one among equals; position -1 when all are out.
struct CampaignBest {
  float product = -1;
  std::int64_t position = -1;
};

/// One step: the coefficients of all candidates along the pivot's direction, the squared norms left, the products
/// weight * sqrt(squared) and the largest of them. before: the squared norms up to now; coefficients, squared,
/// products: all (A). A negative weight gives the product -1. A NaN shows in the products, and is never the
/// largest. Outputs overlap no input.
CampaignBest campaign_step(const Execution& execution, const CampaignStep& step, std::span<const float> before,
                           std::span<float> coefficients, std::span<float> squared, std::span<float> products);

}  // namespace kindling::kernels
