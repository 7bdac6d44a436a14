// Reductions over the columns of Gaussian kernel values K_ij = 2^(-scale |x_i - y_j|^2), which exist only in the tile
// of gaussian_pairs.h that makes them.
//
// Sums over columns run in float32 over slabs of fixed width, and over the slabs, in their order, in float64 (row sums)
// or lane by lane in float32 (moments).
#pragma once

#include "gaussian_pairs.h"

namespace kindling {

/// The mean of a problem's columns, roughly: any point near them makes a good origin.
class Centre {
 public:
  Centre() = default;
  Centre(const std::string& name, const Halide::Expr& count, const PairTile::Element& y)
      : j_(0, count, "j_" + name), sum_("sum_" + name), mean_("mean_" + name) {
    sum_(k_, p_) += y(k_, j_, p_);
    mean_(k_, p_) = sum_(k_, p_) * (1.0F / Halide::cast<float>(count));
  }
  [[nodiscard]] Halide::Func mean() const { return mean_; }

  void schedule(bool gpu, const HardwareFacts& facts) {
    using namespace Halide;
    mean_.compute_root();
    if (gpu) {
      const Var block("block"), lane("lane");
      mean_.gpu_tile(k_, block, lane, facts.gpu_block_x, TailStrategy::GuardWithIf);
      sum_.compute_at(mean_, lane);
      return;
    }
    mean_.parallel(p_);
    sum_.compute_at(mean_, p_);
    sum_.update().reorder(k_, j_).vectorize(k_, facts.vector_width, TailStrategy::GuardWithIf);
  }

 private:
  Halide::Var k_{"k"}, p_{"p"};
  Halide::RDom j_;
  Halide::Func sum_, mean_;
};

/// Adds up the lanes of f(lane, ...) by halves; the last stage has one lane (f itself where it has no other).
inline std::vector<Halide::Func> halves(const Halide::Func& f, int width) {
  using namespace Halide;
  std::vector<Func> stages;
  Func from = f;
  for (int n = width / 2; n > 0; n /= 2) {
    const std::vector<Var> at = from.args();
    std::vector<Expr> low(at.begin(), at.end()), high = low;
    high[0] = high[0] + n;
    Func half(f.name() + "_half" + std::to_string(n));
    half(at) = from(low) + from(high);
    stages.push_back(half);
    from = half;
  }
  if (stages.empty()) stages.push_back(from);
  return stages;
}

/// Common to both reductions: the kernel value of a pair in tile coordinates.
inline Halide::Expr kernel_value(PairTile::Form form, const Halide::Expr& squared, const Halide::Expr& scale) {
  return exp2_nonpositive(-scale * (form == PairTile::Form::contraction ? max(squared, 0.0F) : squared));
}

/// sum_j w_ij K_ij of every row i in float64: sums(i, problem).
class KernelRowSums {
 public:
  enum class Half {
    no,    ///< w = 1
    upper  ///< y is x: w = 2 for j > i, 1 for j = i, 0 for j < i, where tiles are left out
  };

  KernelRowSums() = default;
  KernelRowSums(const std::string& name, const HardwareFacts& facts, bool gpu, PairTile::Form form, Half half,
                const PairTile::Operands& o, const std::function<Halide::Expr(Halide::Expr)>& scale)
      : tile_(name, facts, gpu, form, o), facts_(facts), sums(name), lanes_("lanes_" + name), row_("row_" + name) {
    using namespace Halide;
    const int r = tile_.rows(), width = tile_.columns();
    const int slab_panels = std::max(1, facts.pair_slab_columns / width);
    const Var &tile = tile_.row_tile, &problem = tile_.problem;
    r_ = RDom(0, tile_.vectors(), 0, slab_panels, "r_" + name);
    slabs_ = RDom(0, (tile_.panels() + slab_panels - 1) / slab_panels, "slab_" + name);
    const Expr panel = slab_ * slab_panels + r_.y, col = lane_ + r_.x * tile_.width();
    r_.where(panel < tile_.panels());
    if (half == Half::upper) r_.where((panel + 1) * width > tile * r);
    Expr value = kernel_value(form, tile_(col, tile_.row_in, panel, tile, problem), scale(problem));
    if (half == Half::upper) {
      const Expr ahead = panel * width + col - (tile * r + tile_.row_in);
      value *= select(ahead > 0, 2.0F, select(ahead == 0, 1.0F, 0.0F));
    }
    lanes_(lane_, tile_.row_in, slab_, tile, problem) += value;
    halves_ = halves(lanes_, tile_.width());
    row_(tile_.row_in, tile, problem) += cast<double>(halves_.back()(0, tile_.row_in, slabs_, tile, problem));
    sums(i, problem) = row_(i % r, max(i / r, 0), problem);
  }

