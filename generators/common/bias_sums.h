// The bias gradient of a convolution: sums of dZ over the pixels of all samples, per channel. Groups of samples are
// summed on their own in float32 and their sums added up in order, so that the number of threads makes no difference.
#pragma once

#include <functional>

#include "Halide.h"
#include "hardware.h"

namespace kindling {

class BiasSums {
 public:
  struct Operands {
    Halide::Expr pixels, samples, samples_per_group;
    std::function<Halide::Expr(Halide::Expr col, Halide::Expr pixel, Halide::Expr sample)> dz;
    Halide::Type total;  ///< of the sums over groups: float64 where the target has it
  };

  BiasSums() = default;
  explicit BiasSums(const Operands& o) {
    using namespace Halide;
    const Expr groups = (o.samples + o.samples_per_group - 1) / o.samples_per_group;
    // Sums side by side, so that one addition need not wait for the other; pixels that fill none come last.
    terms_ = RDom(0, o.pixels / sums, 0, o.samples_per_group, "bias_terms");
    rest_ = RDom(0, o.pixels % sums, 0, o.samples_per_group, "bias_rest");
    const auto sample = [&](RDom& r) {
      const Expr n = group_ * o.samples_per_group + r.y;
      r.where(n < o.samples);
      return unsafe_promise_clamped(n, 0, o.samples - 1);
    };
    partial_(col_, sum_, group_) = 0.0F;
    partial_(col_, sum_, group_) +=
        o.dz(col_, unsafe_promise_clamped(terms_.x * sums + sum_, 0, o.pixels - 1), sample(terms_));
    partial_(col_, 0, group_) +=
        o.dz(col_, unsafe_promise_clamped(o.pixels / sums * sums + rest_.x, 0, o.pixels - 1), sample(rest_));
    side_by_side_ = RDom(0, sums, "bias_sums");
    of_group_(col_, group_) = 0.0F;
    of_group_(col_, group_) += partial_(col_, side_by_side_, group_);
    groups_ = RDom(0, groups, "bias_groups");
    total_(col_) = cast(o.total, 0);
    total_(col_) += cast(o.total, of_group_(col_, groups_));
  }

  Halide::Expr operator()(const Halide::Expr& col) { return Halide::cast<float>(total_(col)); }

  void schedule_cpu(Halide::Func db, const Halide::Var& col, const HardwareFacts& facts) {
    using namespace Halide;
    const int v = facts.vector_width;
    db.compute_root().vectorize(col, v, TailStrategy::GuardWithIf);
    total_.compute_root().vectorize(col_, v, TailStrategy::GuardWithIf);
    total_.update().reorder(col_, groups_).vectorize(col_, v, TailStrategy::GuardWithIf);
    const Var vector("vector"), lane("lane");
    of_group_.compute_root().vectorize(col_, v, TailStrategy::GuardWithIf);
    of_group_.update()
        .split(col_, vector, lane, v, TailStrategy::GuardWithIf)
        .reorder(lane, side_by_side_, vector, group_)
        .vectorize(lane)
        .parallel(group_);
    partial_.compute_at(of_group_, vector).bound(sum_, 0, sums).vectorize(col_, v).unroll(sum_);
    partial_.update(0)
        .reorder(col_, sum_, terms_.x, terms_.y)
        .vectorize(col_, v, TailStrategy::GuardWithIf)
        .unroll(sum_);
    partial_.update(1).reorder(col_, rest_.x, rest_.y).vectorize(col_, v, TailStrategy::GuardWithIf);
  }

  void schedule_gpu(Halide::Func db, const Halide::Var& col, const HardwareFacts& facts) {
    using namespace Halide;
    const Var block("block"), thread("thread"), blocks("blocks"), threads("threads");
    db.compute_root().gpu_tile(col, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
    total_.compute_at(db, thread);
    of_group_.compute_root().gpu_tile(col_, group_, block, blocks, thread, threads, facts.gpu_block_x,
                                      facts.gpu_block_y, TailStrategy::GuardWithIf);
    of_group_.update()
        .gpu_tile(col_, group_, block, blocks, thread, threads, facts.gpu_block_x, facts.gpu_block_y,
                  TailStrategy::GuardWithIf)
        .reorder(side_by_side_, thread, threads, block, blocks);
    partial_.compute_at(of_group_, thread).store_in(MemoryType::Register).bound(sum_, 0, sums).unroll(sum_);
    partial_.update(0).reorder(sum_, terms_.x, terms_.y).unroll(sum_);
    partial_.update(1).reorder(rest_.x, rest_.y);
    of_group_.update().unroll(side_by_side_);
  }

 private:
  static constexpr int sums = 8;

  Halide::RDom terms_, rest_, side_by_side_, groups_;
  Halide::Func partial_{"bias_partial"}, of_group_{"bias_of_group"}, total_{"bias_total"};
  Halide::Var col_{"col"}, sum_{"sum"}, group_{"group"};
};

}  // namespace kindling
