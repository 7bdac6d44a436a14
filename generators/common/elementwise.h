// Schedules of the memory-bound kernels: every element on its own, tasks large enough to be worth a thread.
#pragma once

#include "Halide.h"
#include "hardware.h"

namespace kindling {

/// Elements i of one dimension. `stage` is a Func or one of its updates; no element is computed twice, so in-place
/// updates are safe. Measured against memcpy of the same bytes.
template <class Stage>
void schedule_elements(Stage stage, const Halide::Var& i, const Halide::Target& target) {
  using namespace Halide;
  const HardwareFacts facts = hardware_facts(target);
  const Var task("task"), inner("inner"), lane("lane");
  if (target.has_gpu_feature()) {
    stage.gpu_tile(i, task, lane, facts.gpu_threads, TailStrategy::GuardWithIf);
    return;
  }
  const int width = facts.vector_width * facts.elementwise_unroll;
  // The guard of a last, incomplete task counts whole vectors, so that it shortens the loop instead of masking lanes.
  stage.split(i, inner, lane, width, TailStrategy::GuardWithIf)
      .split(inner, task, inner, facts.parallel_grain / width, TailStrategy::GuardWithIf)
      .vectorize(lane, facts.vector_width)
      .unroll(lane)
      .parallel(task);
}

/// Elements (k, n) of a matrix of `cols` columns: tasks of whole rows where rows are short, of parts of a row where
/// they are long. Measured against memcpy of the same bytes.
template <class Stage>
void schedule_matrix(Stage stage, const Halide::Var& k, const Halide::Var& n, const Halide::Expr& cols,
                     const Halide::Target& target) {
  using namespace Halide;
  const HardwareFacts facts = hardware_facts(target);
  const Var part("part"), inner("inner"), lane("lane"), rows("rows"), row("row"), task("task");
  if (target.has_gpu_feature()) {
    stage.gpu_tile(k, n, part, rows, lane, row, facts.gpu_block_x, facts.gpu_block_y, TailStrategy::GuardWithIf);
    return;
  }
  const int width = facts.vector_width * facts.elementwise_unroll;
  stage.split(k, inner, lane, width, TailStrategy::GuardWithIf)
      .split(inner, part, inner, facts.parallel_grain / width, TailStrategy::GuardWithIf)
      .split(n, rows, row, max(1, facts.parallel_grain / max(cols, 1)), TailStrategy::GuardWithIf)
      .reorder(lane, inner, row, part, rows)
      .vectorize(lane, facts.vector_width)
      .unroll(lane)
      .fuse(part, rows, task)
      .parallel(task);
}

}  // namespace kindling