  /// A slab of columns stays in a cache while a block of row tiles passes by. Measured against the tile's multiply-adds
  /// and the 11 operations of the exponential.
  void schedule_cpu() {
    using namespace Halide;
    const Var block("block"), tile("tile"), in("in");
    const int r = tile_.rows();
    Func(sums)
        .compute_root()
        .split(i, tile, in, r, TailStrategy::GuardWithIf)
        .split(tile, block, tile, facts_.row_block_tiles, TailStrategy::GuardWithIf)
        .reorder(in, tile, block, tile_.problem)
        .never_partition(tile, block, tile_.problem)
        .parallel(block)
        .parallel(tile_.problem);
    row_.compute_at(sums, block).bound_extent(tile_.row_in, r);
    row_.update().reorder(tile_.row_in, tile_.row_tile, slabs_).unroll(tile_.row_in);
    for (Func f : halves_) {
      f.compute_at(row_, tile_.row_tile).bound_extent(tile_.row_in, r);
      f.vectorize(f.args()[0]).unroll(tile_.row_in);
    }
    lanes_.compute_at(row_, tile_.row_tile).bound_extent(lane_, tile_.width()).bound_extent(tile_.row_in, r);
    lanes_.vectorize(lane_).unroll(tile_.row_in);
    lanes_.update().reorder(lane_, r_.x, tile_.row_in, r_.y).vectorize(lane_).unroll(tile_.row_in).unroll(r_.x);
    tile_.schedule_cpu(LoopLevel(lanes_, r_.y), LoopLevel(sums, block), LoopLevel(sums, tile_.problem));
  }

  /// A thread per row and slab; the slabs' sums are added up on the host, since a device need not have float64.
  void schedule_gpu() {
    using namespace Halide;
    const Var block("block"), thread("thread");
    Func part = halves_.back();
    row_.compute_root();
    Func(sums).compute_root();
    Func stored = part.in(row_);
    stored.compute_root()
        .split(tile_.row_tile, block, thread, facts_.gpu_threads, TailStrategy::GuardWithIf)
        .reorder(thread, block, slab_, tile_.problem)
        .gpu_blocks(block, slab_, tile_.problem)
        .gpu_threads(thread);
    part.compute_at(stored, thread);
    part.update().unroll(r_.x);
    tile_.schedule_gpu(LoopLevel(part, r_.y), LoopLevel(stored, thread));
  }

 private:
  PairTile tile_;
  HardwareFacts facts_;

 public:
  Halide::Var i{"i"};
  Halide::Func sums;

 private:
  Halide::RDom r_, slabs_;
  Halide::Func lanes_, row_;
  std::vector<Halide::Func> halves_;
  Halide::Var lane_{"lane"}, slab_{"slab"};
};

/// sum_j K_ij w_j(t) of every row i for terms t = 0, 1, ... of the columns' weights: sums(t, i, problem).
class KernelMoments {
 public:
  /// Weight of column j of a problem.
  using Weight = std::function<Halide::Expr(Halide::Expr j, Halide::Expr problem)>;

