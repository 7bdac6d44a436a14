// The contraction tile: sum_k A(k, row) * B(k, col), computed in registers tile by tile and consumed at once.
//
// A generator gives the operands as expressions (the prologue: a mask, a perturbation, a square fused into the load),
// gets the value of the sum as an expression for its epilogue, and names the consuming stage; the rest (packing,
// register tile, cache blocks, tails of any size) is here and in contraction.h, and comes from the hardware facts.
//
// Columns are the vectorised, contiguous dimension of the result, rows are broadcast.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "Halide.h"
#include "hardware.h"
#include "prefetch.h"

namespace kindling {

/// How operand B lies in memory, which decides how its panels are packed.
enum class Layout {
  depth_contiguous,   ///< contiguous along k: dense loads along k, transposed by the stores
  column_contiguous,  ///< contiguous along its columns: plain copies of short runs
  in_place,           ///< contiguous along its columns, which fill whole vectors: read where it lies
};

/// GPU: the elements of a packed operand, contiguous along `in`, that a step of a thread's sum needs: a few wide loads
/// into registers. In the accumulation itself it would be a load for each product.
inline Halide::Func load_packed_on_gpu(Halide::Func packed, const Halide::Func& sum, const Halide::RVar& k,
                                       const Halide::Var& in, int width, const HardwareFacts& facts) {
  Halide::Func loaded = packed.in(sum);
  loaded.compute_at(sum, k).store_in(Halide::MemoryType::Register).bound_extent(in, width);
  return loaded.vectorize(in, std::min(width, facts.gpu_vector_width)).unroll(in);
}

/// So many pieces of `size` hold `count`.
inline Halide::Expr pieces(const Halide::Expr& count, const Halide::Expr& size) { return (count + size - 1) / size; }

class Tile {
 public:
  /// An operand element as an expression of k and the operand's row or column.
  using Operand = std::function<Halide::Expr(Halide::Expr k, Halide::Expr index)>;

  struct Shape {
    int rows = 4;
    int vectors = 2;
    int vector_width = 4;
    int transpose_stride = 4;  ///< of the squares in which B is transposed
    [[nodiscard]] int cols() const { return vectors * vector_width; }
  };

  struct Operands {
    Halide::Expr depth, rows, cols;
    Operand a, b;
    Layout layout = Layout::depth_contiguous;  ///< of B
    bool copy_a = false;  ///< pack A too, which must be contiguous along its rows: for strided reads that would miss
    std::vector<Halide::OutputImageParam> read_back = {};  ///< by the epilogue at the tile's place: fetched meanwhile
  };

  /// `a` and `b` are only ever asked for indices inside [0, rows) and [0, cols): the tail of the last tile repeats the
  /// last row, and its excess columns hold arbitrary numbers, which a reduction over columns must leave out. Columns of
  /// this tile are counted from `first_col`.
  Tile(const std::string& name, const Shape& shape, const Operands& operands, Halide::Expr first_col = 0)
      : shape_(shape),
        layout_(operands.layout),
        copies_a_(operands.copy_a),
        row_tiles_(pieces(operands.rows, shape.rows)),
        panels_(pieces(operands.cols - first_col, shape.cols())),
        a_("a_" + name),
        b_("b_" + name),
        sum_("sum_" + name) {
    using namespace Halide;
    if (operands.copy_a) {
      define_copy(a_, copy_a_, row_in_, row_tile_, shape.rows, 0, operands.rows, operands.a);
    } else {
      a_(row_in_, depth_, row_tile_) =
          operands.a(depth_, min(likely(row_tile_ * shape.rows + row_in_), operands.rows - 1));
    }
    if (layout_ == Layout::in_place) {
      b_(col_in_, depth_, panel_) = operands.b(depth_, first_col + panel_ * shape.cols() + col_in_);
    } else if (layout_ == Layout::column_contiguous) {
      define_copy(b_, copy_b_, col_in_, panel_, shape.cols(), first_col, operands.cols, operands.b);
    } else {
      source_(depth_, index_) =
          operands.b(min(likely(depth_), max(operands.depth - 1, 0)), min(likely(index_), operands.cols - 1));
      b_(col_in_, depth_, panel_) = source_(depth_, first_col + panel_ * shape.cols() + col_in_);
    }
    sum_(col_in_, row_in_, panel_, row_tile_) = 0.0F;
    // Fetching is a loop of its own: all through the sum it would cost instructions that narrow vectors do not leave.
    const PrefetchedTile tile{operands.read_back, first_col + panel_ * shape.cols(), row_tile_ * shape.rows, shape.rows,
                              shape.cols()};
    const Expr fetches = operands.read_back.empty() ? 0 : min(tile.steps(), operands.depth);
    if (!operands.read_back.empty()) {
      fetch_ = RDom(0, fetches, "fetch_" + name);
      sum_(col_in_, row_in_, panel_, row_tile_) +=
          fetching(a_(row_in_, fetch_, row_tile_), tile, fetch_, row_in_) * b_(col_in_, fetch_, panel_);
    }
    k_ = RDom(fetches, operands.depth - fetches, "k_" + name);
    sum_(col_in_, row_in_, panel_, row_tile_) += a_(row_in_, k_, row_tile_) * b_(col_in_, k_, panel_);
  }

