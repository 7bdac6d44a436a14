// A whole contraction whose result is stored, or folded into a stored array, element by element: the tile of tile.h
// over a matrix of any size.
//
// The columns are covered by panels of full width and, where vectors are left over, by one narrower panel, so that ten
// outputs do not cost thirty-two. Long sums can be blocked. Which tile covers what is decided at run time by the
// extents of the tiles' domains; a domain that is not needed is empty and costs nothing.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tile.h"

namespace kindling {

class Contraction {
 public:
  /// What to store at (col, row), given the sum.
  using Epilogue = std::function<Halide::Tuple(Halide::Expr sum, Halide::Expr col, Halide::Expr row)>;

  /// A range of columns and the tile that covers it.
  struct Region {
    Tile tile;
    Halide::RDom domain;  ///< x: columns from first_col, y: rows
    Halide::Expr first_col, cols;
    bool blocked = false;
    int update = 0;
  };

  struct Options {
    bool block_depth = false;   ///< block sums of many more than facts.depth_block terms: for sums over samples
    Halide::Expr enabled = {};  ///< if given: where false at run time, another store covers the result (not on a GPU)
    Halide::Expr edge = {};     ///< likewise for the columns beyond the last whole vector
  };

  Contraction() = default;
  Contraction(const std::string& name, const HardwareFacts& facts, bool gpu, const Tile::Operands& operands)
      : Contraction(name, facts, gpu, operands, Options()) {}
  Contraction(const std::string& name, const HardwareFacts& facts, bool gpu, const Tile::Operands& operands,
              const Options& options)
      : facts_(facts) {
    using namespace Halide;
    if (gpu) {
      Tile::Operands direct = operands;
      direct.layout = Layout::depth_contiguous;  // nothing is packed: each thread reads what it needs, clamped
      const int width = facts.gpu_thread_tile_x;
      add(name, {facts.gpu_thread_tile_y, width, 1}, direct, 0, (operands.cols + width - 1) / width, Cover::some);
      return;
    }
    const int v = facts.vector_width, wide = facts.tile_vectors;
    const Expr vectors = operands.cols / v;
    for (const bool blocked : {false, true}) {
      if (blocked && !options.block_depth) break;
      Expr here = cast<bool>(true);
      if (options.block_depth) here = (operands.depth > 2 * facts.depth_block) == cast<bool>(blocked);
      if (options.enabled.defined()) here = here && options.enabled;
      const auto panels = [&](const Expr& count) { return select(here, count, 0); };
      if (blocked) {
        // One tile shape covers all columns: a second one would pack A again.
        add(name + "_deep", {facts.tile_rows, wide, v}, operands, 0, panels((operands.cols + wide * v - 1) / (wide * v)), Cover::deep);
        continue;
      }
      add(name, {facts.tile_rows, wide, v}, operands, 0, panels(vectors / wide), Cover::all);
      for (int n = 1; n < wide; ++n) {
        add(name + "_narrow" + std::to_string(n), {facts.narrow_rows, n, v}, operands, vectors / wide * (wide * v),
            panels(cast<int>(vectors % wide == n)), Cover::all);
      }
      Expr edge = operands.cols % v != 0;
      if (options.edge.defined()) edge = edge && options.edge;
      add(name + "_edge", {facts.narrow_rows, 1, v}, operands, vectors * v, panels(cast<int>(edge)), Cover::some);
    }
  }

  /// Adds the updates f(col, row) = epilogue(sum, col, row) that cover all columns and rows. `f` needs a pure
  /// definition; make it undef where every element is stored here.
  void store(Halide::Func f, const Epilogue& epilogue) {
    target_ = f;
    for (Region& r : regions_) {
      r.update = f.num_update_definitions();
      const Halide::Expr col = r.first_col + r.domain.x;
      const Halide::Expr row = r.domain.y;
      f(col, row) = epilogue(r.tile(r.domain.x, r.domain.y), col, row);
    }
  }

  /// CPU schedule of the stores: row tiles stream past one panel of columns; a task is one panel (of a long sum: a
  /// block of panels) by one block of rows.
  void schedule_cpu() {
    using namespace Halide;
    for (Region& r : regions_) {
      RVar col("col"), col_in("col_in"), cols("cols"), row("row"), row_in("row_in"), rows("rows");
      const Tile::Shape& shape = r.tile.shape();
      target_.update(r.update)
          .split(r.domain.x, col, col_in, shape.cols(), TailStrategy::GuardWithIf)
          .split(r.domain.y, row, row_in, shape.rows, TailStrategy::GuardWithIf)
          .split(col, cols, col, r.blocked ? facts_.column_block_panels : 1, TailStrategy::GuardWithIf)
          .split(row, rows, row, row_block(r), TailStrategy::GuardWithIf)
          .reorder(col_in, row_in, row, col, cols, rows)
          .vectorize(col_in, shape.vector_width)
          .unroll(col_in)
          .unroll(row_in)
          .parallel(cols)
          .parallel(rows);
      if (r.blocked) {
        r.tile.compute_in_blocks_at(LoopLevel(target_, cols), facts_.depth_block);
      } else {
        r.tile.compute_at(LoopLevel(target_, row));
      }
    }
  }

  /// GPU schedule of the stores: one thread owns a small tile in registers.
  void schedule_gpu() {
    using namespace Halide;
    for (Region& r : regions_) {
      RVar col("col"), col_in("col_in"), row("row"), row_in("row_in"), thread_x("thread_x"), thread_y("thread_y");
      const Tile::Shape& shape = r.tile.shape();
      target_.update(r.update)
          .split(r.domain.x, col, col_in, shape.cols(), TailStrategy::GuardWithIf)
          .split(r.domain.y, row, row_in, shape.rows, TailStrategy::GuardWithIf)
          .split(col, col, thread_x, facts_.gpu_block_x, TailStrategy::GuardWithIf)
          .split(row, row, thread_y, facts_.gpu_block_y, TailStrategy::GuardWithIf)
          .reorder(col_in, row_in, thread_x, thread_y, col, row)
          .unroll(col_in)
          .unroll(row_in)
          .gpu_blocks(col, row)
          .gpu_threads(thread_x, thread_y);
      r.tile.compute_at_thread(LoopLevel(target_, thread_x));
    }
  }

  /// For a consumer that is not an element-wise store.
  std::vector<Region>& regions() { return regions_; }

 private:
  // Whether the last panel of a region holds columns beyond the end; a deep region is also summed in blocks.
  enum class Cover { all, some, deep };

  void add(const std::string& name, const Tile::Shape& shape, Tile::Operands o, Halide::Expr first_col,
           Halide::Expr panels, Cover cover) {
    using namespace Halide;
    o.copy_a = cover == Cover::deep;
    const Expr width = panels * shape.cols();
    const Expr cols = cover == Cover::all ? width : min(width, o.cols - first_col);
    const RDom domain(0, cols, 0, o.rows, "at_" + name);
    regions_.push_back({Tile(name, shape, o, first_col), domain, first_col, cols, cover == Cover::deep});
  }

  [[nodiscard]] Halide::Expr row_block(const Region& r) const {
    const Halide::Expr tile_bytes = max(r.tile.depth(), 1) * (4 * r.tile.shape().rows);
    return clamp(facts_.row_block_bytes / tile_bytes, 1, facts_.row_block_tiles);
  }

  HardwareFacts facts_;
  Halide::Func target_;
  std::vector<Region> regions_;
};

}  // namespace kindling
