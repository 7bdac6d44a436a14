// sum_k A_s(k, row) B_s(k, col) for every sample s, where B_s is made panel by panel inside the consumer's loops and
// never stored: the batch of small products that perturbed parameters lead to.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "Halide.h"
#include "hardware.h"
#include "tile.h"

namespace kindling {

/// Makes B_s a panel of columns at a time.
class PanelSource {
 public:
  virtual ~PanelSource() = default;
  /// Element of column `col` (counted from the region's first) for 0 <= col % width < width; `in_tile` is
  /// col % (columns of a tile), by which the indices inside a tile stay constants.
  virtual Halide::Expr at(const Halide::Expr& in_tile, const Halide::Expr& k, const Halide::Expr& tile,
                          const Halide::Expr& sample) = 0;
  /// One panel of one sample inside loop `level`.
  virtual void schedule_cpu(const Halide::LoopLevel& level) = 0;
  /// All panels, before the product; a step `k` of a thread's `sum` loads a tile's columns into registers.
  virtual void schedule_gpu(const Halide::Func& sum, const Halide::RVar& k) = 0;
};

class SampledProduct {
 public:
  struct Shape {
    int rows = 4, vectors = 2, vector_width = 4;  ///< of a register tile
    int tiles = 1;                                ///< tiles side by side that make a panel
    [[nodiscard]] int cols() const { return vectors * vector_width; }
    [[nodiscard]] int panel_cols() const { return tiles * cols(); }
  };
  struct Operands {
    Halide::Expr depth, rows, cols, samples;
    std::function<Halide::Expr(Halide::Expr k, Halide::Expr row, Halide::Expr sample)> a;
    /// B's panels from column `first` on; `partial`: columns beyond the end are asked for, and not used.
    std::function<std::shared_ptr<PanelSource>(const std::string& name, Halide::Expr first, bool partial)> b;
  };
  using Epilogue =
      std::function<Halide::Expr(Halide::Expr sum, Halide::Expr col, Halide::Expr row, Halide::Expr sample)>;

  SampledProduct() = default;
  /// Adds to `f` the updates that cover all of it.
  SampledProduct(const std::string& name, const Shape& shape, bool gpu, const Operands& o, Halide::Func f,
                 const Epilogue& epilogue)
      : shape_(shape), target_(std::move(f)) {
    using namespace Halide;
    // A device gets one grid over all panels, since a grid of none cannot be launched.
    const Expr whole = gpu ? Expr(0) : o.cols / shape.panel_cols() * shape.panel_cols();
    if (!gpu) add(name, o, 0, whole, false, epilogue);
    add(name + "_rest", o, whole, o.cols - whole, true, epilogue);
  }

  /// A task is one panel of one sample: made in cache, then met by all rows, tile by tile.
  void schedule_cpu() {
    using namespace Halide;
    for (Region& r : regions_) {
      RVar col("col"), col_in("col_in"), row("row"), row_in("row_in"), panel("panel"), tile("tile");
      target_.update(r.update)
          .split(r.domain.x, col, col_in, shape_.cols(), TailStrategy::GuardWithIf)
          .split(r.domain.y, row, row_in, shape_.rows, TailStrategy::GuardWithIf)
          .split(col, panel, tile, shape_.tiles, TailStrategy::GuardWithIf)
          .reorder(col_in, row_in, row, tile, panel, r.domain.z)
          .vectorize(col_in, shape_.vector_width)
          .unroll(col_in)
          .unroll(row_in)
          .parallel(panel)
          .parallel(r.domain.z);
      r.sum.compute_at(target_, row).store_in(MemoryType::Stack);
      bound_tile(r.sum);
      r.sum.vectorize(in_tile_, shape_.vector_width).unroll(in_tile_).unroll(row_in_);
      r.sum.update()
          .reorder(in_tile_, row_in_, r.k)
          .vectorize(in_tile_, shape_.vector_width)
          .unroll(in_tile_)
          .unroll(row_in_);
      r.panels->schedule_cpu(LoopLevel(target_, panel));
    }
  }

