// Neuron campaign: the choice of neurons that score high and point in different directions (IBCI, Algorithm 1).
#pragma once

#include <kindling/tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/dispatch.h"

namespace kindling {

struct CampaignOptions {
  std::int64_t count = 0;             ///< candidates to choose, 0 .. P
  double exhausted_tolerance = 1e-4;  ///< a candidate with a smaller residual ratio has no direction of its own left
};

/// The choice, in the order in which it was made; all vectors have `count` entries.
struct CampaignResult {
  std::vector<std::int64_t> chosen;   ///< row of `candidates`
  std::vector<float> product;         ///< score * residual ratio at the time of the choice (eq. 12)
  std::vector<float> residual;        ///< residual ratio |p| / |w| in [0, 1]; 0 for a candidate of zero norm
  std::vector<std::int32_t> round;    ///< 0, 1, ...: a round ends when no candidate has a direction of its own left
  std::int64_t rounds = 0;            ///< rounds begun
  std::int64_t recomputed_norms = 0;  ///< norms that cancellation had spoilt and that were computed anew
  std::int64_t blocks = 0;            ///< blocks of steps between two updates of the basis
};

/// Weighted pivoted Gram-Schmidt: step t chooses the candidate with the largest score * |p| / |w|, p the part of w
/// orthogonal to all choices of this round; the lower row wins a tie. When every candidate left lies in the span of the
/// chosen (|p| / |w| < exhausted_tolerance), a new round begins with an empty basis. Candidates of zero norm come last,
/// in the order of their rows, with product 0.
///
/// candidates (P x K), rows may be strided; scores (P), >= 0. The products of the choices are the largest ones up to
/// float32 rounding (relative 1e-4 while the residual ratio is above 1e-2); equal bits for any number of threads.
/// Throws Error{usage} for a count outside 0 .. P and for a tolerance outside (0, 1), Error{bad_input} for shapes that
/// do not match and for a negative score, Error{numerical} that names the candidate for NaN or infinity.
///
/// Source: Mao et al., neuron campaign initialization (IBCI), eq. 12 and Algorithm 1.
CampaignResult select_campaign(const kernels::Execution& execution, ConstTensorView candidates,
                               std::span<const float> scores, const CampaignOptions& options);

/// The `count` rows with the largest scores, best first, the lower row first among equals: the ablation without
/// campaign. Throws Error{usage} for a count outside 0 .. P and Error{numerical} that names the candidate for NaN or
/// infinity.
std::vector<std::int64_t> select_top(std::span<const float> scores, std::int64_t count);

}  // namespace kindling
