// An order statistic of the pairwise distances of a small pooled sample, whose squared distances stay in a core's
// cache: they are computed once, passes over them count pairs below thresholds that close in on the wanted rank, and a
// last one finds the distances that come next above the closest threshold below it. What larger samples do with the
// kernels of distance_generator.cpp, which store nothing, and as exactly.
#include <string>

#include "common/pooled_pairs.h"

namespace kindling {
namespace {

using namespace Halide;

class PairDistanceSelect : public PooledPairs<PairDistanceSelect> {
 public:
  GeneratorParam<int> thresholds{"thresholds", 8};
  GeneratorParam<int> places{"places", 8};  // a power of two
  // Three are usually enough; those that are not needed are skipped.
  GeneratorParam<int> passes{"passes", 5};

  Input<int32_t> rank{"rank"};      // from 0, of all pairs
  Input<int32_t> wanted{"wanted"};  // so many order statistics from there on, at most places
  Input<float> score{"score"};      // where the rank would lie in a normal law, in standard deviations from its mean
  // (4 + places, active). Bits of the squared distances low, -1 for none, and high; how many pairs are <= low, at most
  // rank, and <= high, more than rank; bits of the places that come next above low, or above high where no number lies
  // between them. Where neither closed in on the rank, the search goes on from these bounds.
  Output<Buffer<int32_t, 2>> found{"found"};

  void generate() {
    define_tiles();
    const Var& p = tile_.problem;
    const bool gpu = get_target().has_gpu_feature();
    above_ = RDom(0, tile_.panels(), "above");
    above_.where(above_diagonal(above_, tile_.row_tile));
    stored_(tile_.col_in, tile_.row_in, tile_.panel, tile_.row_tile, p) = undef<float>();
    stored_(tile_.col_in, tile_.row_in, above_, tile_.row_tile, p) =
        masked_(tile_.col_in, tile_.row_in, above_, tile_.row_tile, p);

    // Sums of a GPU's threads, each for a tile of rows; a CPU's core takes all tiles of a problem.
    part_tiles_ = gpu ? Expr(1) : row_tiles();
    parts_ = RDom(0, tile_.width(), 0, gpu ? row_tiles() : Expr(1), "parts");
    const Expr pairs = pooled_rows * (pooled_rows - 1) / 2;
    start(pairs);
    for (int pass = 0; pass < passes; ++pass) narrow(pass);
    finish();
  }