  /// One thread owns a tile in registers; the panels lie in device memory for the length of the call.
  void schedule_gpu(const HardwareFacts& facts) {
    using namespace Halide;
    for (Region& r : regions_) {
      RVar col("col"), col_in("col_in"), row("row"), row_in("row_in"), thread_x("thread_x"), thread_y("thread_y");
      target_.update(r.update)
          .split(r.domain.x, col, col_in, shape_.cols(), TailStrategy::GuardWithIf)
          .split(r.domain.y, row, row_in, shape_.rows, TailStrategy::GuardWithIf)
          .split(col, col, thread_x, facts.gpu_block_x, TailStrategy::GuardWithIf)
          .split(row, row, thread_y, facts.gpu_block_y, TailStrategy::GuardWithIf)
          .reorder(col_in, row_in, thread_x, thread_y, col, row, r.domain.z)
          .unroll(col_in)
          .unroll(row_in)
          .gpu_blocks(col, row, r.domain.z)
          .gpu_threads(thread_x, thread_y);
      r.sum.compute_at(target_, thread_x).store_in(MemoryType::Register);
      r.sum.bound_extent(in_tile_, shape_.cols()).bound_extent(row_in_, shape_.rows);
      r.sum.unroll(in_tile_).unroll(row_in_);
      r.sum.update().reorder(in_tile_, row_in_, r.k).unroll(in_tile_).unroll(row_in_);
      const Var block("block"), thread("thread");
      load_packed_on_gpu(r.a, r.sum, r.k, row_in_, shape_.rows, facts);
      r.a.compute_root().bound_extent(row_in_, shape_.rows).reorder(row_in_, depth_, row_tile_, sample_);
      r.a.vectorize(row_in_, std::min(shape_.rows, facts.gpu_vector_width)).unroll(row_in_);
      r.a.gpu_tile(depth_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf).gpu_blocks(row_tile_, sample_);
      r.panels->schedule_gpu(r.sum, r.k);
    }
  }

 private:
  struct Region {
    Halide::RDom domain, k;
    Halide::Func a, sum;
    std::shared_ptr<PanelSource> panels;
    int update = 0;
  };

  void bound_tile(Halide::Func f) {
    f.bound_extent(in_tile_, shape_.cols())
        .bound_extent(row_in_, shape_.rows)
        .bound_extent(tile_, 1)
        .bound_extent(row_tile_, 1)
        .bound_extent(sample_, 1);
  }

  void add(const std::string& name, const Operands& o, const Halide::Expr& first, const Halide::Expr& cols,
           bool partial, const Epilogue& epilogue) {
    using namespace Halide;
    Region r{RDom(0, cols, 0, o.rows, 0, o.samples, "at_" + name),
             RDom(0, o.depth, "k_" + name),
             Func("a_" + name),
             Func("sum_" + name),
             o.b(name, first, partial),
             target_.num_update_definitions()};
    r.a(row_in_, depth_, row_tile_, sample_) =
        o.a(depth_, min(likely(row_tile_ * shape_.rows + row_in_), o.rows - 1), sample_);
    r.sum(in_tile_, row_in_, tile_, row_tile_, sample_) = 0.0F;
    r.sum(in_tile_, row_in_, tile_, row_tile_, sample_) +=
        r.a(row_in_, r.k, row_tile_, sample_) * r.panels->at(in_tile_, r.k, tile_, sample_);
    const Expr x = r.domain.x, row = r.domain.y, sample = r.domain.z;
    // The maximum tells Halide that a tile's index is not negative: only then are its accumulators at constant places.
    const Expr sum = r.sum(x % shape_.cols(), row % shape_.rows, x / shape_.cols(), max(row / shape_.rows, 0), sample);
    target_(first + x, row, sample) = epilogue(sum, first + x, row, sample);
    regions_.push_back(r);
  }

  Shape shape_;
  Halide::Func target_;
  std::vector<Region> regions_;
  Halide::Var in_tile_{"in_tile"}, row_in_{"row_in"}, tile_{"tile"}, row_tile_{"row_tile"}, sample_{"sample"},
      depth_{"depth"};
};

}  // namespace kindling
