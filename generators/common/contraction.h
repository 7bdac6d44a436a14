// A whole contraction whose result is stored, or folded into a stored array, element by element: the tile of tile.h
// over a matrix of any size.
//
// The columns are covered by panels of full width and, where vectors are left over, by one narrower panel, so that ten
// outputs do not cost thirty-two. Long sums can be blocked. Which tile covers what is decided at run time by the
// extents of the tiles' domains; a domain that is not needed is empty and costs nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tile.h"

namespace kindling {

class Contraction {
 public:
  /// What to store at (col, row), given the sum.
  using Epilogue = std::function<Halide::Tuple(Halide::Expr sum, Halide::Expr col, Halide::Expr row)>;

  /// In what order the tiles of a region are visited, and what for.
  enum class Walk {
    panels,          ///< all rows pass by one packed panel of B
    fresh_panels,    ///< the same, each panel packed just before, into memory still in cache: for one block of rows
    in_place,        ///< the same, the panel read where it lies: for too few rows to pay for packing it
    rows,            ///< some panels pass by one tile of A, A and B packed: for many strided rows of A, which miss L1
    depth_in_blocks  ///< the terms are added up block by block, A and B packed: for long sums
  };

  /// A range of columns and the tile that covers it.
  struct Region {
    Tile tile;
    Halide::RDom domain;  ///< x: columns from first_col, y: rows
    Halide::Expr first_col, cols;
    Walk walk = Walk::panels;
    int update = 0;
  };

  struct Options {
    bool over_samples = false;  ///< long sums are added up in blocks, and short ones over few rows read B in place
    Halide::Expr enabled = {};  ///< if given: where false at run time, another store covers the result (not on a GPU)
    Halide::Expr edge = {};     ///< likewise for the columns beyond the last whole vector
    bool fresh = false;         ///< walk few rows by fresh panels: more code, for kernels that see small batches
    bool in_blocks = true;  ///< very long sums are added up in blocks of terms; false: the consumer cannot have that
  };

