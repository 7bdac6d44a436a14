// The residuals that are written out, and the basis that comes out of them.
#include <algorithm>
#include <cmath>
#include <utility>

#include "methods/campaign_blocks.h"

namespace kindling::campaign {

void Campaign::add_to_pool(std::int32_t position) {
  position_in_pool_[position] = static_cast<std::int32_t>(pool_.size());
  pool_.push_back(active_[position]);
  pool_position_.push_back(position);
}

// Rows times their scales: what is left of them when nothing is taken away.
void Campaign::pick_rows(const PickedRows& picked, TensorView to) const {
  std::vector<float> squared(picked.index.size());
  const ConstTensorView nothing(basis_.data(), {0, to.rows()});
  kernels::campaign_residual(execution_, picked, nothing, basis_.view().rows(0, 0), to, squared);
}

// Rows of `from` become the pool's residuals from number `first` on.
void Campaign::append(ConstTensorView from, std::span<const std::int32_t> rows, std::int64_t first) {
  if (rows.empty()) return;
  const auto n = static_cast<std::int64_t>(rows.size());
  pick_rows({from, rows, std::span(ones_).first(from.rows())}, residuals_.view().rows(first, n));
}

// Appends the residuals of active candidates to the pool, with their norms computed anew. Exhausted ones drop out.
void Campaign::write_residuals(std::span<const std::int32_t> positions) {
  if (positions.empty()) return;
  const auto n = static_cast<std::int64_t>(positions.size());
  std::vector<float> squared(positions.size());
  const ConstTensorView basis = basis_.view().rows(0, basis_size_);
  const PickedRows directions{basis, std::span(identity_).first(basis_size_), std::span(ones_).first(basis_size_)};
  const TensorView c(coefficients_.data(), basis_size_, n, coefficients_.shape()[1]);
  TensorView from = scratch_.view().rows(0, n), fresh = scratch2_.view().rows(0, n);
  std::vector<std::int32_t> rows;
  for (const std::int32_t position : positions) rows.push_back(active_[position]);
  pick_rows(picked(rows), from);
  const auto remove_basis = [&] {
    kernels::campaign_project(execution_, directions, from, c);
    kernels::campaign_residual(execution_, {from, std::span(identity_).first(n), std::span(ones_).first(n)}, c, basis,
                               fresh, squared);
  };
  remove_basis();
  if (std::any_of(squared.begin(), squared.end(),
                  [&](float s) { return s < second_pass_share && s >= exhausted_square_; })) {
    std::swap(from, fresh);
    remove_basis();
  }
  const auto steps = static_cast<std::int64_t>(block_pool_.size()), used = static_cast<std::int64_t>(pool_.size());
  std::vector<std::int32_t> taken;
  kernels::fetch(std::as_const(factor_).view().rows(0, steps));
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int32_t position = positions[i], row = active_[position];
    if (active_squared_[position] < spoilt_share * active_reference_[position]) ++result_.recomputed_norms;
    if (squared[i] < exhausted_square_) {
      state_[row] = State::exhausted;
      active_weight_[position] = products_[position] = -1.0F;
      continue;
    }
    float left = squared[i];
    for (std::int64_t m = 0; m < steps; ++m) {
      const float coefficient = factor_.data()[m * active_capacity_ + position];
      left -= coefficient * coefficient;
    }
    active_reference_[position] = reference_[row] = squared[i];
    // Equal up to rounding: keep the value that ties with others', so that rounding does not break a tie.
    if (std::abs(left - active_squared_[position]) <= 0.5F * error_share * left) left = active_squared_[position];
    active_squared_[position] = left;
    const bool lost = left < spoilt_share * squared[i];
    products_[position] = scores_[row] * std::sqrt(lost ? std::max(left, 0.0F) + error_share * squared[i] : left);
    taken.push_back(static_cast<std::int32_t>(i));
    add_to_pool(position);
  }
  append(fresh, taken, used);
}

