// Kernels of the neuron campaign, a blocked, weighted, pivoted Gram-Schmidt over the rows of a matrix.
// runtime/methods/campaign.cpp says how they work together, runtime/kernels/campaign.h what each computes.
#include <functional>
#include <memory>
#include <utility>

#include "Halide.h"
#include "common/hardware.h"

namespace kindling {
namespace {

using namespace Halide;

// Squares of f(k, i) added up over k in lanes: sum over k = sum over l of lanes(l, i).
class SquareLanes {
 public:
  SquareLanes(const Func& f, const Expr& depth, const HardwareFacts& facts)
      : v_(facts.vector_width),
        width(facts.vector_width * facts.elementwise_unroll),
        steps_(0, (depth + width - 1) / width, "step") {
    const Expr k = steps_ * width + l_;
    const Expr value = select(likely(k < depth), f(min(likely(k), depth - 1), i_), 0.0F);
    lanes_(l_, i_) += value * value;
  }
  // The sum for row i, a pure function of it for any thread count.
  Expr total(const Expr& i) {
    RDom across(0, width, "across");
    return sum(lanes_(across, i), "across_lanes");
  }
  void compute_at(const LoopLevel& level) {
    lanes_.compute_at(level).bound_extent(l_, width).vectorize(l_, v_).unroll(l_);
    lanes_.update().reorder(l_, steps_).vectorize(l_, v_).unroll(l_);
  }

 private:
  int v_;

 public:
  const int width;

 private:
  RDom steps_;
  Var l_{"l"}, i_{"i"};
  Func lanes_{"lanes"};
};

// What every kernel over picked rows takes in.
template <class T>
class PickedRowsGenerator : public Generator<T> {
 public:
  GeneratorInput<Buffer<float, 2>> rows{"rows"};      // (depth, matrix rows), rows may be strided
  GeneratorInput<Buffer<int32_t, 1>> index{"index"};  // (picks)
  GeneratorInput<Buffer<float, 1>> scale{"scale"};    // (matrix rows)

 protected:
  Expr depth() const { return rows.dim(0).extent(); }
  Expr picks() const { return index.dim(0).extent(); }
  // Element k of pick i; both in range.
  Expr picked(const Expr& k, const Expr& i) const {
    const Expr row = clamp(index(i), 0, rows.dim(1).extent() - 1);
    return rows(k, row) * scale(row);
  }
  void bound_inputs() {
    rows.dim(0).set_min(0);
    rows.dim(1).set_min(0);
    index.dim(0).set_min(0);
    scale.dim(0).set_bounds(0, rows.dim(1).extent());
  }
};

// c(l, i, p) = row i . direction (cols p + l - shift), tile by tile. A row is used for a few tens of directions only,
// so packing it must cost next to nothing: it is copied as it lies, in runs of one cache line that make the tile's rows
// one stream (rows 2^n apart would fight for the same cache sets). The tile is one narrow panel of directions with as
// many rows as registers allow, since blocks of directions come in any number.
class Projection {
 public:
  using Element = std::function<Expr(Expr k, Expr i)>;

  // Rows and columns of the tile.
  static std::pair<int, int> tile(const HardwareFacts& facts) {
    int n = facts.tile_vectors, m = facts.tile_rows;
    while (n > 1 && facts.vector_width * n > line_) n /= 2, m *= 2;
    return {m, facts.vector_width * n};
  }

