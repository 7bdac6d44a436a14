// Jacobian steps that skip the units whose derivative is 0. The rows of one sample share their mask, so that half of
// the terms of a ReLU network's sums drop out, given a list of each sample's active units: the tile holds the rows of
// one sample, and its loop over k runs along the list.
#include <algorithm>

#include "common/activation.h"
#include "common/elementwise.h"

namespace kindling {
namespace {

using namespace Halide;

// The units of every sample whose activation is not 0 (NaN counts as active), ascending. Entries beyond the count are
// arbitrary.
class ActiveUnits : public Generator<ActiveUnits> {
 public:
  Input<Buffer<float, 2>> y{"y"};             // (width, samples)
  Output<Buffer<int32_t, 2>> index{"index"};  // (width, samples)
  Output<Buffer<int32_t, 1>> count{"count"};  // (samples)

  void generate() {
    const Expr width = y.dim(0).extent();
    units_ = RDom(0, width, "units");
    const Expr active = is_nan(y(units_, n_)) || y(units_, n_) > 0.0F;
    // Place of every unit in the list, were it active.
    place_(m_, n_) = 0;
    place_(units_ + 1, n_) = place_(units_, n_) + select(active, 1, 0);
    // An inactive unit is written too, and overwritten by the next one.
    index(m_, n_) = undef<int32_t>();
    index(unsafe_promise_clamped(place_(units_, n_), 0, width - 1), n_) = units_;
    count(n_) = place_(width, n_);
  }

