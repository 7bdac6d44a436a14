// The same sums as the tile's, sum_k A(k, row) * B(k, col), one row at a time with B read where it lies, contiguous
// along its columns: for so few rows, or so few terms, that neither packing B nor a tile of several rows pays.
#pragma once

#include <string>
#include <vector>

#include "contraction.h"

namespace kindling {

class FewRows {
 public:
  FewRows() = default;
  /// Covers all rows and columns.
  FewRows(const std::string& name, const HardwareFacts& facts, const Tile::Operands& operands) : facts_(facts) {
    using namespace Halide;
    // Wide stripes of columns, then single vectors, then single columns: masked stores are slow.
    const int v = facts.vector_width, wide = v * facts.few_rows_vectors;
    const Expr whole = operands.cols / wide * wide, vectors = operands.cols / v * v;
    add(name, operands, wide, 0, whole);
    add(name + "_vector", operands, v, whole, vectors - whole);
    add(name + "_single", operands, 1, vectors, operands.cols - vectors);
  }

  /// Adds the updates f(col, row) = epilogue(sum, col, row), as Contraction::store.
  void store(Halide::Func f, const Contraction::Epilogue& epilogue) {
    target_ = f;
    for (Stripe& s : stripes_) {
      s.update = f.num_update_definitions();
      const Halide::Expr col = s.first_col + s.domain.x, row = s.domain.y;
      f(col, row) = epilogue(s.sum(s.domain.x, row), col, row);
    }
  }

  /// A task is a block of stripes by a block of rows.
  void schedule_cpu() {
    using namespace Halide;
    for (Stripe& s : stripes_) {
      const RVar col("col"), col_in("col_in"), cols("cols"), row("row"), rows("rows");
      const int v = std::min(facts_.vector_width, s.width);
      Stage store = target_.update(s.update);
      store.split(s.domain.x, col, col_in, s.width, TailStrategy::GuardWithIf)
          .split(col, cols, col, facts_.column_block_panels, TailStrategy::GuardWithIf)
          .split(s.domain.y, rows, row, facts_.row_block_tiles, TailStrategy::GuardWithIf)
          .reorder(col_in, col, row, cols, rows)
          .never_partition(col, row, cols, rows)
          .parallel(cols)
          .parallel(rows);
      s.sum.compute_at(target_, col).store_in(MemoryType::Stack).bound_extent(s.col, s.width);
      if (s.width == 1) continue;
      store.vectorize(col_in, v).unroll(col_in);
      s.sum.vectorize(s.col, v).unroll(s.col);
      s.sum.update().reorder(s.col, s.term).vectorize(s.col, v).unroll(s.col);
    }
  }

 private:
  struct Stripe {
    int width;
    Halide::Expr first_col;
    Halide::RDom domain, term;
    Halide::Func sum;
    Halide::Var col{"col"}, row{"row"};
    int update = 0;
  };

  void add(const std::string& name, const Tile::Operands& o, int width, const Halide::Expr& first,
           const Halide::Expr& cols) {
    using namespace Halide;
    Stripe s{width, first, RDom(0, cols, 0, o.rows, "at_" + name), RDom(0, o.depth, "k_" + name), Func("sum_" + name)};
    s.sum(s.col, s.row) = 0.0F;
    // A stripe that is computed lies inside the operand; one that is not must ask for nothing.
    const Expr col = unsafe_promise_clamped(first + s.col, 0, o.cols - 1);
    s.sum(s.col, s.row) += o.a(s.term, s.row) * o.b(s.term, col);
    stripes_.push_back(s);
  }

  HardwareFacts facts_;
  Halide::Func target_;
  std::vector<Stripe> stripes_;
};

}  // namespace kindling
