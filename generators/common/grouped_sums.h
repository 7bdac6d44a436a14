// Sums over samples in groups of fixed size: float32 within a group, float64 over the groups in their order, so that
// threads change no bit; and what every kernel of such sums needs.
#pragma once

#include <vector>

#include "Halide.h"
#include "hardware.h"

namespace kindling {

// A variance that rounding took below zero; a NaN stays one, whatever LLVM assumes of ordinary comparisons.
inline Halide::Expr not_negative(const Halide::Expr& variance) {
  using namespace Halide;
  return select(strict_float(variance < cast<double>(0.0F)), cast<double>(0.0F), variance);
}

// Row `rows` of a group. The last group may be a part; its missing rows are never visited, but only the clamp tells
// that to the bounds inference.
inline Halide::Expr row_in(const Halide::Expr& group, const Halide::Expr& rows, const Halide::Expr& batch,
                           const Halide::Expr& group_rows) {
  return min(Halide::likely(group * group_rows + rows), batch - 1);
}

// Feature `m` of an array of `features`; the sums of the last vector have room for more.
inline Halide::Expr feature_in(const Halide::Expr& m, const Halide::Expr& features) {
  return Halide::min(Halide::likely(m), features - 1);
}

// Schedules of a per-group float32 sum `part`(feature, ..., group) and of the float64 totals made of it.
struct GroupedSums {
  Halide::Func part, totals;  // totals' update 0 adds the groups up
  Halide::Var feature, group;
  Halide::RDom rows, groups;

  // A task is one group, its rows read from end to end as they lie: the sums of a group, of all features and classes,
  // go round through L2, which costs less than rows read in parts (whole rows of 4 KiB: 4.0 ms for 40 MB, parts of
  // 512 bytes: 6.0). Whole vectors all through: the sums have room for a last one, and only the load is clamped.
  // Measured against reading the matrix once.
  void schedule_cpu(const HardwareFacts& facts, const std::vector<Halide::VarOrRVar>& between) {
    using namespace Halide;
    const Var vector("vector"), lane("lane");
    const int v = facts.vector_width;
    std::vector<VarOrRVar> order{feature};
    order.insert(order.end(), between.begin(), between.end());
    order.push_back(groups.x);
    totals.update().reorder(order).vectorize(feature, v, TailStrategy::GuardWithIf);
    part.compute_root().vectorize(feature, v, TailStrategy::RoundUp).parallel(group);
    part.update()
        .split(feature, vector, lane, v, TailStrategy::RoundUp)
        .reorder(lane, vector, rows.x, group)
        .vectorize(lane)
        .parallel(group);
  }

  // A thread per feature and group; the groups' few sums are added up on the host, since a device need not have
  // float64. Measured by registers under ptxas.
  void schedule_gpu(const HardwareFacts& facts) {
    using namespace Halide;
    const Var block("block"), thread("thread"), thread0("thread0"), block0("block0");
    part.compute_root().gpu_tile(feature, block0, thread0, facts.gpu_threads, TailStrategy::GuardWithIf);
    part.update().split(feature, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
    part.update().reorder(rows.x, thread, block, group).gpu_blocks(block, group).gpu_threads(thread);
  }
};

}  // namespace kindling