// Writes out the residuals of the most promising active candidates that are not in the pool yet, and the inner
// products of the active set with them. False when the pool is full.
bool Campaign::extend_pool() {
  const auto used = static_cast<std::int64_t>(pool_.size());
  const std::int64_t room = std::min(pool_extension, residuals_.shape()[0] - used);
  if (room <= 0) return false;
  ranks_.clear();
  for (std::size_t i = 0; i < active_.size(); ++i) {
    if (position_in_pool_[i] < 0 && active_weight_[i] >= 0)
      ranks_.push_back(rank_of(products_[i], static_cast<std::int64_t>(i)));
  }
  const auto size = std::min<std::size_t>(ranks_.size(), static_cast<std::size_t>(room));
  std::partial_sort(ranks_.begin(), ranks_.begin() + size, ranks_.end(), std::greater<>());
  std::vector<std::int32_t> chosen;  // positions in the active set
  for (std::size_t i = 0; i < size; ++i) chosen.push_back(row_of(ranks_[i]));
  // Residuals left over from the last block need not be written out again.
  const auto size_new = static_cast<std::int64_t>(
      std::stable_partition(chosen.begin(), chosen.end(), [&](std::int32_t p) { return kept_slot_[p] < 0; }) -
      chosen.begin());
  write_residuals(std::span(chosen).first(size_new));
  std::vector<std::int32_t> slots;
  const auto written = static_cast<std::int64_t>(pool_.size());
  for (std::size_t i = static_cast<std::size_t>(size_new); i < chosen.size(); ++i) {
    slots.push_back(kept_slot_[chosen[i]]);
    add_to_pool(chosen[i]);
  }
  append(kept_, slots, written);
  const std::int64_t added = static_cast<std::int64_t>(pool_.size()) - used;
  if (added > 0) {
    kernels::campaign_project(
        execution_, picked(active_), residuals_.view().rows(used, added),
        TensorView(gram_.data() + used, static_cast<std::int64_t>(active_.size()), added, gram_.shape()[1]));
  }
  best_ = {};
  for (std::size_t i = 0; i < active_.size(); ++i) {
    if (active_weight_[i] >= 0 && products_[i] > best_.product) best_ = {products_[i], static_cast<std::int64_t>(i)};
  }
  return true;
}

// The block's directions join the basis; the residuals left in the pool lose their part along them.
void Campaign::finish_block() {
  const auto steps = static_cast<std::int64_t>(block_pool_.size());
  if (done() == count_) return;
  const auto size = static_cast<std::int64_t>(active_.size());
  // Of the pivots' residuals R = L Q, so Q = inverse(L) R: one product in which residuals not chosen have coefficient
  // 0.
  const auto n = static_cast<std::size_t>(steps);
  kernels::fetch(std::as_const(factor_).view().rows(0, steps));
  std::vector<double> triangle(n * n), inverse(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      triangle[i * n + j] =
          factor_.data()[static_cast<std::int64_t>(j) * active_capacity_ + pool_position_[block_pool_[i]]];
    }
  }
  for (std::size_t j = 0; j < n; ++j) {
    inverse[j * n + j] = 1.0 / triangle[j * n + j];
    for (std::size_t i = j + 1; i < n; ++i) {
      double sum = 0;
      for (std::size_t m = j; m < i; ++m) sum += triangle[i * n + m] * inverse[m * n + j];
      inverse[i * n + j] = -sum / triangle[i * n + i];
    }
  }
  const auto pool = static_cast<std::int64_t>(pool_.size());
  const std::int64_t stride = solved_.shape()[1];
  const TensorView fresh = basis_.view().rows(basis_size_, steps);
  std::vector<float> norms(std::max(pool_.size(), n));
  if (steps > 0) {
    std::fill_n(solved_.data(), pool * stride, 0.0F);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j <= i; ++j) {
        solved_.data()[block_pool_[j] * stride + static_cast<std::int64_t>(i)] =
            -static_cast<float>(inverse[i * n + j]);
      }
    }
    const std::vector<float> zeros(pool_.size(), 0.0F);
    const std::vector<std::int32_t> any(n, 0);
    kernels::campaign_residual(execution_, {residuals_.view().rows(0, pool), any, zeros},
                               TensorView(solved_.data(), pool, steps, stride), residuals_.view().rows(0, pool), fresh,
                               std::span(norms).first(n));
  }
  basis_size_ += steps;
  for (std::int64_t i = 0; i < size; ++i) {
    const std::int32_t row = active_[i];
    squared_[row] = active_squared_[i];
    version_[row] = static_cast<std::int32_t>(basis_size_);
    set_bound(row);
  }
  keep_residuals(fresh);
}

// The pool's residuals that were not chosen lose their part along the block's directions and serve the next block.
void Campaign::keep_residuals(TensorView fresh) {
  const std::int64_t steps = fresh.rows();
  std::vector<std::int32_t> rows, slots, positions;
  for (std::size_t j = 0; j < pool_.size(); ++j) {
    const std::int32_t row = pool_[j];
    // Neither what is chosen nor what another pass must clean.
    if (state_[row] != State::open || squared_[row] < second_pass_share * reference_[row]) continue;
    rows.push_back(row), slots.push_back(static_cast<std::int32_t>(j)), positions.push_back(pool_position_[j]);
  }
  const std::int64_t kept = static_cast<std::int64_t>(rows.size()), stride = solved_.shape()[0];
  for (std::int64_t j = 0; j < kept; ++j) {
    for (std::int64_t m = 0; m < steps; ++m) {
      solved_.data()[m * stride + j] = factor_.data()[m * active_capacity_ + positions[j]];
    }
  }
  std::vector<float> norms(rows.size());
  const auto pool = static_cast<std::int64_t>(pool_.size());
  kernels::campaign_residual(execution_, {residuals_.view().rows(0, pool), slots, std::span(ones_).first(pool)},
                             TensorView(solved_.data(), steps, kept, stride), fresh, kept_.view().rows(0, kept), norms);
  kept_rows_ = std::move(rows);
}

}  // namespace kindling::campaign
