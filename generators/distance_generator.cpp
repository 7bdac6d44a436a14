// Ranks among the pairwise distances of a pooled sample z = (x, y): how many pairs i < j are at most so far apart, and
// which distances come next above a given one. The quantile search of runtime/kernels/distance_quantile.cpp is made of
// these passes; no distance is stored. Every pass computes a pair's squared distance with the same operations, so that
// their answers fit together bit for bit.
#include "common/pooled_pairs.h"

namespace kindling {
namespace {

using namespace Halide;

// One pass over all pairs.
template <class Derived>
class DistancePass : public PooledPairs<Derived> {
 protected:
  using PooledPairs<Derived>::masked_, PooledPairs<Derived>::tile_;

  // r_ runs over a tile's vectors, its rows and the panels that hold a column j > i.
  void define_pass() {
    this->define_tiles();
    r_ = RDom(0, tile_.vectors(), 0, tile_.rows(), 0, tile_.panels(), "r");
    r_.where(this->above_diagonal(r_.z, tile_.row_tile));
    tiles_ = RDom(0, this->row_tiles(), "tiles");
  }
  Expr squared() { return masked_(lane_ + r_.x * tile_.width(), r_.y, r_.z, tile_.row_tile, tile_.problem); }

  // `lanes` is the reduction over a tile's pairs, `per_tile` its consumer (.., row_tile, problem).
  // Measured against the 2 d operations of a pair and two for each threshold.
  void schedule_pass(Func lanes, Func per_tile, const std::vector<VarOrRVar>& within) {
    const HardwareFacts facts = hardware_facts(this->get_target());
    const Var block("block"), thread("thread");
    if (this->get_target().has_gpu_feature()) {
      std::vector<VarOrRVar> order = within;
      order.insert(order.end(), {VarOrRVar(thread), VarOrRVar(block), VarOrRVar(tile_.problem)});
      per_tile.compute_root()
          .split(tile_.row_tile, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf)
          .reorder(order)
          .gpu_blocks(block, tile_.problem)
          .gpu_threads(thread);
      for (const VarOrRVar& v : within) per_tile.unroll(v);
      lanes.compute_at(per_tile, thread).store_in(MemoryType::Register);
      masked_.compute_at(lanes, r_.z).store_in(MemoryType::Register).unroll(tile_.col_in);
      masked_.bound_extent(tile_.col_in, tile_.columns());
      tile_.schedule_gpu(LoopLevel(lanes, r_.z), LoopLevel(per_tile, thread));
    } else {
      std::vector<VarOrRVar> order = within;
      order.insert(order.end(), {VarOrRVar(tile_.row_tile), VarOrRVar(block), VarOrRVar(tile_.problem)});
      per_tile.compute_root()
          .split(tile_.row_tile, block, tile_.row_tile, facts.row_block_tiles, TailStrategy::GuardWithIf)
          .reorder(order)
          .parallel(block)
          .parallel(tile_.problem);
      lanes.compute_at(per_tile, tile_.row_tile).store_in(MemoryType::Stack);
      lanes.bound_extent(lane_, tile_.width()).vectorize(lane_);
      lanes.update().vectorize(lane_);
      masked_.compute_at(lanes, r_.z).store_in(MemoryType::Stack);
      masked_.bound_extent(tile_.col_in, tile_.columns()).bound_extent(tile_.row_in, tile_.rows());
      masked_.vectorize(tile_.col_in, tile_.width()).unroll(tile_.col_in).unroll(tile_.row_in);
      tile_.schedule_cpu(LoopLevel(lanes, r_.z), LoopLevel(per_tile, block), LoopLevel(per_tile, tile_.problem));
    }
    order_ = {lane_, r_.x, r_.y};
    order_.insert(order_.end(), within.begin(), within.end());
    order_.push_back(r_.z);
    lanes.update().reorder(order_).unroll(r_.x).unroll(r_.y);
    for (const VarOrRVar& v : within) {
      lanes.unroll(v);
      lanes.update().unroll(v);
    }
  }

