// Draws of Beta(alpha, beta) for any shapes: G / (G + H) with G of law gamma(alpha) and H of law gamma(beta), by the
// rejection of Marsaglia and Tsang ("A simple method for generating gamma variables", ACM TOMS 2000) with a fixed
// number of attempts, so that element i is a function of its own eight blocks of the stream.
#include <algorithm>
#include <string>
#include <utility>

#include "common/draws.h"
#include "common/hardware.h"

namespace kindling {
namespace {

using namespace Halide;

class PhiloxBeta : public StreamGenerator<PhiloxBeta> {
 public:
  // Of a gamma law with shape s, raised by 1 where it is below 1: d = s - 1/3, c = 1 / sqrt(9 d), ln d; and 1 / s of
  // the shape that was raised, 0 of others.
  Input<float> alpha_d{"alpha_d"}, alpha_c{"alpha_c"}, alpha_log_d{"alpha_log_d"}, alpha_root{"alpha_root"};
  Input<float> beta_d{"beta_d"}, beta_c{"beta_c"}, beta_log_d{"beta_log_d"}, beta_root{"beta_root"};
  Output<Buffer<float, 1>> out{"out"};

  void generate() {
    gpu_ = get_target().has_gpu_feature();
    lanes_ = gpu_ ? 1 : draw_vectors * hardware_facts(get_target()).vector_width;

    // Two attempts are nearly always enough; the others are left out where they are for all draws side by side.
    early_.attempts = RDom(0, early_attempts, "early");
    try_gammas(early_, Tuple(none, none));
    missing_(group_) = 0;
    lane_of_ = RDom(0, lanes_, "lane_of");
    const Tuple first = early_.taken(lane_of_, group_);
    missing_(group_) += cast<int32_t>(first[0] == none || first[1] == none);
    late_.attempts = RDom(early_attempts, attempts - early_attempts, "late");
    late_.attempts.where(missing_(group_) > 0);
    try_gammas(late_, early_.taken(lane_, group_));

    root_(lane_, group_) = block_at(attempts);
    const Tuple root = root_(lane_, group_), logs = late_.taken(lane_, group_);
    const auto log_gamma = [&](const Expr& log_d, const Expr& log_v, const Expr& power, const Expr& word) {
      return log_d + select(log_v == none, 0.0F, log_v) + power * log_poly(uniform_draw(word));
    };
    difference_(lane_, group_) = strict_float(log_gamma(alpha_log_d, logs[0], alpha_root, root[0]) -
                                              log_gamma(beta_log_d, logs[1], beta_root, root[1]));
    const Expr difference = difference_(i_ % lanes_, i_ / lanes_);
    const Expr e = exp_poly(-abs(difference));
    out(i_) = strict_float(clamp(select(difference < 0.0F, e, 1.0F) / (1.0F + e), 1.17549435e-38F, 0.99999994F));
  }

  void schedule() {
    const HardwareFacts facts = hardware_facts(get_target());
    out.dim(0).set_min(0);
    const Var task("task");
    if (gpu_) {
      // A thread per draw. Measured by registers under ptxas.
      out.gpu_tile(i_, task, lane_, facts.gpu_threads, TailStrategy::GuardWithIf);
      for (Func* f : {&early_.taken, &missing_, &late_.taken}) f->compute_at(Func(out), lane_);
      return;
    }
    // Measured against two std::gamma_distribution over std::mt19937.
    const Var lane("lane_of_out"), group("group_of_out");
    out.split(i_, group, lane, lanes_, TailStrategy::GuardWithIf)
        .split(group, task, group, std::max(1, facts.parallel_grain / (16 * lanes_)), TailStrategy::GuardWithIf)
        .vectorize(lane)
        .parallel(task);
    for (Func* f : {&early_.taken, &late_.taken, &root_, &difference_})
      f->compute_at(Func(out), group).bound_extent(lane_, lanes_).vectorize(lane_);
    missing_.compute_at(Func(out), group).update().atomic().vectorize(lane_of_);
    for (Attempts* a : {&early_, &late_}) {
      a->taken.update().reorder(lane_, a->attempts, group_).vectorize(lane_);
      for (Func* f : {&a->words, &a->tried}) f->compute_at(a->taken, a->attempts).vectorize(lane_);
    }
  }

 private:
  struct Attempts {
    explicit Attempts(const std::string& name) : words("words_" + name), tried("tried_" + name), taken(name) {}
    Func words;  // of one block
    Func tried;  // two normals
    Func taken;  // 3 ln t of the first t that was accepted for each gamma
    RDom attempts;
  };

  // Words of a draw's j-th block.
  Tuple block_at(const Expr& j) { return block_words(cast<uint32_t>(group_ * lanes_ + lane_) * 8 + cast<uint32_t>(j)); }

  // Attempts for both gammas, after those that gave `before`. A law for which none is accepted, once in 10^9 draws,
  // stays at t = 1.
  void try_gammas(Attempts& a, const Tuple& before) {
    a.words(lane_, j_, group_) = block_at(j_);
    const Tuple block = a.words(lane_, j_, group_);
    const NormalPair z = normal_draws(block[0], block[1], 0.0F, 0.0F, 1.0F);
    a.tried(lane_, j_, group_) = Tuple(z.first, z.second);
    a.taken(lane_, group_) = before;
    const Tuple old = a.taken(lane_, group_);
    const auto attempt = [&](int which, const Expr& d, const Expr& c) {
      const Expr normal = a.tried(lane_, a.attempts, group_)[which],
                 word = a.words(lane_, a.attempts, group_)[2 + which];
      const Expr t = 1.0F + c * normal;
      const Expr log_v = 3.0F * log_poly(select(t > 0.0F, t, 1.0F));
      const Expr bound = 0.5F * normal * normal + d * (1.0F - t * t * t + log_v);
      const Expr accepted = t > 0.0F && log_poly(uniform_draw(word)) < bound;
      return strict_float(select(old[which] == none && accepted, log_v, old[which]));
    };
    a.taken(lane_, group_) = Tuple(attempt(0, alpha_d, alpha_c), attempt(1, beta_d, beta_c));
  }

  static constexpr int early_attempts = 2, attempts = 7;
  static constexpr float none = 1e30F;  // instead of a logarithm: nothing was accepted
  bool gpu_ = false;
  int lanes_ = 1;
  Var i_{"i"}, lane_{"lane"}, group_{"group"}, j_{"j"};
  Attempts early_{"early"}, late_{"late"};
  RDom lane_of_;
  Func missing_{"missing"}, root_{"root"}, difference_{"difference"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::PhiloxBeta, philox_beta)