  Projection(const HardwareFacts& facts, bool gpu, const Expr& depth, const Expr& picks, const Expr& count,
             const Element& row, const Element& direction, const Expr& shift = 0, const Element& needed = nullptr)
      : v_(facts.vector_width), run_(gpu ? 1 : line_), rows(tile(facts).first), cols(tile(facts).second) {
    k_ = RDom(0, (depth + run_ - 1) / run_ * run_, "k");
    const Expr k = ko_ * run_ + ki_, i = io_ * rows + ii_, j = p_ * cols + l_ - shift;
    row_(ki_, ii_, ko_, io_) =
        select(likely(k < depth), row(min(likely(k), depth - 1), min(likely(i), picks - 1)), 0.0F);
    direction_(l_, kd_, p_) = select(likely(j >= 0 && j < count) && likely(kd_ < depth),
                                     direction(min(likely(kd_), depth - 1), clamp(likely(j), 0, count - 1)), 0.0F);
    c_(l_, ii_, p_, io_) = 0.0F;
    if (needed) k_.where(needed(p_, io_));
    c_(l_, ii_, p_, io_) += row_(k_ % run_, ii_, k_ / run_, io_) * direction_(l_, k_, p_);
  }
  FuncRef operator()(const Expr& lane, const Expr& in, const Expr& panel, const Expr& tile) {
    return c_(lane, in, panel, tile);
  }

  // The tile lives in registers at `tile`, the copied rows in L2 at `rows_at`; directions are packed before all loops.
  void schedule_cpu(const LoopLevel& tile, const LoopLevel& rows_at) {
    RVar ko("ko"), ki("ki");
    Var outer("outer"), inner("inner");
    c_.compute_at(tile).store_in(MemoryType::Stack).bound_extent(l_, cols).bound_extent(ii_, rows);
    c_.reorder(l_, ii_).vectorize(l_, v_).unroll(l_).unroll(ii_);
    c_.update().split(k_, ko, ki, run_).reorder(l_, ii_, ki, ko).vectorize(l_, v_).unroll(l_).unroll(ii_);
    row_.compute_at(rows_at).bound_extent(ki_, run_).bound_extent(ii_, rows);
    row_.reorder(ki_, ii_, ko_, io_).vectorize(ki_, v_).unroll(ki_);
    direction_.compute_root().bound_extent(l_, cols).split(kd_, outer, inner, v_, TailStrategy::RoundUp);
    direction_.reorder(inner, l_, outer, p_).vectorize(inner).unroll(l_).parallel(p_);
  }
  // The tile lives in the registers of one thread, whose loop is `thread`.
  void schedule_gpu(const LoopLevel& thread) {
    c_.compute_at(thread).store_in(MemoryType::Register).bound_extent(l_, cols).bound_extent(ii_, rows);
    c_.reorder(l_, ii_).unroll(l_).unroll(ii_);
    c_.update().reorder(l_, ii_, k_).unroll(l_).unroll(ii_);
    row_.compute_at(c_, k_).store_in(MemoryType::Register).bound_extent(ii_, rows).unroll(ii_);
    direction_.compute_at(c_, k_).store_in(MemoryType::Register).bound_extent(l_, cols).unroll(l_);
  }

 private:
  static constexpr int line_ = 16;  // floats of one 64-byte cache line
  int v_, run_;

 public:
  const int rows, cols;

 private:
  RDom k_;
  Var l_{"l"}, ii_{"ii"}, p_{"p"}, io_{"io"}, kd_{"kd"}, ki_{"ki"}, ko_{"ko"};
  Func row_{"row"}, direction_{"direction"}, c_{"c"};
};

class CampaignNorms : public Generator<CampaignNorms> {
 public:
  Input<Buffer<float, 2>> rows{"rows"};         // (depth, size)
  Output<Buffer<float, 1>> squares{"squares"};  // (size)