  void schedule() {
    bound_inputs();
    found.dim(0).set_bounds(0, 4 + places);
    found.dim(1).set_bounds(0, problem.dim(0).extent());
    found.bound(i_, 0, 4 + places).unroll(i_);
    const Var& p = tile_.problem;
    const HardwareFacts facts = hardware_facts(get_target());
    const Var block("block"), thread("thread");
    if (get_target().has_gpu_feature()) {
      const auto threads = [&](Stage stage, const Var& over) {
        stage.split(over, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
        return stage;
      };
      stored_.compute_root();
      threads(stored_.update(), tile_.row_tile)
          .reorder(tile_.col_in, tile_.row_in, above_, thread, block, p)
          .gpu_blocks(block, p)
          .gpu_threads(thread);
      tile_.schedule_gpu(LoopLevel(stored_, above_.x), LoopLevel(stored_, thread));
      // A thread a problem, so that nothing of it comes to the host before it is found.
      for (Func f : small_) {
        threads(f.compute_root(), p).gpu_blocks(block).gpu_threads(thread);
        if (!f.has_update_definition()) continue;
        std::vector<VarOrRVar> order{parts_.x, parts_.y};
        if (f.dimensions() > 1) order.emplace_back(t_);
        order.insert(order.end(), {VarOrRVar(thread), VarOrRVar(block)});
        threads(f.update(), p).reorder(order).gpu_blocks(block).gpu_threads(thread);
      }
      threads(found, p).reorder(i_, thread, block).gpu_blocks(block).gpu_threads(thread);
      for (Pass& pass : passes_) {
        pass.lanes.compute_root();
        for (Stage stage : {Stage(pass.lanes), Stage(pass.lanes.update())})
          threads(stage, part_).gpu_blocks(block, p).gpu_threads(thread);
      }
      return;
    }
    // Measured against two operations for a coordinate of a pair, and two for a threshold or a place.
    found.parallel(p);
    stored_.compute_at(found, p);
    stored_.update()
        .reorder(tile_.col_in, tile_.row_in, above_, tile_.row_tile)
        .vectorize(tile_.col_in, tile_.width())
        .unroll(tile_.col_in)
        .unroll(tile_.row_in);
    stored_.bound_extent(tile_.col_in, tile_.columns()).bound_extent(tile_.row_in, tile_.rows());
    tile_.schedule_cpu(LoopLevel(stored_, above_.x), LoopLevel(found, p), LoopLevel(found, p));
    for (Func f : small_) f.compute_at(found, p);
    for (Pass& pass : passes_) {
      pass.lanes.compute_at(found, p).store_in(MemoryType::Stack);
      pass.lanes.bound_extent(lane_, tile_.width()).vectorize(lane_);
      const RDom& r = pass.r;
      if (pass.counts) {
        pass.lanes.bound_extent(t_, thresholds).unroll(t_);
        pass.lanes.update().reorder(lane_, r.x, r.y, t_, r.z, r.w).unroll(t_);
      } else {
        pass.lanes.update().reorder(lane_, r.x, r.y, r.z, r.w);
      }
      pass.lanes.update().vectorize(lane_).unroll(r.x).unroll(r.y);
    }
  }

 private:
  // One reduction over the stored distances of a problem, lane by lane.
  struct Pass {
    RDom r;
    Func lanes;
    bool counts;
  };

  // The vectors, rows, panels and row tiles that a sum runs over.
  RDom domain(const std::string& name) {
    RDom r(0, tile_.vectors(), 0, tile_.rows(), 0, tile_.panels(), 0, part_tiles_, name);
    r.where(above_diagonal(r.z, part_ * part_tiles_ + r.w));
    return r;
  }
  Expr squared(const RDom& r) {
    return stored_(lane_ + r.x * tile_.width(), r.y, r.z, part_ * part_tiles_ + r.w, tile_.problem);
  }

  // From sums over all pairs: the largest of them, above every threshold; first thresholds about the place where a
  // normal law of this mean and variance has the rank.
  void start(const Expr& pairs) {
    const Var& p = tile_.problem;
    const RDom r = domain("r_sums");
    Func lanes("lanes_sums"), sums("sums");
    const Expr v = squared(r), there = select(v < PairTile::far_away, v, 0.0F);
    lanes(lane_, part_, p) = Tuple(0.0F, 0.0F, 0.0F);
    const FuncRef l = lanes(lane_, part_, p);
    lanes(lane_, part_, p) = Tuple(l[0] + there, l[1] + there * there, max(l[2], there));
    passes_.push_back({r, lanes, false});
    sums(p) = Tuple(0.0F, 0.0F, 0.0F);
    const FuncRef part = lanes(parts_.x, parts_.y, p);
    sums(p) = Tuple(sums(p)[0] + part[0], sums(p)[1] + part[1], max(sums(p)[2], part[2]));
    const Expr mean = sums(p)[0] / cast<float>(pairs);
    const Expr deviation = sqrt(max(sums(p)[1] / cast<float>(pairs) - mean * mean, 0.0F));
    Func state("state"), threshold("threshold");
    state(p) = Tuple(-1, reinterpret<int32_t>(sums(p)[2]), 0, pairs);
    threshold(t_, p) = between(state(p), mean + (score + 0.2F * (t_ - 0.5F * (thresholds - 1))) * deviation);
    small_.insert(small_.end(), {sums, state, threshold});
    state_ = state;
    threshold_ = threshold;
  }

  static Expr value_of(const Expr& bits) { return select(bits < 0, 0.0F, reinterpret<float>(bits)); }
  // A threshold strictly between the bounds.
  static Expr between(const FuncRef& state, const Expr& value) {
    return reinterpret<float>(clamp(reinterpret<int32_t>(value), state[0] + 1, max(state[1] - 1, state[0] + 1)));
  }
  Expr near(const FuncRef& state) { return rank + wanted - state[2] <= places; }
  Expr open(const FuncRef& state) { return !near(state) && state[1] - state[0] > 1; }

  void narrow(int pass) {
    const Var& p = tile_.problem;
    const std::string number = std::to_string(pass);
    RDom r = domain("r_" + number);
    r.where(open(state_(p)));
    Func lanes("lanes_" + number), count("count_" + number), state("state_" + number), next("threshold_" + number);
    lanes(lane_, t_, part_, p) = 0;
    lanes(lane_, t_, part_, p) += cast<int32_t>(squared(r) <= threshold_(t_, p));
    passes_.push_back({r, lanes, true});
    count(t_, p) = 0;
    count(t_, p) += lanes(parts_.x, t_, parts_.y, p);

    const FuncRef before = state_(p);
    std::vector<Expr> after = elements(before);
    for (int t = 0; t < thresholds; ++t) {
      const Expr at = reinterpret<int32_t>(threshold_(t, p)), below = count(t, p);
      const Expr raise = open(before) && below <= rank && at > after[0];
      const Expr lower = open(before) && below > rank && at < after[1];
      after[0] = select(raise, at, after[0]);
      after[2] = select(raise, below, after[2]);
      after[1] = select(lower, at, after[1]);
      after[3] = select(lower, below, after[3]);
    }
    state(p) = Tuple(after);

    // As distance_quantile.cpp places them: where the rank would lie if distances were spread evenly between the
    // bounds, as far about it as chance would put it; and for the last pass evenly over what numbers lie between.
    const FuncRef s = state(p);
    const Expr offset = t_ - 0.5F * (thresholds - 1);
    const Expr inside = cast<float>(s[3] - s[2]), place = cast<float>(rank - s[2]) + 0.5F;
    const Expr chance = sqrt(max(place * (1.0F - place / inside), 0.0F));
    const Expr step = max((5.0F / (thresholds - 1)) * chance, 0.5F * places);
    const Expr part = clamp((place + offset * step) / inside, 0.0F, 1.0F);
    const Expr low = value_of(s[0]), high = value_of(s[1]);
    const Expr even = reinterpret<float>(s[0] + cast<int32_t>((s[1] - s[0]) / (thresholds + 1)) * (t_ + 1));
    next(t_, p) = between(s, pass + 2 == passes ? even : low + part * (high - low));
    small_.insert(small_.end(), {count, state, next});
    state_ = state;
    threshold_ = next;
  }

  void finish() {
    const Var& p = tile_.problem;
    const Expr infinite = std::numeric_limits<float>::infinity();
    const std::vector<Expr> none(static_cast<std::size_t>(places.value()), infinite);
    const FuncRef state = state_(p);
    Func from("from"), lanes("lanes_next"), first("first");
    const Expr bits = select(near(state), state[0], state[1]);
    from(p) = select(bits < 0, -1.0F, reinterpret<float>(bits));
    const RDom r = domain("r_next");
    lanes(lane_, part_, p) = Tuple(none);
    const Expr passing = select(squared(r) > from(p), squared(r), infinite);
    lanes(lane_, part_, p) = Tuple(with_one_more(elements(lanes(lane_, part_, p)), passing));
    passes_.push_back({r, lanes, false});
    first(p) = Tuple(none);
    first(p) = Tuple(smaller_half(elements(first(p)), elements(lanes(parts_.x, parts_.y, p))));
    std::vector<Expr> all = elements(state);
    for (const Expr& next : elements(first(p))) all.push_back(reinterpret<int32_t>(next));
    found(i_, p) = mux(i_, all);
    small_.insert(small_.end(), {from, first});
  }

  Var lane_{"lane"}, part_{"part"}, t_{"t"}, i_{"i"};
  RDom above_, parts_;
  Expr part_tiles_;
  Func stored_{"stored"}, state_, threshold_;
  std::vector<Func> small_;  // a few numbers a problem
  std::vector<Pass> passes_;
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::PairDistanceSelect, pair_distance_select)