  void schedule() {
    const Expr width = y.dim(0).extent(), samples = y.dim(1).extent();
    y.dim(0).set_min(0);
    y.dim(1).set_min(0);
    index.dim(0).set_bounds(0, width);
    index.dim(1).set_bounds(0, samples);
    count.dim(0).set_bounds(0, samples);
    const HardwareFacts facts = hardware_facts(get_target());
    const Var task("task"), row("row"), thread("thread");
    place_.compute_root();
    if (get_target().has_gpu_feature()) {
      // A thread per sample. Measured by registers under ptxas.
      const auto by_sample = [&](Stage stage) {
        stage.gpu_tile(n_, task, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
      };
      place_.gpu_tile(n_, task, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
      by_sample(place_.update().reorder(units_, n_));
      by_sample(index.update().reorder(units_, n_));
      by_sample(Stage(count));
      return;
    }
    // Measured against the product that the list serves, of which it must stay under 3 %.
    const Expr rows = max(1, facts.parallel_grain / max(width, 1));
    place_.split(n_, task, row, rows, TailStrategy::GuardWithIf).parallel(task);
    place_.update().reorder(units_, n_).split(n_, task, row, rows, TailStrategy::GuardWithIf).parallel(task);
    index.update().reorder(units_, n_).split(n_, task, row, rows, TailStrategy::GuardWithIf).parallel(task);
  }

 private:
  Var m_{"m"}, n_{"n"};
  RDom units_;
  Func place_{"place"};
};

// sum over the active units u of V(u, i, n) * B(col, u), in a tile of the rows i of one sample by some vectors of
// columns.
class MaskedTile {
 public:
  MaskedTile() = default;
  MaskedTile(const HardwareFacts& facts, bool gpu, const Func& v, const Func& b, const Func& index, const Func& count,
             const Expr& depth, const Expr& rows, const Expr& cols)
      : gpu_(gpu),
        // Ten rows, the usual number of outputs, shall leave no tile half empty.
        rows_(facts.tile_rows >= 10 ? 10 : std::min(facts.tile_rows, 5)),
        vectors_(gpu ? facts.gpu_thread_tile_x : facts.tile_vectors),
        width_(gpu ? 1 : facts.vector_width),
        block_samples_(facts.row_block_tiles / 2),
        list_(0, depth, "list") {
    list_.where(list_ < count(n_));
    const Expr unit = unsafe_promise_clamped(index(list_, n_), 0, depth - 1);
    packed_(col_, u_, panel_) = b(min(likely(panel_ * this->cols() + col_), cols - 1), u_);
    sum_(col_, i_, n_, panel_, tile_) = 0.0F;
    sum_(col_, i_, n_, panel_, tile_) +=
        v(unit, min(likely(tile_ * rows_ + i_), rows - 1), n_) * packed_(col_, unit, panel_);
  }

  [[nodiscard]] int rows() const { return rows_; }
  [[nodiscard]] int cols() const { return vectors_ * width_; }
  [[nodiscard]] int vector_width() const { return width_; }
  /// Samples whose rows stay in L2 while the panels of the other operand pass by.
  [[nodiscard]] int block_samples() const { return block_samples_; }

  Expr operator()(const Expr& col, const Expr& i, const Expr& n) {
    return sum_(col % cols(), i % rows_, n, max(col / cols(), 0), max(i / rows_, 0));
  }

  /// Accumulates in registers inside loop `level` of the consumer, whose inner loops are one tile.
  void compute_at(const LoopLevel& level) {
    sum_.compute_at(level).store_in(gpu_ ? MemoryType::Register : MemoryType::Stack);
    sum_.bound_extent(col_, cols()).bound_extent(i_, rows_).bound_extent(panel_, 1).bound_extent(tile_, 1);
    sum_.bound_extent(n_, 1).reorder(col_, i_);
    sum_.update().reorder(col_, i_, list_);
    if (gpu_) {
      sum_.unroll(col_).unroll(i_);
      sum_.update().unroll(col_).unroll(i_);
      return;
    }
    sum_.vectorize(col_, width_).unroll(col_).unroll(i_);
    sum_.update().vectorize(col_, width_).unroll(col_).unroll(i_);
    packed_.compute_root().bound_extent(col_, cols()).vectorize(col_, width_).unroll(col_).parallel(panel_);
  }

 private:
  bool gpu_ = false;
  int rows_ = 1, vectors_ = 1, width_ = 1, block_samples_ = 1;
  RDom list_;
  Var col_{"col"}, i_{"i"}, n_{"n"}, panel_{"panel"}, tile_{"tile"}, u_{"u"};
  Func packed_{"packed"}, sum_{"sum"};
};

// S = f'(Y) * (V W) for the rows of each sample, V being 0 outside the sample's active units.
class JacobianMaskedProduct : public Generator<JacobianMaskedProduct> {
 public:
  Input<Buffer<float, 3>> v{"v"};            // (fan_out, rows of a sample, samples)
  Input<Buffer<int32_t, 2>> index{"index"};  // (fan_out, samples)
  Input<Buffer<int32_t, 1>> count{"count"};  // (samples)
  Input<Buffer<float, 2>> w{"w"};            // (fan_in, fan_out)
  Input<Buffer<float, 2>> y{"y"};            // (fan_in, samples): outputs of the activation below
  Input<float> slope{"slope"};
  Output<Buffer<float, 3>> s{"s"};  // (fan_in, rows of a sample, samples)

  void generate() {
    tile_ = MaskedTile(hardware_facts(get_target()), get_target().has_gpu_feature(), Func(v), Func(w), Func(index),
                       Func(count), v.dim(0).extent(), v.dim(1).extent(), w.dim(0).extent());
    s(k_, i_, n_) = through_derivative(ActivationForm::slope, y(k_, n_), slope, tile_(k_, i_, n_));
  }

  void schedule() {
    const Expr fan_in = w.dim(0).extent(), rows = v.dim(1).extent(), samples = v.dim(2).extent();
    for (int d = 0; d < 3; ++d) v.dim(d).set_min(0);
    index.dim(0).set_bounds(0, v.dim(0).extent());
    index.dim(1).set_bounds(0, samples);
    count.dim(0).set_bounds(0, samples);
    w.dim(0).set_min(0);
    w.dim(1).set_bounds(0, v.dim(0).extent());
    y.dim(0).set_bounds(0, fan_in);
    y.dim(1).set_bounds(0, samples);
    s.dim(0).set_bounds(0, fan_in);
    s.dim(1).set_bounds(0, rows);
    s.dim(2).set_bounds(0, samples);
    const HardwareFacts facts = hardware_facts(get_target());
    const Var panel("panel"), tile("tile"), task("task"), row("row");
    Func(s)
        .split(k_, panel, k_, tile_.cols(), TailStrategy::GuardWithIf)
        .split(i_, tile, i_, tile_.rows(), TailStrategy::GuardWithIf);
    if (get_target().has_gpu_feature()) {
      schedule_gpu(facts, panel, tile);
    } else {
      schedule_cpu(panel, tile);
    }
  }

 private:
  // The rows of a task stay in L2 while the panels of W, one at a time in L1, pass by. Measured against
  // jacobian_product on the same operands, which takes the zeros along, and this core's multiply-add peak.
  void schedule_cpu(const Var& panel, const Var& tile) {
    const Var task("task");
    Func f(s);
    f.split(n_, task, n_, tile_.block_samples(), TailStrategy::GuardWithIf)
        .reorder(k_, i_, tile, n_, panel, task)
        .vectorize(k_, tile_.vector_width())
        .unroll(k_)
        .unroll(i_)
        .parallel(task);
    tile_.compute_at(LoopLevel(f, tile));
  }

  // A thread owns a tile of one sample. Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu(const HardwareFacts& facts, const Var& panel, const Var& tile) {
    const Var thread_x("thread_x"), thread_y("thread_y");
    Func f(s);
    f.split(panel, panel, thread_x, facts.gpu_block_x, TailStrategy::GuardWithIf)
        .split(n_, n_, thread_y, facts.gpu_block_y, TailStrategy::GuardWithIf)
        .reorder(k_, i_, thread_x, thread_y, panel, n_, tile)
        .unroll(k_)
        .unroll(i_)
        .gpu_blocks(panel, n_, tile)
        .gpu_threads(thread_x, thread_y);
    tile_.compute_at(LoopLevel(f, thread_x));
  }

  MaskedTile tile_;
  Var k_{"k"}, i_{"i"}, n_{"n"};
};

// v G v^T for the rows of each sample, V being 0 outside the sample's active units.
class MaskedQuadraticForms : public Generator<MaskedQuadraticForms> {
 public:
  Input<Buffer<float, 3>> v{"v"};            // (width, rows of a sample, samples)
  Input<Buffer<int32_t, 2>> index{"index"};  // (width, samples)
  Input<Buffer<int32_t, 1>> count{"count"};  // (samples)
  Input<Buffer<float, 2>> g{"g"};            // (width, width), symmetric
  Output<Buffer<float, 2>> out{"out"};       // (rows of a sample, samples)