  void generate() {
    lanes_ = std::make_unique<SquareLanes>(rows, rows.dim(0).extent(), hardware_facts(get_target()));
    squares(i_) = lanes_->total(i_);
  }
  // Measured against the memory's bandwidth: one pass over the rows.
  void schedule() {
    rows.dim(0).set_min(0);
    rows.dim(1).set_min(0);
    squares.dim(0).set_bounds(0, rows.dim(1).extent());
    const HardwareFacts facts = hardware_facts(get_target());
    if (get_target().has_gpu_feature()) {
      Var block("block"), thread("thread");
      squares.gpu_tile(i_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
    } else {
      Var task("task");
      squares.split(i_, task, i_, 16, TailStrategy::GuardWithIf).parallel(task);
      lanes_->compute_at(LoopLevel(squares, i_));
    }
  }

 private:
  Var i_{"i"};
  std::unique_ptr<SquareLanes> lanes_;
};

class CampaignProject : public PickedRowsGenerator<CampaignProject> {
 public:
  Input<Buffer<float, 2>> directions{"directions"};  // (depth, count)
  Output<Buffer<float, 2>> c{"c"};                   // (count, picks)

  void generate() {
    const HardwareFacts facts = hardware_facts(get_target());
    product_ = std::make_unique<Projection>(
        facts, get_target().has_gpu_feature(), depth(), picks(), directions.dim(1).extent(),
        [&](Expr k, Expr i) { return picked(k, i); }, [&](Expr k, Expr j) { return directions(k, j); });
    const int rows_ = product_->rows, cols = product_->cols;
    c(j_, i_) = (*product_)(j_ % cols, i_ % rows_, j_ / cols, i_ / rows_);
  }
  // Measured against the multiply-add peak; 16 to 32 directions for some hundred rows is the usual shape.
  void schedule() {
    bound_inputs();
    directions.dim(0).set_bounds(0, depth()).dim(1).set_min(0);
    c.dim(0).set_bounds(0, directions.dim(1).extent()).dim(1).set_bounds(0, picks());
    const HardwareFacts facts = hardware_facts(get_target());
    Var panel("panel"), tile("tile"), l("l"), ii("ii");
    c.split(j_, panel, l, product_->cols, TailStrategy::GuardWithIf)
        .split(i_, tile, ii, product_->rows, TailStrategy::GuardWithIf);
    if (get_target().has_gpu_feature()) {
      Var bx("bx"), by("by"), tx("tx"), ty("ty");
      c.split(panel, bx, tx, facts.gpu_block_x, TailStrategy::GuardWithIf)
          .split(tile, by, ty, facts.gpu_block_y, TailStrategy::GuardWithIf);
      c.reorder(l, ii, tx, ty, bx, by).unroll(l).unroll(ii).gpu_blocks(bx, by).gpu_threads(tx, ty);
      product_->schedule_gpu(LoopLevel(c, tx));
    } else {
      c.reorder(l, ii, panel, tile).vectorize(l, facts.vector_width).unroll(l).unroll(ii).parallel(tile);
      product_->schedule_cpu(LoopLevel(c, panel), LoopLevel(c, tile));
    }
  }

 private:
  Var j_{"j"}, i_{"i"};
  std::unique_ptr<Projection> product_;
};

class CampaignUpdate : public PickedRowsGenerator<CampaignUpdate> {
 public:
  Input<Buffer<float, 2>> directions{"directions"};  // (depth, count)
  Input<Buffer<int32_t, 1>> first{"first"};          // (picks)
  Input<Buffer<float, 1>> before{"before"};          // (picks)
  Output<Buffer<float, 1>> squared{"squared"};       // (picks)

