// What is done with the rows of Jacobians: norms, quadratic forms that give norms of rows never computed, and the
// element-wise steps of the norms' gradient.
#include "common/activation.h"
#include "common/elementwise.h"
#include "common/tile.h"

namespace kindling {
namespace {

using namespace Halide;

// sqrt(sum_k x(k)^2) or sum_k x(k) y(k) of every row: one vector of partial sums a row, added up by halves.
class RowReduction : public Generator<RowReduction> {
 public:
  GeneratorParam<bool> dots{"dots", false};

  Input<Buffer<float, 2>> x{"x"};       // (cols, rows)
  Output<Buffer<float, 1>> out{"out"};  // (rows)

  bool allow_out_of_order_inputs_and_outputs() const override { return true; }  // y goes before out

  void configure() {
    if (dots) y_ = add_input<Buffer<float, 2>>("y");  // (cols, rows)
  }

  void generate() {
    const int v = hardware_facts(get_target()).vector_width;
    const Expr cols = x.dim(0).extent(), row = min(likely(row_), x.dim(1).extent() - 1);
    const auto term = [&](const Expr& k) { return x(k, row) * (dots ? Expr((*y_)(k, row)) : Expr(x(k, row))); };
    whole_ = RDom(0, v, 0, cols / v, "whole");
    rest_ = RDom(0, cols % v, "rest");
    const Expr first = cols / v * v;
    left_(row_) = 0.0F;
    left_(row_) += term(unsafe_promise_clamped(first + rest_, 0, cols - 1));
    lanes_(lane_, row_) = 0.0F;
    lanes_(whole_.x, row_) += term(whole_.y * v + whole_.x);
    halves_.push_back(lanes_);
    for (int n = v / 2; n > 0; n /= 2) {
      Func half("half" + std::to_string(n));
      half(lane_, row_) = halves_.back()(lane_, row_) + halves_.back()(lane_ + n, row_);
      halves_.push_back(half);
    }
    const Expr sum = halves_.back()(0, row_) + left_(row_);
    out(row_) = dots ? sum : sqrt(sum);
  }

  void schedule() {
    const Expr cols = x.dim(0).extent(), rows = x.dim(1).extent();
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    if (dots) {
      y_->dim(0).set_bounds(0, cols);
      y_->dim(1).set_bounds(0, rows);
    }
    out.dim(0).set_bounds(0, rows);
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Some rows side by side hide the latency of the additions. Measured against one reading of the operands.
  void schedule_cpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Var task("task"), tile("tile"), in("in");
    const int side = facts.tile_rows;
    out.split(row_, tile, in, side, TailStrategy::GuardWithIf)
        .split(tile, task, tile, max(1, facts.parallel_grain / (side * max(x.dim(0).extent(), 1))),
               TailStrategy::GuardWithIf)
        .parallel(task);
    const LoopLevel level(Func(out), tile);
    int width = facts.vector_width;
    for (Func& f : halves_) {
      f.compute_at(level).store_in(MemoryType::Stack).bound_extent(row_, side).bound_extent(lane_, width);
      f.vectorize(lane_).unroll(row_);
      width /= 2;
    }
    lanes_.update().reorder(whole_.x, row_, whole_.y).vectorize(whole_.x).unroll(row_);
    left_.compute_at(level).store_in(MemoryType::Stack).bound_extent(row_, side);
  }

  // A thread per row. Measured by registers under ptxas.
  void schedule_gpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Var block("block"), thread("thread");
    out.gpu_tile(row_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
    for (Func f : {lanes_, left_}) f.compute_at(out, thread);
    lanes_.bound_extent(lane_, facts.vector_width).unroll(lane_);
    lanes_.update().reorder(whole_.x, row_, whole_.y).unroll(whole_.x);
  }

  GeneratorInput<Buffer<float, 2>>* y_ = nullptr;
  Var row_{"row"}, lane_{"lane"};
  RDom whole_, rest_;
  Func left_{"left"}, lanes_{"lanes"};
  std::vector<Func> halves_;
};

// v G v^T of every row v: the square of ||v W|| for G = W W^T, at the cost of a product with G, V G not stored.
class QuadraticForms : public Generator<QuadraticForms> {
 public:
  Input<Buffer<float, 2>> v{"v"};       // (width, rows)
  Input<Buffer<float, 2>> g{"g"};       // (width, width), symmetric
  Output<Buffer<float, 1>> out{"out"};  // (rows)