  [[nodiscard]] const Shape& shape() const { return shape_; }

  /// The sum, for the epilogue. `col` is counted from `first_col`.
  Halide::Expr operator()(Halide::Expr col, Halide::Expr row) {
    // The maximum tells Halide that a tile's index is not negative: only then are its accumulators at constant places.
    return sum_(col % shape_.cols(), row % shape_.rows, col / shape_.cols(), max(row / shape_.rows, 0));
  }

  /// CPU: accumulates in registers inside loop `level` of the consumer, whose inner loops are one tile. B is packed
  /// once, before all loops, or panel by panel inside loop `pack`, if given.
  void compute_at(const Halide::LoopLevel& level, const std::optional<Halide::LoopLevel>& pack = {}) {
    sum_.compute_at(level).store_in(Halide::MemoryType::Stack);
    schedule_registers(sum_);
    if (fetch_.defined()) schedule_registers(sum_.update(0), fetch_);
    schedule_registers(sum_.update(fetch_.defined() ? 1 : 0), k_);
    if (copies_a_) {
      a_.compute_root();
      schedule_copy_of_a();
    }
    if (layout_ == Layout::in_place) return;
    b_.compute_at(pack.value_or(Halide::LoopLevel::root()));
    schedule_packing(!pack);
  }

  /// Row tiles of a task of a long sum: as many as go with a block of panels at most, alike in all tasks, and no more
  /// than leave some cores each a task.
  [[nodiscard]] Halide::Expr task_row_tiles(const HardwareFacts& facts) const {
    const Halide::Expr across = max(pieces(panels_, facts.column_block_panels), 1);
    return max(pieces(row_tiles_, max(pieces(row_tiles_, facts.row_block_tiles), pieces(least_tasks, across))), 1);
  }

  /// CPU, for long sums: all sums lie in memory, and the terms are added to them block by block, A (copy_a) and B
  /// packed for one block of terms at a time. A block's panel stays in L1 while the rows of a block of rows, in L2,
  /// pass by.
  void compute_in_blocks(const HardwareFacts& facts) {
    using namespace Halide;
    const RVar outer("outer"), inner("inner");
    const Var block("block"), rows("rows"), panels("panels");
    sum_.update().split(k_, outer, inner, facts.depth_block, TailStrategy::GuardWithIf);
    Func partial = sum_.update().rfactor(outer, block);
    // In memory as they are visited, or each tile would wait for its sums.
    sum_.compute_root()
        .bound_extent(col_in_, shape_.cols())
        .bound_extent(row_in_, shape_.rows)
        .reorder_storage(col_in_, row_in_, row_tile_, panel_)
        .vectorize(col_in_, shape_.vector_width)
        .unroll(col_in_)
        .unroll(row_in_)
        .parallel(panel_);
    sum_.update()
        .split(row_tile_, rows, row_tile_, task_row_tiles(facts), TailStrategy::GuardWithIf)
        .split(panel_, panels, panel_, facts.column_block_panels, TailStrategy::GuardWithIf)
        .reorder(col_in_, row_in_, row_tile_, panel_, panels, rows, outer)
        .vectorize(col_in_, shape_.vector_width)
        .unroll(col_in_)
        .unroll(row_in_)
        .parallel(panels)
        .parallel(rows);
    partial.compute_at(sum_, row_tile_).store_in(MemoryType::Stack);
    schedule_registers(partial);
    schedule_registers(partial.update(), inner);
    b_.compute_at(sum_, outer);
    schedule_packing();
    a_.compute_at(sum_, outer);
    if (copies_a_) {
      schedule_copy_of_a();
    } else {
      // Rows of A a power of two apart share cache sets; here they lie close together.
      a_.reorder_storage(depth_, row_in_, row_tile_)
          .reorder(depth_, row_in_, row_tile_)
          .bound_extent(row_in_, shape_.rows)
          .align_storage(depth_, facts.depth_block)
          .vectorize(depth_, shape_.vector_width, TailStrategy::GuardWithIf)
          .parallel(row_tile_);
    }
  }

  /// GPU: accumulators in the registers of each thread; `level` is the consumer's innermost thread loop. Both operands
  /// are packed before, tile by tile, so that a step loads 16 bytes at a time from places that all threads of a row or
  /// a column share; an operand read where it lies costs a load and an address for each of its elements.
  void compute_at_thread(const Halide::LoopLevel& level, const HardwareFacts& facts) {
    using namespace Halide;
    sum_.compute_at(level).store_in(MemoryType::Register);
    sum_.bound_extent(col_in_, shape_.cols()).bound_extent(row_in_, shape_.rows).unroll(col_in_).unroll(row_in_);
    sum_.update().reorder(col_in_, row_in_, k_).unroll(col_in_).unroll(row_in_);
    pack_on_gpu(a_, row_in_, row_tile_, shape_.rows, facts);
    pack_on_gpu(b_, col_in_, panel_, shape_.cols(), facts);
  }