  void generate() {
    const Expr width = v.dim(0).extent(), rows = v.dim(1).extent();
    tile_ = MaskedTile(hardware_facts(get_target()), get_target().has_gpu_feature(), Func(v), Func(g), Func(index),
                       Func(count), width, rows, width);
    // As in quadratic_forms.
    Expr sum = 0.0F;
    for (int x = 0; x < tile_.cols() / tile_.vector_width(); ++x) {
      const Expr col = panel_ * tile_.cols() + x * tile_.vector_width() + lane_;
      const Expr weight = v(min(likely(col), width - 1), min(likely(i_), rows - 1), n_);
      sum += select(likely(col < width), tile_(col, i_, n_) * weight, 0.0F);
    }
    part_(lane_, i_, n_, panel_) = sum;
    terms_ = RDom(0, tile_.vector_width(), 0, (width + tile_.cols() - 1) / tile_.cols(), "terms");
    by_lane_(lane_, i_, n_) = 0.0F;
    by_lane_(terms_.x, i_, n_) += part_(terms_.x, i_, n_, terms_.y);
    lanes_ = RDom(0, tile_.vector_width(), "lanes");
    total_(i_, n_) = 0.0F;
    total_(i_, n_) += by_lane_(lanes_, i_, n_);
    out(i_, n_) = total_(i_, n_);
  }

  void schedule() {
    const Expr width = v.dim(0).extent(), rows = v.dim(1).extent(), samples = v.dim(2).extent();
    for (int d = 0; d < 3; ++d) v.dim(d).set_min(0);
    index.dim(0).set_bounds(0, width);
    index.dim(1).set_bounds(0, samples);
    count.dim(0).set_bounds(0, samples);
    g.dim(0).set_bounds(0, width);
    g.dim(1).set_bounds(0, width);
    out.dim(0).set_bounds(0, rows);
    out.dim(1).set_bounds(0, samples);
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Measured against quadratic_forms on the same operands.
  void schedule_cpu() {
    const Var tile("tile"), task("task");
    out.split(n_, task, n_, tile_.block_samples(), TailStrategy::GuardWithIf).parallel(task);
    part_.compute_at(out, task)
        .bound_extent(lane_, tile_.vector_width())
        .split(i_, tile, i_, tile_.rows(), TailStrategy::RoundUp)
        .reorder(lane_, i_, tile, n_, panel_)
        .vectorize(lane_)
        .unroll(i_);
    tile_.compute_at(LoopLevel(part_, tile));
    by_lane_.compute_at(out, i_).store_in(MemoryType::Stack);
    by_lane_.bound_extent(lane_, tile_.vector_width()).vectorize(lane_);
    by_lane_.update().reorder(terms_.x, terms_.y).vectorize(terms_.x);
    total_.compute_at(out, i_).update().unroll(lanes_);
  }

  // A thread owns a tile of one sample. Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Var tile("tile"), thread_x("thread_x"), thread_y("thread_y"), x("x"), y("y");
    part_.compute_root()
        .bound_extent(lane_, 1)
        .unroll(lane_)
        .split(i_, tile, i_, tile_.rows(), TailStrategy::RoundUp)
        .unroll(i_)
        .split(panel_, panel_, thread_x, facts.gpu_block_x, TailStrategy::GuardWithIf)
        .split(n_, n_, thread_y, facts.gpu_block_y, TailStrategy::GuardWithIf)
        .reorder(lane_, i_, thread_x, thread_y, panel_, n_, tile)
        .gpu_blocks(panel_, n_, tile)
        .gpu_threads(thread_x, thread_y);
    tile_.compute_at(LoopLevel(part_, thread_x));
    out.gpu_tile(i_, n_, x, y, thread_x, thread_y, facts.gpu_block_x, facts.gpu_block_y, TailStrategy::GuardWithIf);
    by_lane_.compute_at(out, thread_x);
    total_.compute_at(out, thread_x);
  }

  MaskedTile tile_;
  RDom terms_, lanes_;
  Var lane_{"lane"}, i_{"i"}, n_{"n"}, panel_{"panel"};
  Func part_{"part"}, by_lane_{"by_lane"}, total_{"total"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::ActiveUnits, active_units)
HALIDE_REGISTER_GENERATOR(kindling::JacobianMaskedProduct, jacobian_masked_product)
HALIDE_REGISTER_GENERATOR(kindling::MaskedQuadraticForms, masked_quadratic_forms)