  void generate() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Expr count = directions.dim(1).extent();
    const auto [rows_, cols] = Projection::tile(facts);
    const Expr shift = (count + cols - 1) / cols * cols - count;
    first_(ii_, io_) = first(min(likely(io_ * rows_ + ii_), picks() - 1));
    RDom in(0, rows_, "in");
    start_(io_) = minimum(first_(in, io_), "earliest");
    // Panels end with the last direction, the latest that a row can have missed. On a CPU those seen by all rows of the
    // tile are left out; on a GPU a thread's tile is small and its neighbours would wait for it anyway.
    Projection::Element needed;
    if (!get_target().has_gpu_feature()) {
      needed = [&, width = cols](Expr p, Expr io) { return (p + 1) * width - shift > start_(io); };
    }
    product_ = std::make_unique<Projection>(
        facts, get_target().has_gpu_feature(), depth(), picks(), count, [&](Expr k, Expr i) { return picked(k, i); },
        [&](Expr k, Expr j) { return directions(k, j); }, shift, needed);
    panel_ = RDom(0, (count + cols - 1) / cols, "panel");
    const Expr z = select(panel_ * cols + l_ - shift >= first_(ii_, io_), (*product_)(l_, ii_, panel_, io_), 0.0F);
    lanes_(l_, ii_, io_) = 0.0F;
    lanes_(l_, ii_, io_) += z * z;
    Expr sum = lanes_(0, i_ % rows_, i_ / rows_);
    for (int l = 1; l < cols; ++l) sum += lanes_(l, i_ % rows_, i_ / rows_);
    squared(i_) = before(i_) - sum;
  }
  // Measured against the multiply-add peak, less the panels' zeros; the coefficients never leave the registers.
  void schedule() {
    bound_inputs();
    directions.dim(0).set_bounds(0, depth()).dim(1).set_min(0);
    first.dim(0).set_bounds(0, picks());
    before.dim(0).set_bounds(0, picks());
    squared.dim(0).set_bounds(0, picks());
    const HardwareFacts facts = hardware_facts(get_target());
    Var tile("tile"), ii("ii");
    squared.split(i_, tile, ii, product_->rows, TailStrategy::GuardWithIf);
    if (get_target().has_gpu_feature()) {
      Var block("block"), thread("thread");
      squared.split(tile, block, thread, facts.gpu_block_x, TailStrategy::GuardWithIf)
          .reorder(ii, thread, block)
          .gpu_blocks(block)
          .gpu_threads(thread);
      lanes_.compute_at(squared, thread)
          .store_in(MemoryType::Register)
          .bound_extent(l_, product_->cols)
          .bound_extent(ii_, product_->rows);
      squared.unroll(ii);
      lanes_.unroll(l_).unroll(ii_).update().reorder(l_, ii_, panel_, io_).unroll(l_).unroll(ii_);
      product_->schedule_gpu(LoopLevel(lanes_, panel_));
    } else {
      squared.parallel(tile);
      lanes_.compute_at(squared, tile).bound_extent(l_, product_->cols).bound_extent(ii_, product_->rows);
      lanes_.vectorize(l_, facts.vector_width).unroll(l_);
      lanes_.update().reorder(l_, ii_, panel_, io_).vectorize(l_, facts.vector_width).unroll(l_).unroll(ii_);
      first_.compute_at(squared, tile);
      start_.compute_at(squared, tile);
      product_->schedule_cpu(LoopLevel(lanes_, panel_), LoopLevel(squared, tile));
    }
  }

 private:
  Var i_{"i"}, l_{"l"}, ii_{"ii"}, io_{"io"};
  RDom panel_;
  Func first_{"first_of"}, start_{"start"}, lanes_{"lanes"};
  std::unique_ptr<Projection> product_;
};

class CampaignResidual : public PickedRowsGenerator<CampaignResidual> {
 public:
  Input<int32_t> count{"count"};  // directions; the buffers have one at least, since a device has no empty ones
  Input<Buffer<float, 2>> c{"coefficients"};         // (picks, count)
  Input<Buffer<float, 2>> directions{"directions"};  // (depth, count)
  Output<Buffer<float, 2>> residual{"residual"};     // (depth, picks)
  Output<Buffer<float, 1>> squared{"squared"};       // (picks)

