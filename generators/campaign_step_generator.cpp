// One step of a neuron campaign inside its active set: a column of a pivoted Cholesky factorisation, the residual norms
// it leaves, and the weighted arg-max. runtime/kernels/campaign.h says what it computes.
#include "Halide.h"
#include "common/hardware.h"

namespace kindling {
namespace {

using namespace Halide;

class CampaignStep : public Generator<CampaignStep> {
 public:
  Input<Buffer<float, 2>> gram{"gram"};  // (pool, active)
  Input<int32_t> column{"column"};
  Input<int32_t> pivot{"pivot"};
  Input<int32_t> steps{"steps"};             // so far; `factor` has one at least, since a device has no empty buffers
  Input<Buffer<float, 2>> factor{"factor"};  // (active, steps)
  Input<Buffer<float, 1>> weight{"weight"};  // (active)
  Input<Buffer<float, 1>> reference{"reference"};  // (active)
  Input<Buffer<float, 1>> before{"before"};        // (active)
  Input<float> spoilt{"spoilt"};
  Input<float> slack{"slack"};
  Output<Buffer<float, 1>> coefficients{"coefficients"};
  Output<Buffer<float, 1>> squared{"squared"};
  Output<Buffer<float, 1>> products{"products"};
  Output<Buffer<float, 1>> best_product{"best_product"};      // (1)
  Output<Buffer<int32_t, 1>> best_position{"best_position"};  // (1)

  void generate() {
    const HardwareFacts facts = hardware_facts(get_target());
    v_ = facts.vector_width;
    steps_ = RDom(0, min(steps, factor.dim(1).extent()), "earlier");
    const Expr size = weight.dim(0).extent(), i = min(likely(i_), size - 1);
    left_(i_) = gram(column, i);
    left_(i_) -= factor(i, steps_) * factor(pivot, steps_);
    const Expr coefficient = left_(i_) / sqrt(before(pivot));
    const Expr rest = before(i) - coefficient * coefficient, exact = reference(i);
    const Expr bound = select(strict_float(rest < spoilt * exact), max(rest, 0.0F) + slack * exact, rest);
    // Not the outputs themselves: Halide takes what it reads back for its own, aligned memory.
    state_(i_) = Tuple(coefficient, rest, select(strict_float(weight(i) < 0), -1.0F, weight(i) * sqrt(bound)));
    coefficients(i_) = state_(i_)[0];
    squared(i_) = state_(i_)[1];
    products(i_) = state_(i_)[2];
    // In lanes, then across them; ascending positions and a strict comparison leave the lower one among equals. A NaN
    // takes no part: one half of the pair would become a maximum, which drops it, the other a comparison, which may
    // not.
    lane_steps_ = RDom(0, (size + v_ - 1) / v_, "lane_steps");
    const Expr at = lane_steps_ * v_ + l_, product = state_(min(likely(at), size - 1))[2];
    const Expr value = select(likely(at < size) && !is_nan(product), product, -1.0F);
    lanes_(l_) = Tuple(-1.0F, -1);
    lanes_(l_) =
        Tuple(select(value > lanes_(l_)[0], value, lanes_(l_)[0]), select(value > lanes_(l_)[0], at, lanes_(l_)[1]));
    RDom across(0, v_, "across");
    best_() = Tuple(-1.0F, -1);
    const Expr p = lanes_(across)[0], n = lanes_(across)[1], best = best_()[0], best_at = best_()[1];
    const Expr better = p > best || (p == best && n >= 0 && n < best_at);
    best_() = Tuple(select(better, p, best), select(better, n, best_at));
    best_product(one_) = best_()[0];
    best_position(one_) = best_()[1];
  }
  // Measured in microseconds: a few thousand multiply-adds in L1, on one thread, and no passage through memory that the
  // outputs do not need.
  void schedule() {
    const Expr size = weight.dim(0).extent();
    gram.dim(0).set_min(0);
    gram.dim(1).set_bounds(0, size);
    factor.dim(0).set_bounds(0, size).dim(1).set_min(0);
    for (Input<Buffer<float, 1>>* p : {&weight, &reference, &before}) p->dim(0).set_bounds(0, size);
    for (Output<Buffer<float, 1>>* p : {&coefficients, &squared, &products}) p->dim(0).set_bounds(0, size);
    best_product.dim(0).set_bounds(0, 1);
    best_position.dim(0).set_bounds(0, 1);
    const HardwareFacts facts = hardware_facts(get_target());
    if (get_target().has_gpu_feature()) {
      Var block("block"), thread("thread");
      state_.compute_root();
      for (Func f : {state_, Func(coefficients), Func(squared), Func(products)}) {
        f.gpu_tile(i_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
      }
      left_.compute_at(state_, thread).store_in(MemoryType::Register);
      lanes_.compute_root().gpu_tile(l_, block, thread, v_).update().gpu_tile(l_, block, thread, v_);
      best_.compute_root().gpu_single_thread().update().gpu_single_thread();
      best_product.gpu_tile(one_, block, thread, 1);
      best_position.gpu_tile(one_, block, thread, 1);
    } else {
      Var io("io");
      state_.compute_root().split(i_, io, i_, v_ * 4, TailStrategy::RoundUp).vectorize(i_, v_).unroll(i_);
      left_.compute_at(state_, io).store_in(MemoryType::Stack).bound_extent(i_, v_ * 4).vectorize(i_, v_).unroll(i_);
      left_.update().reorder(i_, steps_).vectorize(i_, v_).unroll(i_);
      for (Func f : {Func(coefficients), Func(squared), Func(products)}) f.vectorize(i_, v_, TailStrategy::GuardWithIf);
      lanes_.compute_root().vectorize(l_, v_).update().vectorize(l_, v_);
      best_.compute_root();
    }
  }

 private:
  int v_ = 4;
  Var i_{"i"}, l_{"l"}, one_{"one"};
  RDom steps_, lane_steps_;
  Func left_{"left"}, state_{"state"}, lanes_{"lanes"}, best_{"best"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::CampaignStep, campaign_step)