 private:
  // An operand copied in runs of `width` contiguous elements. Clamped indices would make every load of the last run a
  // gather, so that the copy is an update whose domain ends with the operand: whole vectors, then single elements.
  void define_copy(Halide::Func& f, Halide::RDom& copy, const Halide::Var& in, const Halide::Var& run, int width,
                   Halide::Expr first, Halide::Expr end, const Operand& source) {
    using namespace Halide;
    copy = RDom(0, width, "copy");
    const Expr index = first + run * width + copy;
    copy.where(likely(index < end));
    f(in, depth_, run) = undef<float>();
    f(copy, depth_, run) = source(depth_, unsafe_promise_clamped(index, 0, end - 1));
  }

  void schedule_copy_of_a() {
    const Halide::Var chunk("chunk");
    a_.bound_extent(row_in_, shape_.rows);
    // A few terms of all rows at a time: a cache line, which holds parts of several tiles, is read once.
    a_.update().split(depth_, chunk, depth_, copied_terms, Halide::TailStrategy::GuardWithIf);
    a_.update().reorder(copy_a_, depth_, row_tile_, chunk).vectorize(copy_a_).parallel(chunk);
  }

  void schedule_packing(bool parallel = true) {
    using namespace Halide;
    b_.bound_extent(col_in_, shape_.cols());
    if (layout_ == Layout::depth_contiguous) {
      // Transposed in squares of four by four: dense loads, shuffles in registers, dense stores.
      const Var outer("outer"), inner("inner"), square("square"), lane("lane");
      b_.split(depth_, outer, inner, 4, TailStrategy::GuardWithIf).split(col_in_, square, lane, 4);
      b_.reorder(lane, inner, square, outer, panel_).vectorize(lane).unroll(inner);
      if (parallel) b_.parallel(panel_);
      source_.compute_at(b_, square).store_in(MemoryType::Stack).bound_extent(depth_, 4).bound_extent(index_, 4);
      if (shape_.transpose_stride > 4) source_.bound_storage(depth_, shape_.transpose_stride);
      source_.vectorize(depth_).unroll(index_);
    } else {
      b_.update().reorder(copy_b_, depth_, panel_).vectorize(copy_b_, shape_.vector_width).unroll(copy_b_);
      if (parallel) b_.update().parallel(panel_);
    }
  }

  void pack_on_gpu(Halide::Func& f, const Halide::Var& in, const Halide::Var& run, int width,
                   const HardwareFacts& facts) {
    using namespace Halide;
    const Var block("block"), thread("thread");
    load_packed_on_gpu(f, sum_, k_, in, width, facts);
    f.compute_root().bound_extent(in, width);
    f.reorder(in, depth_, run).vectorize(in, std::min(width, facts.gpu_vector_width)).unroll(in);
    f.gpu_tile(depth_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf).gpu_blocks(run);
  }

  void schedule_registers(Halide::Func f) {
    f.bound_extent(col_in_, shape_.cols())
        .bound_extent(row_in_, shape_.rows)
        .bound_extent(panel_, 1)
        .bound_extent(row_tile_, 1);
    f.reorder(col_in_, row_in_).vectorize(col_in_, shape_.vector_width).unroll(col_in_).unroll(row_in_);
  }
  void schedule_registers(Halide::Stage s, const Halide::RVar& k) {
    s.reorder(col_in_, row_in_, k).vectorize(col_in_, shape_.vector_width).unroll(col_in_).unroll(row_in_);
  }

  Shape shape_;
  static constexpr int copied_terms = 32;  // terms of A that one task copies
  static constexpr int least_tasks = 4;    // of a long sum, if there are as many tiles

  Layout layout_;
  bool copies_a_;
  Halide::Expr row_tiles_, panels_;
  Halide::RDom k_, fetch_, copy_a_, copy_b_;
  Halide::Func a_, b_, source_{"source"}, sum_;
  Halide::Var col_in_{"col_in"}, row_in_{"row_in"}, panel_{"panel"}, row_tile_{"row_tile"}, depth_{"depth"},
      index_{"index"};
};

/// Columns that tiles of one shape cover.
struct ColumnRange {
  std::string suffix;  ///< of the names of what computes them
  Tile::Shape shape;
  Halide::Expr first, width;
  bool partial;  ///< the last panel may hold columns beyond the end
};
/// All columns: whole panels of `tile_vectors` vectors, the whole vectors that are left, and what fills none.
inline std::vector<ColumnRange> column_ranges(const HardwareFacts& facts, const Halide::Expr& cols) {
  const int v = facts.vector_width, wide = facts.tile_vectors;
  const Halide::Expr vectors = cols / v, in_panels = vectors / wide * (wide * v);
  std::vector<ColumnRange> ranges{{"", {facts.tile_rows, wide, v}, 0, in_panels, false}};
  for (int n = 1; n < wide; ++n) {
    ranges.push_back({"_narrow" + std::to_string(n),
                      {facts.narrow_rows, n, v},
                      in_panels,
                      select(vectors % wide == n, n * v, 0),
                      false});
  }
  ranges.push_back({"_edge", {facts.narrow_rows, 1, v}, vectors * v, cols % v, true});
  return ranges;
}

}  // namespace kindling