  void generate() {
    const HardwareFacts facts = hardware_facts(get_target());
    rows_ = facts.tile_rows;
    const Expr i = io_ * rows_ + ii_;
    packed_(ii_, j_, io_) = c(min(likely(i), picks() - 1), j_);
    count_ = RDom(0, min(count, directions.dim(1).extent()), "directions");
    part_(k_, ii_, io_) = 0.0F;
    part_(k_, ii_, io_) += packed_(ii_, count_, io_) * directions(min(likely(k_), depth() - 1), count_);
    residual(k_, i_) = picked(k_, i_) - part_(k_, i_ % rows_, i_ / rows_);
    lanes_ = std::make_unique<SquareLanes>(residual, depth(), facts);
    squared(i_) = lanes_->total(i_);
  }
  // Measured against the multiply-add peak: a tile of the residual in registers, directions read where they lie.
  void schedule() {
    bound_inputs();
    c.dim(0).set_bounds(0, picks()).dim(1).set_bounds(0, directions.dim(1).extent());
    directions.dim(0).set_bounds(0, depth()).dim(1).set_min(0);
    residual.dim(0).set_bounds(0, depth()).dim(1).set_bounds(0, picks());
    squared.dim(0).set_bounds(0, picks());
    const HardwareFacts facts = hardware_facts(get_target());
    Var ko("ko"), ki("ki"), io("io"), ii("ii"), task("task");
    if (get_target().has_gpu_feature()) {
      Var bx("bx"), by("by"), tx("tx"), ty("ty"), block("block"), thread("thread");
      residual.split(i_, io, ii, rows_, TailStrategy::GuardWithIf);
      residual.split(k_, bx, tx, facts.gpu_block_x, TailStrategy::GuardWithIf)
          .split(io, by, ty, facts.gpu_block_y, TailStrategy::GuardWithIf);
      residual.reorder(ii, tx, ty, bx, by).unroll(ii).gpu_blocks(bx, by).gpu_threads(tx, ty);
      part_.compute_at(residual, tx).store_in(MemoryType::Register).bound_extent(ii_, rows_).unroll(ii_);
      part_.update().reorder(k_, ii_, count_).unroll(ii_);
      squared.gpu_tile(i_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
      return;
    }
    const int v = facts.vector_width, cols = v * facts.tile_vectors;
    // The last tile of a row moves inwards and computes some columns twice, which needs no guard in the inner loop.
    auto wide = residual.specialize(depth() >= cols);
    wide.split(k_, ko, ki, cols, TailStrategy::ShiftInwards).split(i_, io, ii, rows_, TailStrategy::GuardWithIf);
    wide.reorder(ki, ii, io, ko).vectorize(ki, v).unroll(ki).unroll(ii).parallel(ko);
    residual.split(k_, ko, ki, cols, TailStrategy::GuardWithIf).split(i_, io, ii, rows_, TailStrategy::GuardWithIf);
    residual.reorder(ki, ii, io, ko).vectorize(ki, v).unroll(ki).unroll(ii).parallel(ko);
    part_.compute_at(residual, io).store_in(MemoryType::Stack).bound_extent(ii_, rows_).bound_extent(k_, cols);
    part_.vectorize(k_, v).unroll(k_).unroll(ii_);
    part_.update().reorder(k_, ii_, count_).vectorize(k_, v).unroll(k_).unroll(ii_);
    packed_.compute_root().bound_extent(ii_, rows_).reorder(ii_, j_, io_);
    squared.split(i_, task, i_, 16, TailStrategy::GuardWithIf).parallel(task);
    lanes_->compute_at(LoopLevel(squared, i_));
  }

 private:
  int rows_ = 1;
  Var k_{"k"}, i_{"i"}, j_{"j"}, ii_{"ii"}, io_{"io"};
  RDom count_;
  Func packed_{"packed"}, part_{"part"};
  std::unique_ptr<SquareLanes> lanes_;
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::CampaignNorms, campaign_norms)
HALIDE_REGISTER_GENERATOR(kindling::CampaignProject, campaign_project)
HALIDE_REGISTER_GENERATOR(kindling::CampaignUpdate, campaign_update)
HALIDE_REGISTER_GENERATOR(kindling::CampaignResidual, campaign_residual)
