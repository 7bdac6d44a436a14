// How often each unit is active: dead units are those that no sample of a data set switches on.
#include "common/hardware.h"

namespace kindling {
namespace {

using namespace Halide;

class ActiveCounts : public Generator<ActiveCounts> {
 public:
  Input<Buffer<float, 2>> y{"y"};               // (units, batch)
  Output<Buffer<int32_t, 1>> counts{"counts"};  // (units)

  void generate() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Expr batch = y.dim(1).extent();
    // Integers: how the samples are grouped changes nothing but who works on what.
    group_rows_ = get_target().has_gpu_feature() ? facts.gpu_threads : facts.l1_bytes / 64;
    groups_ = RDom(0, (batch + group_rows_ - 1) / group_rows_, "groups");
    const Expr first = group_ * group_rows_;
    rows_ = RDom(0, group_rows_, "rows");
    rows_.where(first + rows_ < batch);
    // What the condition says, said to the bounds inference.
    const Expr sample = unsafe_promise_clamped(first + rows_, 0, batch - 1);
    // Strict, or LLVM turns the comparison round and counts NaN as active.
    part_(unit_, group_) += cast<int32_t>(strict_float(y(unit_, sample) > 0.0F));
    total_(unit_) += part_(unit_, groups_);
    counts(unit_) = total_(unit_);
  }

  void schedule() {
    y.dim(0).set_min(0);
    y.dim(1).set_min(0);
    counts.dim(0).set_bounds(0, y.dim(0).extent());
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Measured against the machine's memory bandwidth: every element is read once.
  void schedule_cpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const int v = facts.vector_width, width = v * facts.elementwise_unroll;
    const Var block("block"), in("in");
    const auto vectors = [&](Stage stage) {
      stage.split(unit_, block, in, width, TailStrategy::GuardWithIf).vectorize(in, v).unroll(in);
    };
    total_.compute_root().vectorize(unit_, v, TailStrategy::GuardWithIf);
    total_.update().reorder(unit_, groups_).vectorize(unit_, v, TailStrategy::GuardWithIf);
    part_.compute_root().parallel(group_);
    vectors(part_);
    // A row of y after the other, so that memory is read in order; the group's counts stay in L1.
    part_.update().reorder(unit_, rows_, group_).parallel(group_);
    vectors(part_.update());
  }

  // Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Var block("block"), thread("thread");
    part_.compute_root().gpu_tile(unit_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
    part_.update()
        .reorder(rows_, unit_, group_)
        .gpu_tile(unit_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf)
        .gpu_blocks(group_);
    total_.compute_root().gpu_tile(unit_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
    total_.update()
        .reorder(groups_, unit_)
        .gpu_tile(unit_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
    Func(counts).gpu_tile(unit_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
  }

  const Var unit_{"unit"}, group_{"group"};
  RDom groups_, rows_;
  int group_rows_ = 0;
  Func part_{"part"}, total_{"total"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::ActiveCounts, active_counts)
