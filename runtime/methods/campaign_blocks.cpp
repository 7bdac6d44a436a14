// The candidates' bounds, the active set, and the steps of a block.
#include "methods/campaign_blocks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "kernels/device_log.h"

namespace kindling::campaign {

Campaign::Campaign(const kernels::Execution& execution, ConstTensorView candidates, std::span<const float> scores,
                   const CampaignOptions& options)
    : execution_(execution),
      candidates_(candidates),
      total_(candidates.rows()),
      width_(candidates.cols()),
      count_(options.count),
      exhausted_square_(static_cast<float>(options.exhausted_tolerance * options.exhausted_tolerance)),
      residency_(execution) {
  using Role = kernels::Residency::Role;
  residency_.keep(Role::input, candidates_);
  const auto n = static_cast<std::size_t>(total_);
  scale_.resize(n), squared_.resize(n), reference_.resize(n), bound_.resize(n), version_.resize(n);
  state_.assign(n, State::open);
  for (const float s : scores) scores_.push_back(s + 0.0F);  // -0 becomes 0: ranks compare bits
  kernels::campaign_norms(execution_, candidates_, squared_);
  for (std::int64_t i = 0; i < total_; ++i) {
    double norm = std::sqrt(static_cast<double>(squared_[i]));
    // Squares that overflow, or underflow, in float32: few rows if any.
    if (!(squared_[i] < 1e30F && squared_[i] > 1e-20F)) {
      double sum = 0;
      kernels::fetch(candidates_);
      for (std::int64_t k = 0; k < width_; ++k) sum += static_cast<double>(candidates_(i, k)) * candidates_(i, k);
      if (!std::isfinite(sum)) {
        throw Error(ErrorCode::numerical, "candidate " + std::to_string(i) + " has a weight that is not finite");
      }
      norm = std::sqrt(sum);
    }
    // Below the smallest normal number the reciprocal overflows.
    if (norm < static_cast<double>(std::numeric_limits<float>::min())) state_[i] = State::zero;
    scale_[i] = state_[i] == State::zero ? 0.0F : static_cast<float>(1.0 / norm);
  }
  basis_capacity_ = std::min(count_, width_);
  active_capacity_ = std::min(total_, std::max<std::int64_t>(128, total_ / 6));
  const std::int64_t pool = std::min(pool_capacity, active_capacity_);
  basis_ = Tensor({basis_capacity_, width_});
  kept_ = Tensor({pool, width_}), residuals_ = Tensor({pool, width_}), scratch_ = Tensor({pool, width_}),
  scratch2_ = Tensor({pool, width_});
  coefficients_ = Tensor({std::max(basis_capacity_, pool), pool});
  gram_ = Tensor({active_capacity_, pool});
  factor_ = Tensor({block_steps, active_capacity_});
  ones_.assign(static_cast<std::size_t>(std::max(basis_capacity_, pool)), 1.0F);
  identity_.resize(ones_.size());
  std::iota(identity_.begin(), identity_.end(), 0);
  solved_ = Tensor({pool, block_steps});
  for (const Tensor* t : {&basis_, &kept_, &residuals_, &scratch_, &scratch2_, &coefficients_, &gram_, &factor_})
    residency_.keep(Role::scratch, *t);
  residency_.keep(Role::input, std::span<const float>(scale_));
  residency_.keep(Role::input, std::span<const float>(ones_));
  residency_.keep(Role::input, std::span<const std::int32_t>(identity_));
  kernels::on_host("campaign: order of the candidates and a triangular solve a block");
}

void Campaign::set_bound(std::int64_t row) {
  const float squared = spoilt(row) ? std::max(squared_[row], 0.0F) + error_share * reference_[row] : squared_[row];
  bound_[row] = scores_[row] * std::sqrt(squared);
}

void Campaign::record(std::int64_t row, float product, float residual) {
  result_.chosen.push_back(row);
  result_.product.push_back(product);
  result_.residual.push_back(residual);
  result_.round.push_back(static_cast<std::int32_t>(result_.rounds - 1));
  state_[row] = State::chosen;
}

void Campaign::begin_round() {
  ++result_.rounds;
  basis_size_ = 0;
  expected_cut_ = 0;
  kept_rows_.clear();
  for (std::int64_t i = 0; i < total_; ++i) {
    if (state_[i] == State::exhausted) state_[i] = State::open;
    squared_[i] = reference_[i] = 1.0F;
    version_[i] = 0;
    bound_[i] = scores_[i];
  }
}

// Brings squared norms up to date with the whole basis.
void Campaign::refresh(std::span<const std::int32_t> rows) {
  std::vector<std::int32_t> order(rows.begin(), rows.end());
  std::sort(order.begin(), order.end(),
            [&](auto a, auto b) { return std::pair(version_[a], a) < std::pair(version_[b], b); });
  const std::int32_t from = version_[order.front()];
  std::vector<std::int32_t> first;
  std::vector<float> before, squared(order.size());
  for (std::int32_t row : order) first.push_back(version_[row] - from), before.push_back(squared_[row]);
  kernels::campaign_update(execution_, picked(order), basis_.view().rows(from, basis_size_ - from), first, before,
                           squared);
  for (std::size_t i = 0; i < order.size(); ++i) {
    squared_[order[i]] = squared[i];
    version_[order[i]] = static_cast<std::int32_t>(basis_size_);
    set_bound(order[i]);
  }
}

// Chooses candidates that are up to date and whose bounds are larger than all others. False when none is open.
bool Campaign::build_active() {
  std::vector<std::int32_t> missing;
  for (;;) {
    // ranks_: up to date; stale_: not.
    ranks_.clear(), stale_.clear();
    for (std::int64_t i = 0; i < total_; ++i) {
      if (state_[i] == State::open) (version_[i] == basis_size_ ? ranks_ : stale_).push_back(rank_of(bound_[i], i));
    }
    const std::size_t open = ranks_.size() + stale_.size();
    if (open == 0) return false;
    const auto most = static_cast<std::size_t>(active_capacity_);
    rival_ = stale_.empty() ? 0 : *std::max_element(stale_.begin(), stale_.end());
    std::erase_if(ranks_, [&](Rank r) { return r < rival_; });
    if (ranks_.size() >= std::min(open, most / 4)) {
      if (ranks_.size() > most) {
        std::nth_element(ranks_.begin(), ranks_.begin() + active_capacity_, ranks_.end(), std::greater<>());
        rival_ = std::max(rival_, ranks_[most]);
        ranks_.resize(most);
      }
      break;
    }
    // The last block took the best product from the top of its active set down to the rival's, so the next cut will lie
    // as much below that one. All that is above will be asked for, and one large product is cheaper than several small.
    const std::size_t least = std::min(stale_.size(), most - ranks_.size());
    std::nth_element(stale_.begin(), stale_.begin() + (least - 1), stale_.end(), std::greater<>());
    missing.clear();
    for (std::size_t i = 0; i < stale_.size(); ++i) {
      const std::int32_t row = row_of(stale_[i]);
      if (i < least || bound_[row] >= expected_cut_) missing.push_back(row);
    }
    refresh(missing);
  }
  active_.clear();
  for (const Rank r : ranks_) active_.push_back(row_of(r));
  std::sort(active_.begin(), active_.end());
  best_.position =
      std::lower_bound(active_.begin(), active_.end(), row_of(*std::max_element(ranks_.begin(), ranks_.end()))) -
      active_.begin();
  const std::size_t n = active_.size();
  active_squared_.resize(n), active_reference_.resize(n), active_weight_.resize(n), products_.resize(n);
  position_in_pool_.assign(n, -1);
  for (std::size_t i = 0; i < n; ++i) {
    const std::int32_t row = active_[i];
    active_squared_[i] = squared_[row];
    active_reference_[i] = reference_[row];
    active_weight_[i] = scores_[row];
    products_[i] = bound_[row];
  }
  best_.product = products_[best_.position];
  const float cut = bound_of(rival_);
  expected_cut_ = best_.product > 0 ? cut * cut / best_.product : 0.0F;
  return true;
}

// Steps inside the active set until a candidate outside may be better. False when the round is over.
bool Campaign::run_block() {
  if (basis_size_ == width_ || !build_active()) return false;
  ++result_.blocks;
  block_pool_.clear();
  pool_.clear(), pool_position_.clear();
  kept_slot_.assign(active_.size(), -1);
  for (std::size_t j = 0; j < kept_rows_.size(); ++j) {
    const auto found = std::lower_bound(active_.begin(), active_.end(), kept_rows_[j]);
    if (found != active_.end() && *found == kept_rows_[j])
      kept_slot_[found - active_.begin()] = static_cast<std::int32_t>(j);
  }
  const auto size = static_cast<std::int64_t>(active_.size());
  while (done() < count_) {
    const auto steps = static_cast<std::int64_t>(block_pool_.size());
    if (best_.position < 0) break;
    const std::int64_t pivot = best_.position;
    const std::int32_t row = active_[pivot];
    if (rank_of(best_.product, row) <= rival_) break;
    const std::int32_t column = position_in_pool_[pivot];
    if (column < 0) {
      if (!extend_pool()) break;
      continue;
    }
    if (active_squared_[pivot] < spoilt_share * active_reference_[pivot]) break;
    block_pool_.push_back(column);
    record(row, best_.product, std::sqrt(active_squared_[pivot]));
    active_weight_[pivot] = -1.0F;
    const kernels::CampaignStep step{
        .gram = TensorView(gram_.data(), size, static_cast<std::int64_t>(pool_.size()), gram_.shape()[1]),
        .column = column,
        .pivot = pivot,
        .factor = TensorView(factor_.data(), steps, size, active_capacity_),
        .weight = active_weight_,
        .reference = active_reference_,
        .spoilt = spoilt_share,
        .slack = error_share};
    squared_after_.resize(active_.size());
    best_ = kernels::campaign_step(execution_, step, active_squared_,
                                   std::span(factor_.data() + steps * active_capacity_, static_cast<std::size_t>(size)),
                                   squared_after_, products_);
    std::swap(active_squared_, squared_after_);
    if (steps + 1 == block_steps || basis_size_ + steps + 1 == width_) break;
  }
  finish_block();
  return true;
}

CampaignResult Campaign::run() {
  const auto left = [&] {
    return std::any_of(state_.begin(), state_.end(), [](State s) { return s == State::open || s == State::exhausted; });
  };
  while (done() < count_ && left()) {
    begin_round();
    while (done() < count_ && run_block()) {
    }
  }
  result_.rounds = std::max<std::int64_t>(result_.rounds, 1);
  for (std::int64_t i = 0; i < total_ && done() < count_; ++i) {
    if (state_[i] == State::zero) record(i, 0.0F, 0.0F);
  }
  return std::move(result_);
}

}  // namespace kindling::campaign