  void generate() {
    const HardwareFacts facts = hardware_facts(get_target());
    const bool gpu = get_target().has_gpu_feature();
    const Expr width = v.dim(0).extent(), rows = v.dim(1).extent();
    shape_ = gpu ? Tile::Shape{facts.gpu_thread_tile_y, facts.gpu_thread_tile_x, 1}
                 : Tile::Shape{facts.tile_rows, facts.tile_vectors, facts.vector_width};
    tile_ = std::make_unique<Tile>("forms", shape_,
                                   Tile::Operands{width, rows, width, [&](Expr k, Expr r) { return v(k, r); },
                                                  [&](Expr k, Expr m) { return g(m, k); },
                                                  gpu ? Layout::depth_contiguous : Layout::column_contiguous});
    // A tile leaves one vector of partial sums a row; packed columns beyond the end hold nothing of meaning.
    Expr sum = 0.0F;
    for (int x = 0; x < shape_.vectors; ++x) {
      const Expr col = panel_ * shape_.cols() + x * shape_.vector_width + lane_;
      const Expr weight = v(min(likely(col), width - 1), min(likely(row_), rows - 1));
      sum += select(likely(col < width), (*tile_)(col, row_) * weight, 0.0F);
    }
    part_(lane_, panel_, row_) = sum;
    const Expr panels = (width + shape_.cols() - 1) / shape_.cols();
    terms_ = RDom(0, shape_.vector_width, 0, panels, "terms");
    by_lane_(lane_, row_) = 0.0F;
    by_lane_(terms_.x, row_) += part_(terms_.x, terms_.y, row_);
    lanes_ = RDom(0, shape_.vector_width, "lanes");
    total_(row_) = 0.0F;
    total_(row_) += by_lane_(lanes_, row_);
    out(row_) = total_(row_);
  }

  void schedule() {
    const Expr width = v.dim(0).extent();
    v.dim(0).set_min(0);
    v.dim(1).set_min(0);
    g.dim(0).set_bounds(0, width);
    g.dim(1).set_bounds(0, width);
    out.dim(0).set_bounds(0, v.dim(1).extent());
    part_.compute_root().bound_extent(lane_, shape_.vector_width);
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Measured against the product that stores V G, and this core's multiply-add peak.
  void schedule_cpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Var in("in"), tile("tile"), block("block");
    part_.split(row_, tile, in, shape_.rows, TailStrategy::RoundUp)
        .split(tile, block, tile, facts.row_block_tiles, TailStrategy::GuardWithIf)
        .reorder(lane_, in, tile, panel_, block)
        .vectorize(lane_)
        .unroll(in)
        .parallel(panel_)
        .parallel(block);
    tile_->compute_at(LoopLevel(part_, tile));
    out.split(row_, block, in, shape_.rows * facts.row_block_tiles, TailStrategy::GuardWithIf).parallel(block);
    by_lane_.compute_at(out, in).store_in(MemoryType::Stack).bound_extent(lane_, shape_.vector_width).vectorize(lane_);
    by_lane_.update().reorder(terms_.x, terms_.y).vectorize(terms_.x);
    total_.compute_at(out, in).update().unroll(lanes_);
  }

  // A thread owns a tile of rows and columns. Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Var in("in"), tile("tile"), thread_x("thread_x"), thread_y("thread_y"), block("block"), thread("thread");
    part_.unroll(lane_)
        .split(row_, tile, in, shape_.rows, TailStrategy::RoundUp)
        .unroll(in)
        .split(panel_, panel_, thread_x, facts.gpu_block_x, TailStrategy::GuardWithIf)
        .split(tile, tile, thread_y, facts.gpu_block_y, TailStrategy::GuardWithIf)
        .reorder(lane_, in, thread_x, thread_y, panel_, tile)
        .gpu_blocks(panel_, tile)
        .gpu_threads(thread_x, thread_y);
    tile_->compute_at_thread(LoopLevel(part_, thread_x), facts);
    out.gpu_tile(row_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
    by_lane_.compute_at(out, thread);
    total_.compute_at(out, thread);
  }

  Tile::Shape shape_;
  std::unique_ptr<Tile> tile_;
  RDom terms_, lanes_;
  Var lane_{"lane"}, panel_{"panel"}, row_{"row"};
  Func part_{"part"}, by_lane_{"by_lane"}, total_{"total"};
};

// T = f'(Y) * (a P + b S), a and b a number a row.
class JacobianJoin : public Generator<JacobianJoin> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};

  Input<Buffer<float, 2>> p{"p"}, s{"s"};             // (width, rows)
  Input<Buffer<float, 1>> a{"a"}, b{"b"};             // (rows)
  Input<Buffer<float, 2>> y{"y"};                     // (width, samples)
  Input<int32_t> rows_per_sample{"rows_per_sample"};  // at least 1
  Input<float> slope{"slope"};
  Output<Buffer<float, 2>> t{"t"};  // (width, rows); may be p or s

  void generate() {
    const Expr sample = unsafe_promise_clamped(row_ / rows_per_sample, 0, y.dim(1).extent() - 1);
    t(k_, row_) = through_derivative(activation, y(k_, sample), slope, a(row_) * p(k_, row_) + b(row_) * s(k_, row_));
  }

