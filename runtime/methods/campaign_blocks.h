// The inside of select_campaign: blocked, lazy, weighted, pivoted Gram-Schmidt.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/campaign.h"
#include "kernels/residency.h"
#include "methods/campaign.h"

// How it works. A residual norm needs only the coefficients of the candidate along the basis, |p|^2 -= (w.q)^2, and it
// never grows. So a product computed long ago is an upper bound ("stale"), and three sets of candidates suffice:
//   all     a bound each, and how many basis vectors it has seen;
//   active  the few with the largest bounds, brought up to date with the finished basis (campaign_update: one matrix
//           product over the basis vectors missed, whose result is never stored);
//   pool    the few of the active set that look like the next choices, with their residuals R written out
//           (campaign_project, campaign_residual) and the inner products G of the active set with R.
// A block of steps is a pivoted Cholesky factorisation of the active set, of whose Gram matrix only the pool's columns
// G exist (campaign_step). It goes on as long as the best active product beats every bound outside, which makes each
// choice exactly the one of the plain method. Then the block's directions come out of the pool by a triangular solve.
// Nearly all multiply-adds are matrix products over K, and candidates that never come near the top are never touched.

namespace kindling::campaign {

using kernels::PickedRows;

// A squared norm that fell below this share of its last exact value carries a relative error near 1e-4 (terms of size
// float32 epsilon, accumulated) and is computed anew from the residual itself, as xGEQP3 does.
inline constexpr float spoilt_share = 1.0F / 128;
// The error of such a norm, as a share of that exact value, that its bound must allow for.
inline constexpr float error_share = 0x1p-20F;
// Residuals shorter than this share of what they came from have lost orthogonality to the basis: a second pass.
inline constexpr float second_pass_share = 0.25F;

inline constexpr std::int64_t block_steps = 64;     // most steps between two updates of the basis
inline constexpr std::int64_t pool_capacity = 128;  // most residuals written out
inline constexpr std::int64_t pool_extension = 16;  // residuals written out at a time: a vector or two of the tile

// Candidates in order of preference as one integer: the larger bound first, then the lower row. Bounds are >= 0, so
// their bits are ordered like their values.
using Rank = std::uint64_t;
inline Rank rank_of(float bound, std::int64_t row) {
  return (static_cast<Rank>(std::bit_cast<std::uint32_t>(bound)) << 32) |
         (0xffffffffU - static_cast<std::uint32_t>(row));
}
inline std::int32_t row_of(Rank rank) {
  return static_cast<std::int32_t>(0xffffffffU - static_cast<std::uint32_t>(rank));
}

inline float bound_of(Rank rank) { return std::bit_cast<float>(static_cast<std::uint32_t>(rank >> 32)); }

enum class State : std::uint8_t { open, chosen, exhausted, zero };

class Campaign {
 public:
  Campaign(const kernels::Execution& execution, ConstTensorView candidates, std::span<const float> scores,
           const CampaignOptions& options);
  CampaignResult run();

 private:
  void begin_round();
  bool build_active();
  bool run_block();
  void refresh(std::span<const std::int32_t> rows);
  bool extend_pool();
  void add_to_pool(std::int32_t position);
  void pick_rows(const PickedRows& picked, TensorView to) const;
  void append(ConstTensorView from, std::span<const std::int32_t> rows, std::int64_t first);
  void write_residuals(std::span<const std::int32_t> positions);
  void finish_block();
  void keep_residuals(TensorView fresh);
  void set_bound(std::int64_t row);
  [[nodiscard]] bool spoilt(std::int64_t row) const { return squared_[row] < spoilt_share * reference_[row]; }
  [[nodiscard]] std::int64_t done() const { return static_cast<std::int64_t>(result_.chosen.size()); }
  void record(std::int64_t row, float product, float residual);
  PickedRows picked(std::span<const std::int32_t> rows) const { return {candidates_, rows, scale_}; }

  const kernels::Execution& execution_;
  ConstTensorView candidates_;
  std::vector<float> scores_;
  std::int64_t total_, width_, count_;
  float exhausted_square_;
  CampaignResult result_;

  // All candidates.
  std::vector<float> scale_, squared_, reference_, bound_;
  std::vector<std::int32_t> version_;  // basis vectors that squared_ accounts for
  std::vector<State> state_;

  Tensor basis_;
  std::int64_t basis_size_ = 0, basis_capacity_;

  // The active set, in order of rows, so that the lower position wins a tie.
  std::int64_t active_capacity_;
  std::vector<std::int32_t> active_;
  std::vector<float> active_squared_, squared_after_, active_reference_, active_weight_, products_;
  kernels::CampaignBest best_;
  float expected_cut_ = 0;
  Rank rival_ = 0;  // the best bound outside the active set
  std::vector<Rank> ranks_, stale_;

  // The pool: position in the active set, residual, column of the Gram matrix.
  std::vector<std::int32_t> pool_, pool_position_;
  std::vector<std::int32_t> position_in_pool_, kept_slot_;  // of every active candidate, or -1
  std::vector<std::int32_t> kept_rows_;                     // candidates whose residuals the last block left in kept_
  Tensor kept_, residuals_, gram_, factor_, scratch_, scratch2_, coefficients_;
  Tensor solved_;  // coefficients that the host computes
  std::vector<float> ones_;
  std::vector<std::int32_t> identity_;
  std::vector<std::int32_t> block_pool_;  // the block's pivots, as indices of the pool
  kernels::Residency residency_;          // matrices stay on a device; norms and order are the host's
};

}  // namespace kindling::campaign
