// The same sums as the tile's, for a handful of rows: sum_k A(k, row) * B(k, col) with both operands contiguous along
// k, as dot products along k. Nothing is packed, which would cost more than the few rows that use it.
#pragma once

#include "contraction.h"

namespace kindling {

class DotProducts {
 public:
  DotProducts() = default;
  /// Covers all columns and rows where `enabled` holds at run time, and nothing otherwise.
  DotProducts(const std::string& name, const HardwareFacts& facts, const Tile::Operands& operands, Halide::Expr enabled)
      : facts_(facts),
        sum_("sum_" + name),
        k_(0, operands.depth, "k_" + name),
        domain_(0, Halide::select(enabled, operands.cols, 0), 0, operands.rows, "at_" + name) {
    using namespace Halide;
    sum_(col_, row_) = 0.0F;
    sum_(col_, row_) += operands.a(k_, row_) * operands.b(k_, min(likely(col_), operands.cols - 1));
  }

  void store(Halide::Func f, const Contraction::Epilogue& epilogue) {
    target_ = f;
    update_ = f.num_update_definitions();
    f(domain_.x, domain_.y) = epilogue(sum_(domain_.x, domain_.y), domain_.x, domain_.y);
  }

  /// One partial sum per lane and column; the lanes are added up at the end, in order.
  void schedule_cpu() {
    using namespace Halide;
    const RVar block("block"), col("col"), outer("outer"), inner("inner");
    const Var lane("lane");
    const int v = facts_.vector_width, cols = facts_.dot_columns;
    target_.update(update_)
        .split(domain_.x, block, col, cols, TailStrategy::GuardWithIf)
        .reorder(col, domain_.y, block)
        .vectorize(col)
        .parallel(block);
    sum_.update().split(k_, outer, inner, v, TailStrategy::GuardWithIf);
    Func partial = sum_.update().rfactor(inner, lane);
    sum_.compute_at(target_, domain_.y).store_in(MemoryType::Stack).bound_extent(col_, cols).unroll(col_);
    sum_.update().reorder(col_, inner).unroll(col_);
    partial.compute_at(target_, domain_.y).store_in(MemoryType::Stack).bound_extent(col_, cols).bound_extent(lane, v);
    partial.reorder_storage(lane, col_, row_);
    partial.reorder(lane, col_).vectorize(lane, v).unroll(col_);
    partial.update().reorder(lane, col_, outer).vectorize(lane, v, TailStrategy::GuardWithIf).unroll(col_);
  }

 private:
  HardwareFacts facts_;
  Halide::Func sum_, target_;
  Halide::RDom k_, domain_;
  Halide::Var col_{"col"}, row_{"row"};
  int update_ = 0;
};

}  // namespace kindling