  void schedule() {
    const Expr width = p.dim(0).extent(), rows = p.dim(1).extent();
    p.dim(0).set_min(0);
    p.dim(1).set_min(0);
    s.dim(0).set_bounds(0, width);
    s.dim(1).set_bounds(0, rows);
    a.dim(0).set_bounds(0, rows);
    b.dim(0).set_bounds(0, rows);
    y.dim(0).set_bounds(0, width);
    y.dim(1).set_min(0);
    t.dim(0).set_bounds(0, width);
    t.dim(1).set_bounds(0, rows);
    schedule_matrix(Func(t), k_, row_, width, get_target());
  }

 private:
  Var k_{"k"}, row_{"row"};
};

// X scaled row by row.
class ScaleRows : public Generator<ScaleRows> {
 public:
  Input<Buffer<float, 2>> x{"x"};          // (cols, rows)
  Input<Buffer<float, 1>> scale{"scale"};  // (rows)
  Output<Buffer<float, 2>> y{"y"};         // (cols, rows); may be x

  void generate() { y(k_, row_) = scale(row_) * x(k_, row_); }

  void schedule() {
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    scale.dim(0).set_bounds(0, x.dim(1).extent());
    y.dim(0).set_bounds(0, x.dim(0).extent());
    y.dim(1).set_bounds(0, x.dim(1).extent());
    schedule_matrix(Func(y), k_, row_, x.dim(0).extent(), get_target());
  }

 private:
  Var k_{"k"}, row_{"row"};
};

// f''(u) / f'(u) * sum_i A(i, n) S(i, n): what the derivative f' = S / (V W) passes on to the pre-activations. The
// quotient is a polynomial of the activation's output (-2y for tanh, 1 - 2y for the sigmoid), so that nothing divides
// by an f' that has underflowed.
class JacobianCurvature : public Generator<JacobianCurvature> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::tanh, activation_forms()};

  Input<Buffer<float, 2>> a{"a"}, s{"s"};  // (width, samples * rows_per_sample)
  Input<Buffer<float, 2>> y{"y"};          // (width, samples)
  Input<int32_t> rows_per_sample{"rows_per_sample"};
  Output<Buffer<float, 2>> du{"du"};  // (width, samples)

  void generate() {
    rows_ = RDom(0, rows_per_sample, "rows");
    const Expr row = unsafe_promise_clamped(n_ * rows_per_sample + rows_, 0, a.dim(1).extent() - 1);
    const Expr k = min(likely(k_), y.dim(0).extent() - 1);
    sum_(k_, n_) = 0.0F;
    sum_(k_, n_) += a(k, row) * s(k, row);
    const Expr z = y(k_, n_);
    du(k_, n_) = (activation == ActivationForm::tanh ? -2.0F * z : 1.0F - 2.0F * z) * sum_(k_, n_);
  }

  void schedule() {
    const Expr width = y.dim(0).extent(), samples = y.dim(1).extent(), rows = samples * rows_per_sample;
    y.dim(0).set_min(0);
    y.dim(1).set_min(0);
    for (auto* buffer : {&a, &s}) {
      buffer->dim(0).set_bounds(0, width);
      buffer->dim(1).set_bounds(0, rows);
    }
    du.dim(0).set_bounds(0, width);
    du.dim(1).set_bounds(0, samples);
    const HardwareFacts facts = hardware_facts(get_target());
    const Var block("block"), lane("lane"), row("row"), grid("grid"), task("task");
    if (get_target().has_gpu_feature()) {
      du.gpu_tile(k_, n_, block, grid, lane, row, facts.gpu_block_x, facts.gpu_block_y, TailStrategy::GuardWithIf);
      sum_.compute_at(du, lane);
      return;
    }
    // Measured against one reading of both operands.
    du.split(k_, block, lane, facts.vector_width * facts.elementwise_unroll, TailStrategy::GuardWithIf)
        .vectorize(lane, facts.vector_width)
        .unroll(lane)
        .split(n_, task, row, max(1, facts.parallel_grain / max(width * max(rows_per_sample, 1), 1)),
               TailStrategy::GuardWithIf)
        .parallel(task);
    sum_.compute_at(du, block)
        .store_in(MemoryType::Stack)
        .bound_extent(k_, facts.vector_width * facts.elementwise_unroll);
    sum_.vectorize(k_, facts.vector_width).unroll(k_);
    sum_.update().reorder(k_, rows_).vectorize(k_, facts.vector_width).unroll(k_);
  }

 private:
  RDom rows_;
  Var k_{"k"}, n_{"n"};
  Func sum_{"sum"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::RowReduction, row_reduction)
HALIDE_REGISTER_GENERATOR(kindling::QuadraticForms, quadratic_forms)
HALIDE_REGISTER_GENERATOR(kindling::JacobianJoin, jacobian_join)
HALIDE_REGISTER_GENERATOR(kindling::ScaleRows, scale_rows)
HALIDE_REGISTER_GENERATOR(kindling::JacobianCurvature, jacobian_curvature)