  KernelMoments() = default;
  /// Term t < depth of a column is its weight times its coordinate t less the centre's, the rest come from `extra`.
  KernelMoments(const std::string& name, const HardwareFacts& facts, bool gpu, PairTile::Form form,
                const PairTile::Operands& o, const std::function<Halide::Expr(Halide::Expr)>& scale,
                const Weight& weight, const std::vector<Weight>& extra)
      : tile_(name, facts, gpu, form, o),
        facts_(facts),
        sums(name),
        values_("values_" + name),
        weights_("weights_" + name),
        part_("part_" + name),
        lanes_("lanes_" + name) {
    using namespace Halide;
    gpu_ = gpu;
    const int r = tile_.rows(), width = tile_.columns();
    slab_panels_ = gpu ? 1 : std::max(1, facts.pair_slab_columns / 2 / width);
    const Var &tile = tile_.row_tile, &problem = tile_.problem, &panel = tile_.panel, &col = tile_.col_in;
    const Expr j = panel * width + col, here = min(likely(j), o.cols - 1);
    const Expr zero = 0.0F;
    const auto coordinate = [&](const Expr& k) {
      return weight(here, problem) * tile_.centred(col, k, panel, problem);
    };
    if (gpu) {
      Expr other = zero;
      for (int n = static_cast<int>(extra.size()); n-- > 0;)
        other = select(term == o.depth + n, extra[n](here, problem), other);
      weights_(col, term, panel, problem) =
          select(likely(j < o.cols), select(term < o.depth, coordinate(min(term, o.depth - 1)), other), zero);
    } else {
      coordinates_ = RDom(0, o.depth, "coordinate_" + name);
      weights_(col, term, panel, problem) = zero;
      weights_(col, coordinates_, panel, problem) = select(likely(j < o.cols), coordinate(coordinates_), zero);
      for (std::size_t n = 0; n < extra.size(); ++n) {
        weights_(col, o.depth + static_cast<int>(n), panel, problem) =
            select(likely(j < o.cols), extra[n](here, problem), zero);
      }
    }
    values_(col, tile_.row_in, panel, tile, problem) =
        kernel_value(form, tile_(col, tile_.row_in, panel, tile, problem), scale(problem));

    r_ = RDom(0, tile_.vectors(), 0, slab_panels_, "r_" + name);
    slabs_ = RDom(0, (tile_.panels() + slab_panels_ - 1) / slab_panels_, "slab_" + name);
    const Expr at = slab_ * slab_panels_ + r_.y, at_col = lane_ + r_.x * tile_.width();
    r_.where(at < tile_.panels());
    part_(lane_, term, tile_.row_in, slab_, tile, problem) +=
        values_(at_col, tile_.row_in, at, tile, problem) * weights_(at_col, term, at, problem);
    lanes_(lane_, term, tile_.row_in, tile, problem) += part_(lane_, term, tile_.row_in, slabs_, tile, problem);
    halves_ = halves(lanes_, tile_.width());
    sums(term, i, problem) = halves_.back()(0, term, i % r, max(i / r, 0), problem);
  }

