// The same sums as the tile's as dot products along k, sum_k A(k, row) * B(k, col), for operands that are contiguous
// along k. Nothing is packed, and no lane is spent on columns that do not exist: for few rows, where packing would cost
// more than they save, and for few columns, which would fill a fraction of a vector.
#pragma once

#include <algorithm>

#include "contraction.h"

namespace kindling {

class DotProducts {
 public:
  struct Shape {
    int rows = 1, cols = 4;  ///< sums that run side by side
    int vectors = 1;         ///< of partial sums of each
  };

  /// Whether the columns that do not fill a vector are cheaper as dot products than as a vector of the tile.
  static Halide::Expr pay_at_edge(const Tile::Operands& operands, const HardwareFacts& facts) {
    const int v = facts.vector_width;
    return operands.depth >= v && operands.cols % v * (operands.depth + facts.dot_end) <= v * operands.depth;
  }

  DotProducts() = default;
  /// Covers all rows, and the columns from `first_col` on, where `enabled` holds at run time, and nothing otherwise. It
  /// must not hold for a depth of less than `vectors` vectors.
  DotProducts(const std::string& name, const HardwareFacts& facts, const Shape& shape, const Tile::Operands& operands,
              const Halide::Expr& first_col, const Halide::Expr& enabled)
      : facts_(facts),
        shape_(shape),
        lanes_(std::min(facts.vector_width, facts.dot_lanes)),
        first_col_(first_col),
        width_(lanes_ * shape.vectors),
        term_(0, width_, 0, operands.depth / width_, "k_" + name),
        domain_(0, Halide::select(enabled, operands.cols - first_col, 0), 0, operands.rows, "at_" + name) {
    using namespace Halide;
    const Expr col = min(likely(first_col + col_), operands.cols - 1), row = min(likely(row_), operands.rows - 1);
    const auto product = [&](const Expr& k) { return operands.a(k, row) * operands.b(k, col); };
    Func lanes("lanes_" + name);
    lanes(lane_, col_, row_) = 0.0F;
    lanes(term_.x, col_, row_) += product(term_.y * width_ + term_.x);
    // The terms beyond the last whole step are the end of a step that overlaps it: masked stores are slow.
    const Expr beyond = operands.depth % width_;
    rest_ = RDom(0, width_, "rest_" + name);
    rest_.where(beyond > 0);
    const Expr last = unsafe_promise_clamped(operands.depth - width_ + rest_, 0, operands.depth - 1);
    lanes(rest_, col_, row_) += select(rest_ >= width_ - beyond, product(last), 0.0F);
    sums_.push_back(lanes);
    // The lanes are added up by halves.
    for (int n = width_ / 2; n > 0; n /= 2) {
      Func half("half" + std::to_string(n) + "_" + name);
      half(lane_, col_, row_) = sums_.back()(lane_, col_, row_) + sums_.back()(lane_ + n, col_, row_);
      sums_.push_back(half);
    }
  }

  /// The sum, for the epilogue. `col` is counted from `first_col`.
  Halide::Expr operator()(const Halide::Expr& col, const Halide::Expr& row) { return sums_.back()(0, col, row); }

  void store(Halide::Func f, const Contraction::Epilogue& epilogue) {
    target_ = f;
    update_ = f.num_update_definitions();
    const Halide::Expr col = first_col_ + domain_.x;
    f(col, domain_.y) = epilogue((*this)(domain_.x, domain_.y), col, domain_.y);
  }

  /// Several rows: they stay in L1 while all columns pass. One row: a block of columns does while all rows pass.
  void schedule_cpu() {
    using namespace Halide;
    const RVar group("group"), col("col"), tile("tile"), row("row"), task("task");
    const bool by_rows = shape_.rows > 1;
    Stage store = target_.update(update_);
    store.split(domain_.x, group, col, shape_.cols, TailStrategy::GuardWithIf)
        .split(domain_.y, tile, row, shape_.rows, TailStrategy::GuardWithIf);
    if (by_rows) {
      store.split(tile, task, tile, facts_.row_block_tiles, TailStrategy::GuardWithIf)
          .reorder(col, row, group, tile, task)
          .parallel(task);
    } else {
      store.split(group, task, group, facts_.row_block_tiles, TailStrategy::GuardWithIf)
          .reorder(col, row, tile, group, task)
          .parallel(task);
    }
    store.vectorize(col).unroll(row);
    // Copies of the loops are much code, and guards around the sums of a whole tile cost little; around those of a few
    // columns they cost as much as the sums.
    store.never_partition(tile, task);
    by_rows ? store.never_partition(group) : store.partition(group, Partition::Always);
    compute_at(LoopLevel(target_, by_rows ? group : tile));
  }

  /// CPU: the sums of one tile, in registers inside loop `level` of a consumer.
  void compute_at(const Halide::LoopLevel& level) {
    using namespace Halide;
    const int v = lanes_;
    int width = width_;
    for (Func& f : sums_) {
      f.compute_at(level).store_in(MemoryType::Stack).bound_extent(col_, shape_.cols).bound_extent(row_, shape_.rows);
      f.bound_extent(lane_, width).unroll(row_);
      f.unroll(col_);
      if (width >= v) {
        f.vectorize(lane_, v).unroll(lane_);
      } else if (width > 1) {
        f.vectorize(lane_);
      }
      width /= 2;
    }
    sums_.front()
        .update()
        .reorder(term_.x, col_, row_, term_.y)
        .vectorize(term_.x, v)
        .unroll(term_.x)
        .unroll(col_)
        .unroll(row_);
    const RVar vector("vector"), lane("lane");
    sums_.front()
        .update(1)
        .split(rest_.x, vector, lane, v)
        .reorder(lane, vector, col_, row_)
        .vectorize(lane)
        .unroll(vector)
        .unroll(col_)
        .unroll(row_);
  }

 private:
  HardwareFacts facts_;
  Shape shape_;
  int lanes_ = 1;
  Halide::Expr first_col_;
  int width_ = 1;
  std::vector<Halide::Func> sums_;
  Halide::Func target_;
  Halide::RDom term_, rest_, domain_;
  Halide::Var lane_{"lane"}, col_{"col"}, row_{"row"};
  int update_ = 0;
};

}  // namespace kindling
