// Class moments of a dense layer: for every class and unit the sum and the sum of squares of f(X W^T + b) - shift, the
// activations themselves never stored. Rows are summed in groups of fixed size in float32, the groups in float64 in
// their order, so that neither threads nor the division of the data into calls changes a bit.
#include "common/activation.h"
#include "common/contraction.h"

namespace kindling {
namespace {

using namespace Halide;

class DenseMoments : public Generator<DenseMoments> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};
  // A multiple of every target's tile_rows; runtime/kernels/dense.h tells it to callers.
  GeneratorParam<int> group_rows{"group_rows", 960};

  Input<Buffer<float, 2>> x{"x"};            // (fan_in, batch)
  Input<Buffer<float, 2>> w{"w"};            // (fan_in, fan_out)
  Input<Buffer<float, 1>> bias{"bias"};      // (fan_out)
  Input<Buffer<int32_t, 1>> label{"label"};  // (batch)
  Input<Buffer<float, 1>> shift{"shift"};    // (fan_out)
  Input<float> slope{"slope"};
  Output<Func> moments{"moments", {Float(64), Float(64)}, 2};  // sums, sums of squares: (fan_out, classes), added to

  void generate() {
    const Expr batch = x.dim(1).extent();
    product_ = Contraction("moments", hardware_facts(get_target()), get_target().has_gpu_feature(),
                           {x.dim(0).extent(), batch, w.dim(1).extent(), [&](Expr k, Expr n) { return x(k, n); },
                            [&](Expr k, Expr m) { return w(k, m); }});
    const Var unit("unit"), klass = klass_;
    moments_(unit, klass) = Tuple(undef<double>(), undef<double>());
    const Expr last_class = moments_.output_buffers()[0].dim(1).extent() - 1;
    const Expr groups = (batch + group_rows - 1) / group_rows;
    for (Contraction::Region& region : product_.regions()) {
      Part part(region, group_rows);
      const int width = region.tile.shape().cols();
      // The activation, 0 for rows beyond the end and, since packed columns beyond the end are 0, of no matter there.
      const Expr m = min(likely(region.first_col + part.panel * width + part.col), w.dim(1).extent() - 1);
      const Expr value =
          activate(activation, region.tile(part.panel * width + part.col, part.row) + bias(m), slope) - shift(m);
      part.value(part.col, part.row, part.panel) = select(likely(part.row < batch), value, 0.0F);

      // The last group ends with the last tile that holds a row, so that a small batch costs no whole group.
      const Expr first_row = part.group * group_rows + part.rows.y * region.tile.shape().rows;
      part.rows.where(first_row < batch);
      const Expr n = first_row + part.rows.x;
      const Expr c = clamp(label(min(likely(n), batch - 1)), 0, last_class);
      const Expr z = part.value(part.col, n, part.panel);
      part.sums(part.col, klass, part.panel, part.group) = Tuple(0.0F, 0.0F);
      const FuncRef old = part.sums(part.col, c, part.panel, part.group);
      part.sums(part.col, c, part.panel, part.group) = Tuple(old[0] + z, old[1] + z * z);

      part.total = RDom(0, region.cols, 0, groups, "total");
      const Expr at = region.first_col + part.total.x;
      const FuncRef group_sum = part.sums(part.total.x % width, klass, part.total.x / width, part.total.y);
      part.update = moments_.num_update_definitions();
      const FuncRef all = moments_(at, klass);
      moments_(at, klass) = Tuple(all[0] + cast<double>(group_sum[0]), all[1] + cast<double>(group_sum[1]));
      parts_.push_back(part);
    }
    moments = moments_;
  }

  void schedule() {
    const Expr fan_out = w.dim(1).extent(), batch = x.dim(1).extent();
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    w.dim(0).set_bounds(0, x.dim(0).extent());
    w.dim(1).set_min(0);
    bias.dim(0).set_bounds(0, fan_out);
    shift.dim(0).set_bounds(0, fan_out);
    label.dim(0).set_bounds(0, batch);
    moments_.output_buffers()[0].dim(0).set_bounds(0, fan_out).dim(1).set_min(0);
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // The Funcs that fold one region of columns.
  struct Part {
    Part(Contraction::Region& r, int group)
        : region(&r), rows(0, r.tile.shape().rows, 0, group / r.tile.shape().rows, "rows") {}
    Contraction::Region* region;
    Var col{"col"}, row{"row"}, panel{"panel"}, group{"group"};
    RDom rows, total;
    Func value{"value"}, sums{"sums"};
    int update = 0;
  };

  // Measured against dense_forward on the same shape, which stores its result: at most 1.05 of its time.
  void schedule_cpu() {
    const int v = hardware_facts(get_target()).vector_width;
    for (Part& p : parts_) {
      const Tile::Shape shape = p.region->tile.shape();
      const Var task("task");
      const RVar row_in = p.rows.x, tile = p.rows.y;
      moments_.update(p.update)
          .reorder(p.total.x, p.total.y, klass_)
          .vectorize(p.total.x, v, TailStrategy::GuardWithIf);
      p.sums.compute_root().bound_extent(p.col, shape.cols()).vectorize(p.col, v).unroll(p.col);
      p.sums.update()
          .reorder(p.col, row_in, tile, p.panel, p.group)
          .vectorize(p.col, v)
          .unroll(p.col)
          .fuse(p.panel, p.group, task)
          .parallel(task);
      p.value.compute_at(p.sums, tile).store_in(MemoryType::Stack);
      p.value.bound_extent(p.col, shape.cols())
          .bound_extent(p.row, shape.rows)
          .vectorize(p.col, v)
          .unroll(p.col)
          .unroll(p.row);
      p.region->tile.compute_at(LoopLevel(p.sums, tile));
    }
  }

  // Measured by registers and spills under ptxas; executed on PoCL. A thread owns a few columns of one group, so that
  // no sum is ever shared; the few sums of the groups are added up on the host, since a device need not have float64.
  void schedule_gpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    for (Part& p : parts_) {
      const Tile::Shape shape = p.region->tile.shape();
      const Var block("block"), thread("thread");
      const RVar row_in = p.rows.x, tile = p.rows.y;
      moments_.update(p.update).reorder(p.total.x, p.total.y, klass_);
      p.sums.compute_root().bound_extent(p.col, shape.cols()).unroll(p.col);
      p.sums.split(p.panel, block, thread, facts.gpu_block_x, TailStrategy::GuardWithIf)
          .reorder(p.col, klass_, thread, block, p.group)
          .gpu_blocks(block, p.group)
          .gpu_threads(thread);
      p.sums.update()
          .split(p.panel, block, thread, facts.gpu_block_x, TailStrategy::GuardWithIf)
          .reorder(p.col, row_in, tile, thread, block, p.group)
          .unroll(p.col)
          .unroll(row_in)
          .gpu_blocks(block, p.group)
          .gpu_threads(thread);
      p.region->tile.compute_at_thread(LoopLevel(p.sums, tile));
    }
  }

  Contraction product_;
  std::vector<Part> parts_;
  Var klass_{"klass"};
  Func moments_{"moments_result"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::DenseMoments, dense_moments)
