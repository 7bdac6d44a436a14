// Class moments of a dense layer: for every class and unit the sum and the sum of squares of f(X W^T + b) - shift, the
// activations themselves never stored. Rows are summed in groups of fixed size in float32, the groups in float64 in
// their order, so that neither threads nor the division of the data into calls changes a bit.
#include <algorithm>
#include <functional>

#include "common/activation.h"
#include "common/contraction.h"
#include "common/dot_products.h"

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
    const HardwareFacts facts = hardware_facts(get_target());
    const bool gpu = get_target().has_gpu_feature();
    const Tile::Operands operands{x.dim(0).extent(), batch, w.dim(1).extent(), [&](Expr k, Expr n) { return x(k, n); },
                                  [&](Expr k, Expr m) { return w(k, m); }};
    // What does not fill a vector of units, as in dense_forward.
    const Expr dots = DotProducts::pay_at_edge(operands, facts);
    product_ = Contraction("moments", facts, gpu, operands, {.edge = gpu ? Expr() : !dots, .in_blocks = false});
    for (Contraction::Region& region : product_.regions()) {
      const Tile::Shape& shape = region.tile.shape();
      parts_.emplace_back(shape.rows, shape.cols(), region.first_col, region.cols, group_rows);
      parts_.back().sum = [&region](Expr col, Expr row) { return region.tile(col, row); };
      parts_.back().compute_at = [&region, gpu, facts](const LoopLevel& level) {
        gpu ? region.tile.compute_at_thread(level, facts) : region.tile.compute_at(level);
      };
    }
    if (!gpu) {
      const Expr first = operands.cols / facts.vector_width * facts.vector_width;
      const DotProducts::Shape shape{facts.tile_rows, facts.tile_vectors, 1};
      edge_ = DotProducts("edge", facts, shape, operands, first, dots);
      parts_.emplace_back(shape.rows, shape.cols, first, select(dots, operands.cols - first, 0), group_rows);
      parts_.back().sum = [this](Expr col, Expr row) { return edge_(col, row); };
      parts_.back().compute_at = [this](const LoopLevel& level) { edge_.compute_at(level); };
    }
    const Var unit("unit"), klass = klass_;
    moments_(unit, klass) = Tuple(undef<double>(), undef<double>());
    const Expr last_class = moments_.output_buffers()[0].dim(1).extent() - 1;
    const Expr groups = (batch + group_rows - 1) / group_rows;
    for (Part& part : parts_) {
      // The activation, 0 for rows beyond the end and, since packed columns beyond the end are 0, of no matter there.
      const Expr col = part.panel * part.width + part.col;
      const Expr m = min(likely(part.first_col + col), w.dim(1).extent() - 1);
      const Expr value = activate(activation, part.sum(col, part.row) + bias(m), slope) - shift(m);
      part.value(part.col, part.row, part.panel) = select(likely(part.row < batch), value, 0.0F);

      // The last group ends with the last tile that holds a row, so that a small batch costs no whole group.
      const Expr first_row = part.group * group_rows + part.rows.y * part.height;
      part.rows.where(first_row < batch);
      const Expr n = first_row + part.rows.x;
      // The wrapper has checked the labels.
      const Expr c = unsafe_promise_clamped(label(min(likely(n), batch - 1)), 0, last_class);
      const Expr z = part.value(part.col, n, part.panel);
      // Both moments side by side in one array: one address for both.
      part.sums(part.col, part.power, klass, part.panel, part.group) = 0.0F;
      part.sums(part.col, part.power, c, part.panel, part.group) += select(part.power == 0, z, z * z);

      part.total = RDom(0, part.cols, 0, groups, "total");
      const Expr at = part.first_col + part.total.x;
      const auto group_sum = [&](int power) {
        return cast<double>(
            part.sums(part.total.x % part.width, power, klass, part.total.x / part.width, part.total.y));
      };
      part.update = moments_.num_update_definitions();
      const FuncRef all = moments_(at, klass);
      moments_(at, klass) = Tuple(all[0] + group_sum(0), all[1] + group_sum(1));
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
  // One range of columns: how its sums are computed, tile by tile, and the Funcs that fold them.
  struct Part {
    Part(int height, int width, const Expr& first_col, const Expr& cols, int group)
        : height(height), width(width), first_col(first_col), cols(cols), rows(0, height, 0, group / height, "rows") {}
    int height, width;  // rows and columns of a tile
    Expr first_col, cols;
    std::function<Expr(Expr col, Expr row)> sum;
    std::function<void(const LoopLevel&)> compute_at;
    Var col{"col"}, power{"power"}, row{"row"}, panel{"panel"}, group{"group"};
    RDom rows, total;
    Func value{"value"}, sums{"sums"};
    int update = 0;
  };

  // Measured against dense_forward on the same shape, which stores its result: at most 1.05 of its time.
  void schedule_cpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    for (Part& p : parts_) {
      const int v = std::min(facts.vector_width, p.width);
      const Var task("task");
      const RVar row_in = p.rows.x, tile = p.rows.y;
      moments_.update(p.update)
          .reorder(p.total.x, p.total.y, klass_)
          .vectorize(p.total.x, facts.vector_width, TailStrategy::GuardWithIf);
      p.sums.compute_root()
          .bound(p.power, 0, 2)
          .bound_extent(p.col, p.width)
          .vectorize(p.col, v)
          .unroll(p.col)
          .unroll(p.power);
      p.sums.update()
          .reorder(p.col, p.power, row_in, tile, p.panel, p.group)
          .vectorize(p.col, v)
          .unroll(p.col)
          .unroll(p.power)
          .unroll(row_in)
          .fuse(p.panel, p.group, task)
          .parallel(task);
      p.value.compute_at(p.sums, tile).store_in(MemoryType::Stack);
      p.value.bound_extent(p.col, p.width)
          .bound_extent(p.row, p.height)
          .vectorize(p.col, v)
          .unroll(p.col)
          .unroll(p.row);
      p.compute_at(LoopLevel(p.sums, tile));
    }
  }

  // Measured by registers and spills under ptxas; executed on PoCL. A thread owns a few columns of one group, so that
  // no sum is ever shared; the few sums of the groups are added up on the host, since a device need not have float64.
  void schedule_gpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    for (Part& p : parts_) {
      const Var block("block"), thread("thread");
      const RVar row_in = p.rows.x, tile = p.rows.y;
      moments_.update(p.update).reorder(p.total.x, p.total.y, klass_);
      p.sums.compute_root().bound(p.power, 0, 2).bound_extent(p.col, p.width).unroll(p.col).unroll(p.power);
      p.sums.split(p.panel, block, thread, facts.gpu_block_x, TailStrategy::GuardWithIf)
          .reorder(p.col, p.power, klass_, thread, block, p.group)
          .gpu_blocks(block, p.group)
          .gpu_threads(thread);
      p.sums.update()
          .split(p.panel, block, thread, facts.gpu_block_x, TailStrategy::GuardWithIf)
          .reorder(p.col, p.power, row_in, tile, thread, block, p.group)
          .unroll(p.col)
          .unroll(p.power)
          .unroll(row_in)
          .gpu_blocks(block, p.group)
          .gpu_threads(thread);
      p.compute_at(LoopLevel(p.sums, tile));
    }
  }

  Contraction product_;
  DotProducts edge_;
  std::vector<Part> parts_;
  Var klass_{"klass"};
  Func moments_{"moments_result"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::DenseMoments, dense_moments)