  RDom r_, tiles_;
  Var lane_{"lane"};
  std::vector<VarOrRVar> order_;
};

class PairDistanceCounts : public DistancePass<PairDistanceCounts> {
 public:
  GeneratorParam<int> thresholds{"thresholds", 8};

  Input<Buffer<float, 2>> threshold{"threshold"};  // (thresholds, active), squared distances
  Output<Buffer<int64_t, 2>> count{"count"};       // (thresholds, active), pairs at most so far apart

  void generate() {
    define_pass();
    const Var& tile = tile_.row_tile;
    const Var& p = tile_.problem;
    lanes_(lane_, t_, tile, p) += cast<int32_t>(squared() <= threshold(t_, p));
    const RDom lane(0, tile_.width(), "lane");
    per_tile_(t_, tile, p) = sum(lanes_(lane, t_, tile, p));
    count(t_, p) += cast<int64_t>(per_tile_(t_, tiles_, p));
  }

  void schedule() {
    bound_inputs();
    threshold.dim(0).set_bounds(0, thresholds);
    threshold.dim(1).set_bounds(0, problem.dim(0).extent());
    count.dim(0).set_bounds(0, thresholds);
    count.dim(1).set_bounds(0, problem.dim(0).extent());
    per_tile_.bound(t_, 0, thresholds);
    lanes_.bound_extent(t_, thresholds);
    schedule_pass(lanes_, per_tile_, {t_});
  }

 private:
  Var t_{"t"};
  Func lanes_{"lanes"}, per_tile_{"per_tile"};
};

/// The next smallest distances above a value, ascending, with repetition; infinite beyond the last.
class PairDistanceNext : public DistancePass<PairDistanceNext> {
 public:
  GeneratorParam<int> places{"places", 8};  // a power of two

  Input<Buffer<float, 1>> value{"value"};  // (active), a squared distance
  Output<Buffer<float, 2>> next{"next"};   // (places, active), squared distances

  void generate() {
    define_pass();
    const Var& tile = tile_.row_tile;
    const Var& p = tile_.problem;
    const int size = places;
    const Expr infinite = std::numeric_limits<float>::infinity();
    const std::vector<Expr> none(size, infinite);

    // Of every lane.
    lanes_(lane_, tile, p) = Tuple(none);
    const Expr passing = select(squared() > value(p), squared(), infinite);
    lanes_(lane_, tile, p) = Tuple(with_one_more(elements(lanes_(lane_, tile, p)), passing));
    per_tile_(lane_, tile, p) = lanes_(lane_, tile, p);

    all_(lane_, p) = Tuple(none);
    all_(lane_, p) = Tuple(smaller_half(elements(all_(lane_, p)), elements(per_tile_(lane_, tiles_, p))));
    const RDom lane(0, tile_.width(), "lane");
    first_(p) = Tuple(none);
    first_(p) = Tuple(smaller_half(elements(first_(p)), elements(all_(lane, p))));
    next(place_, p) = mux(place_, elements(first_(p)));
  }

  void schedule() {
    bound_inputs();
    value.dim(0).set_bounds(0, problem.dim(0).extent());
    next.dim(0).set_bounds(0, places);
    next.dim(1).set_bounds(0, problem.dim(0).extent());
    next.bound(place_, 0, places).unroll(place_);
    first_.compute_at(next, tile_.problem);
    all_.compute_at(next, tile_.problem).bound_extent(lane_, tile_.width()).vectorize(lane_);
    all_.update().reorder(lane_, tiles_).vectorize(lane_);
    per_tile_.bound(lane_, 0, tile_.width()).vectorize(lane_);
    schedule_pass(lanes_, per_tile_, {});
  }

 private:
  Var place_{"place"};
  Func lanes_{"lanes"}, per_tile_{"per_tile"}, all_{"all"}, first_{"first"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::PairDistanceCounts, pair_distance_counts)
HALIDE_REGISTER_GENERATOR(kindling::PairDistanceNext, pair_distance_next)
