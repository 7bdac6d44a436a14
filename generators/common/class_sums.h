// Sums over the few classes of each row of scores, as a softmax needs them.
#pragma once

#include <vector>

#include "Halide.h"
#include "hardware.h"

namespace kindling {

/// Rows of one task.
inline int class_sum_task_rows(const HardwareFacts& facts) { return facts.parallel_grain / 64; }

/// CPU schedule of `rows`(n), made of the reductions `sums`(n) over `classes`: lanes are rows, since classes are few
/// (10) and vectors wide; the price is loads one by one.
inline void schedule_class_sums_cpu(Halide::Func rows, const std::vector<Halide::Func>& sums, const Halide::Var& n,
                                    const Halide::RDom& classes, const HardwareFacts& facts) {
  using namespace Halide;
  const int v = facts.vector_width, tile_rows = v * facts.elementwise_unroll;
  const Var tile("tile"), lane("lane"), task("task"), tile_in("tile_in");
  rows.compute_root()
      .split(n, tile, lane, tile_rows, TailStrategy::RoundUp)
      .split(tile, task, tile_in, class_sum_task_rows(facts) / tile_rows, TailStrategy::GuardWithIf)
      .vectorize(lane, v)
      .unroll(lane)
      .parallel(task);
  for (Func f : sums) {
    f.compute_at(rows, tile_in).bound_extent(n, tile_rows).vectorize(n, v).unroll(n);
    f.update().reorder(n, classes).vectorize(n, v).unroll(n);
  }
}

/// GPU schedule of the same: a thread per row.
inline void schedule_class_sums_gpu(Halide::Func rows, const std::vector<Halide::Func>& sums, const Halide::Var& n,
                                    const HardwareFacts& facts) {
  using namespace Halide;
  const Var block("block"), thread("thread");
  rows.compute_root().gpu_tile(n, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
  for (Func f : sums) f.compute_at(rows, thread);
}

}  // namespace kindling