  /// Whether the sums have so many terms that they are added up in blocks, all columns alike, edge included.
  static Halide::Expr is_deep(const Tile::Operands& operands, const HardwareFacts& facts, bool over_samples = false) {
    return operands.depth > (over_samples ? 2 : facts.deep_blocks) * facts.depth_block;
  }

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
      direct.read_back.clear();                  // other threads of the block work while one waits
      const int width = facts.gpu_thread_tile_x;
      add(name, {facts.gpu_thread_tile_y, width, 1}, direct, 0, (operands.cols + width - 1) / width, Walk::panels,
          true);
      return;
    }
    const int v = facts.vector_width, wide = facts.tile_vectors;
    const Expr vectors = operands.cols / v;
    const Expr enabled = options.enabled.defined() ? options.enabled : cast<bool>(true);
    Tile::Operands copied = operands;
    copied.copy_a = options.over_samples;
    struct TileRows {
      int wide, narrow;
    };
    const auto whole = [&](const std::string& label, const Expr& here, Walk walk, const TileRows& rows) {
      const Tile::Operands& o = walk == Walk::rows ? copied : operands;
      add(label, {rows.wide, wide, v}, o, 0, select(here, vectors / wide, 0), walk);
      for (int n = 1; n < wide; ++n) {
        add(label + "_narrow" + std::to_string(n), {rows.narrow, n, v}, o, vectors / wide * (wide * v),
            cast<int>(here && vectors % wide == n), walk);
      }
    };
    const TileRows usual{facts.tile_rows, facts.narrow_rows};
    const auto edge = [&](const Expr& here) {
      const Expr left = here && operands.cols % v != 0;
      add(name + "_edge", {facts.narrow_rows, 1, v}, operands, vectors * v, cast<int>(left), Walk::panels, true);
    };
    Expr shallow = enabled;
    if (options.in_blocks) {
      const Expr deep = is_deep(operands, facts, options.over_samples);
      shallow = enabled && !deep;
      // One tile shape covers all columns: a second one would pack A again.
      add(name + "_deep", {facts.deep_rows, wide, v}, copied, 0,
          select(enabled && deep, (operands.cols + wide * v - 1) / (wide * v), 0), Walk::depth_in_blocks, true);
    }
    if (!options.over_samples) {
      Expr many = shallow;
      if (options.fresh) {
        const Expr one_block = operands.rows <= fresh_row_tiles() * facts.tile_rows;
        Expr few = shallow && one_block;
        if (const int second = facts.second_tile_rows; second > 1) {
          const auto covered = [&](int rows) { return (operands.rows + rows - 1) / rows * rows; };
          const Expr better = covered(second) * 16 < covered(facts.tile_rows) * 15;
          whole(name + "_second", few && better, Walk::fresh_panels, {second, second});
          few = few && !better;
        }
        whole(name + "_fresh", few, Walk::fresh_panels, usual);
        many = shallow && !one_block;
      }
      whole(name, many, Walk::panels, usual);
      edge(options.edge.defined() ? shallow && options.edge : shallow);
      return;
    }
    const Expr few = operands.rows <= facts.in_place_rows;
    whole(name + "_few", shallow && few, Walk::in_place, usual);
    whole(name, shallow && !few, Walk::rows, usual);
    edge(shallow);
  }

  /// Adds the updates f(col, row) = epilogue(sum, col, row) that cover all columns and rows. `f` needs a pure
  /// definition; make it undef where every element is stored here.
  void store(Halide::Func f, const Epilogue& epilogue) {
    target_ = f;
    for (Region& r : regions_) {
      r.update = f.num_update_definitions();
      const Halide::Expr col = r.first_col + r.domain.x, row = r.domain.y;
      f(col, row) = epilogue(r.tile(r.domain.x, row), col, row);
    }
  }

  /// CPU schedule of the stores: row tiles stream past one panel of columns; a task is one panel (of a long sum: a
  /// block of panels) by one block of rows.
  void schedule_cpu() {
    using namespace Halide;
    for (Region& r : regions_) {
      RVar col("col"), col_in("col_in"), cols("cols"), row("row"), row_in("row_in"), rows("rows");
      const Tile::Shape& shape = r.tile.shape();
      const bool fresh = r.walk == Walk::fresh_panels, by_rows = r.walk == Walk::rows;
      const bool one_panel = r.walk == Walk::panels || r.walk == Walk::in_place || fresh;
      // Smaller tasks where each already has a block of panels.
      const Expr row_tiles = by_rows                           ? Expr(facts_.row_block_tiles / 4)
                             : fresh                           ? Expr(fresh_row_tiles())
                             : r.walk == Walk::depth_in_blocks ? r.tile.task_row_tiles(facts_)
                                                               : Expr(facts_.row_block_tiles);
      Stage store = target_.update(r.update);
      store.split(r.domain.x, col, col_in, shape.cols(), TailStrategy::GuardWithIf)
          .split(r.domain.y, row, row_in, shape.rows, TailStrategy::GuardWithIf)
          .split(col, cols, col, one_panel ? 1 : facts_.column_block_panels, TailStrategy::GuardWithIf)
          .split(row, rows, row, row_tiles, TailStrategy::GuardWithIf);
      if (by_rows) {
        store.reorder(col_in, row_in, col, row, cols, rows);
      } else {
        store.reorder(col_in, row_in, row, col, cols, rows);
      }
      store.vectorize(col_in, shape.vector_width).unroll(col_in).unroll(row_in).parallel(cols).parallel(rows);
      if (r.walk == Walk::depth_in_blocks) {
        r.tile.compute_in_blocks(facts_);
      } else {
        std::optional<LoopLevel> pack;
        if (fresh) pack = LoopLevel(target_, cols);
        r.tile.compute_at(LoopLevel(target_, by_rows ? col : row), pack);
      }
      // The only block is an incomplete one: it must not be the slow copy of the loops.
      if (fresh) store.never_partition(rows);
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
      r.tile.compute_at_thread(LoopLevel(target_, thread_x), facts_);
    }
  }

  /// For a consumer that is not an element-wise store.
  std::vector<Region>& regions() { return regions_; }

 private:
  /// Most tiles of a single block of rows: a half more than of one among several.
  [[nodiscard]] int fresh_row_tiles() const { return facts_.row_block_tiles * 3 / 2; }

  // `partial`: the last panel may hold columns beyond the end.
  void add(const std::string& name, Tile::Shape shape, Tile::Operands o, const Halide::Expr& first_col,
           const Halide::Expr& panels, Walk walk, bool partial = false) {
    using namespace Halide;
    shape.transpose_stride = facts_.transpose_stride;
    // Or operands would be copied for nothing.
    if (o.copy_a || walk == Walk::depth_in_blocks) o.depth = select(panels > 0, o.depth, 0);
    if (walk == Walk::in_place) o.layout = Layout::in_place;
    if (walk == Walk::depth_in_blocks) o.read_back.clear();  // the sums of a block lie in between
    const Expr width = panels * shape.cols();
    const Expr cols = partial ? min(width, o.cols - first_col) : width;
    // No rows either where there are no columns: A would be packed for them.
    const RDom domain(0, cols, 0, select(cols > 0, o.rows, 0), "at_" + name);
    regions_.push_back({Tile(name, shape, o, first_col), domain, first_col, cols, walk});
  }

  HardwareFacts facts_;
  Halide::Func target_;
  std::vector<Region> regions_;
};

}  // namespace kindling