  /// The kernel values of a row tile by a slab lie in L1 while term after term adds its sums up in registers. Measured
  /// against the multiply-adds of both steps.
  void schedule_cpu() {
    using namespace Halide;
    const Var block("block"), tile("tile"), in("in"), terms("terms"), outer("outer");
    const RVar panel("panel");
    const int r = tile_.rows(), t = facts_.tile_vectors, width = tile_.width();
    Func(sums)
        .compute_root()
        .split(i, tile, in, r, TailStrategy::GuardWithIf)
        .split(tile, block, tile, facts_.row_block_tiles, TailStrategy::GuardWithIf)
        .reorder(in, term, tile, block, tile_.problem)
        .never_partition(tile, block, tile_.problem)
        .parallel(block)
        .parallel(tile_.problem);
    for (Func f : halves_) {
      f.compute_at(sums, term).bound_extent(tile_.row_in, r);
      f.vectorize(f.args()[0]).unroll(tile_.row_in);
    }
    lanes_.compute_at(sums, tile).bound_extent(lane_, width).bound_extent(tile_.row_in, r);
    lanes_.align_bounds(term, t);
    lanes_.vectorize(lane_).unroll(tile_.row_in);
    lanes_.update()
        .split(term, outer, terms, t)
        .reorder(lane_, tile_.row_in, terms, outer, slabs_)
        .vectorize(lane_)
        .unroll(tile_.row_in)
        .unroll(terms);
    part_.compute_at(lanes_, outer).store_in(MemoryType::Stack);
    part_.bound_extent(lane_, width).bound_extent(term, t).bound_extent(tile_.row_in, r);
    part_.reorder(lane_, tile_.row_in, term).vectorize(lane_).unroll(tile_.row_in).unroll(term);
    part_.update()
        .reorder(lane_, tile_.row_in, term, r_.x, r_.y)
        .vectorize(lane_)
        .unroll(tile_.row_in)
        .unroll(term)
        .unroll(r_.x);
    values_.compute_at(lanes_, slabs_).bound_extent(tile_.col_in, tile_.columns()).bound_extent(tile_.row_in, r);
    values_.reorder(tile_.col_in, tile_.row_in, tile_.panel)
        .vectorize(tile_.col_in, width)
        .unroll(tile_.col_in)
        .unroll(tile_.row_in);
    weights_.compute_at(sums, tile_.problem).bound_extent(tile_.col_in, tile_.columns());
    weights_.vectorize(tile_.col_in, width).unroll(tile_.col_in);
    for (int n = 0; n < weights_.num_update_definitions(); ++n) {
      weights_.update(n).vectorize(tile_.col_in, width).unroll(tile_.col_in);
    }
    weights_.update(0).reorder(tile_.col_in, coordinates_, tile_.panel);
    tile_.schedule_cpu(LoopLevel(values_, tile_.panel), LoopLevel(sums, block), LoopLevel(sums, tile_.problem));
  }

  /// A thread owns a row and as many terms as it has registers for, and makes the kernel values again for each such
  /// group of terms.
  void schedule_gpu() {
    using namespace Halide;
    const Var block("block"), thread("thread"), group("group"), terms("terms");
    const int t = facts_.gpu_thread_tile_y;
    Func(sums)
        .compute_root()
        .split(term, group, terms, t, TailStrategy::GuardWithIf)
        .split(i, block, thread, facts_.gpu_threads, TailStrategy::GuardWithIf)
        .reorder(terms, thread, block, group, tile_.problem)
        .unroll(terms)
        .gpu_blocks(block, group, tile_.problem)
        .gpu_threads(thread);
    lanes_.compute_at(sums, thread).store_in(MemoryType::Register).bound_extent(term, t).unroll(term);
    lanes_.update().reorder(term, slabs_).unroll(term);
    part_.compute_at(lanes_, slabs_).store_in(MemoryType::Register).bound_extent(term, t).unroll(term);
    part_.update().reorder(term, r_.x, r_.y).unroll(term).unroll(r_.x);
    values_.compute_at(part_, r_.y).store_in(MemoryType::Register);
    values_.bound_extent(tile_.col_in, tile_.columns()).unroll(tile_.col_in);
    tile_.schedule_gpu(LoopLevel(part_, r_.y), LoopLevel(sums, thread));
  }

 private:
  PairTile tile_;
  HardwareFacts facts_;

 public:
  Halide::Var i{"i"}, term{"term"};
  Halide::Func sums;

 private:
  bool gpu_ = false;
  int slab_panels_ = 1;
  Halide::RDom r_, slabs_, coordinates_;
  Halide::Func values_, weights_, part_, lanes_;
  std::vector<Halide::Func> halves_;
  Halide::Var lane_{"lane"}, slab_{"slab"};
};

}  // namespace kindling
