// The Donsker-Varadhan bound of mutual information and its gradient with respect to the scores.
#include <algorithm>
#include <limits>

#include "common/elementwise.h"
#include "common/polynomials.h"

namespace kindling {
namespace {

using namespace Halide;

class DonskerVaradhan : public Generator<DonskerVaradhan> {
 public:
  Input<Buffer<float, 2>> joint{"joint"};                   // (samples, estimates), samples >= 1
  Input<Buffer<float, 2>> product{"product"};               // (product samples, estimates), product samples >= 1
  Input<float> scale{"scale"};                              // of the gradients
  Input<float> log_rate{"log_rate"}, log_keep{"log_keep"};  // logarithms of the moving average's rate a and of 1 - a
  Input<Buffer<float, 1>> old_average{"old_average"};       // (estimates), logarithms; -inf: none so far

  Output<Buffer<float, 1>> value{"value"};                        // (estimates)
  Output<Buffer<float, 1>> average{"average"};                    // (estimates)
  Output<Buffer<float, 2>> joint_gradient{"joint_gradient"};      // (samples, estimates)
  Output<Buffer<float, 2>> product_gradient{"product_gradient"};  // (product samples, estimates)

  void generate() {
    const HardwareFacts facts = hardware_facts(get_target());
    lanes_ = get_target().has_gpu_feature() ? facts.gpu_threads : facts.vector_width * facts.elementwise_unroll;
    // No lane adds up more terms in float32 than a long sum of the contraction tile does.
    block_steps_ = std::min(facts.parallel_grain / lanes_, facts.depth_block);
    const Expr n = joint.dim(0).extent(), m = product.dim(0).extent(), estimates = value.dim(0).extent();
    constexpr float lowest = -std::numeric_limits<float>::infinity();

    // A NaN never wins; it comes back through the sum.
    top_part_ = part(
        "top_part", m, lowest, product, [](const Expr& old, const Expr& x) { return select(x > old, x, old); },
        [](const Expr& x) { return x; });
    const RDom all_product(0, lanes_, 0, blocks(m), "all_product"), all_joint(0, lanes_, 0, blocks(n), "all_joint");
    top_(b_) = lowest;
    const Expr candidate = top_part_.f(all_product.x, all_product.y, b_);
    top_(b_) = select(candidate > top_(b_), candidate, top_(b_));

    const auto add = [](const Expr& old, const Expr& x) { return old + x; };
    power_part_ = part("power_part", m, 0.0F, product, add, [&](const Expr& x) { return exp_poly(x - top_(b_)); });
    joint_part_ = part("joint_part", n, 0.0F, joint, add, [&](const Expr& x) { return x - top_(b_); });
    power_(b_) += cast<double>(power_part_.f(all_product.x, all_product.y, b_));
    joint_sum_(b_) += cast<double>(joint_part_.f(all_joint.x, all_joint.y, b_));

    // All logarithms relative to the maximum, so that an offset of the scores costs no digits.
    // Stages of their own: written into each other, these logarithms would be millions of expressions.
    log_mean_(b_) = log_poly(cast<float>(power_(b_) / m));
    const Expr log_mean = log_mean_(b_);
    terms_(b_) = Tuple(log_keep + (old_average(b_) - top_(b_)), log_rate + log_mean);
    const Expr kept = terms_(b_)[0], fresh = terms_(b_)[1];
    larger_(b_) = select(strict_float(kept > fresh), kept, fresh);
    mixed_(b_) = larger_(b_) + log_poly(exp_poly(kept - larger_(b_)) + exp_poly(fresh - larger_(b_)));
    const Expr mixed = mixed_(b_);
    const Expr none = strict_float(old_average(b_) < std::numeric_limits<float>::lowest());
    const Expr plain = none || log_rate == 0.0F;
    rows_(b_) = Tuple(strict_float(cast<float>(joint_sum_(b_) / n) - log_mean),
                      strict_float(top_(b_) + select(plain, log_mean, mixed)),
                      select(plain, cast<float>(cast<double>(scale) / power_(b_)), exp_poly(-mixed) * (scale / m)));
    const Expr b = min(likely(b_), estimates - 1);
    value(b_) = rows_(b)[0];
    average(b_) = rows_(b)[1];
    joint_gradient(i_, b_) = scale / cast<float>(n);
    product_gradient(i_, b_) = -exp_poly(product(i_, b_) - top_(b_)) * rows_(b_)[2];
  }

  void schedule() {
    const Expr n = joint.dim(0).extent(), m = product.dim(0).extent(), estimates = joint.dim(1).extent();
    for (auto* in : {&joint, &product}) {
      in->dim(0).set_min(0);
      in->dim(1).set_bounds(0, estimates);
    }
    old_average.dim(0).set_bounds(0, estimates);
    value.dim(0).set_bounds(0, estimates);
    average.dim(0).set_bounds(0, estimates);
    joint_gradient.dim(0).set_bounds(0, n).dim(1).set_bounds(0, estimates);
    product_gradient.dim(0).set_bounds(0, m).dim(1).set_bounds(0, estimates);
    schedule_matrix(Func(joint_gradient), i_, b_, n, get_target());
    schedule_matrix(Func(product_gradient), i_, b_, m, get_target());
    // Of a few estimates, on the host: a device need not have float64.
    for (Func f : {top_, power_, joint_sum_, log_mean_, terms_, larger_, mixed_, rows_}) f.compute_root();
    for (Part* p : {&top_part_, &power_part_, &joint_part_}) {
      p->f.compute_root();
      if (get_target().has_gpu_feature()) {
        schedule_gpu(*p);
      } else {
        schedule_cpu(*p);
      }
    }
  }

 private:
  // Partial results (lane, block, estimate) over blocks of fixed size: threads change no bit.
  struct Part {
    Func f;
    RDom steps;
  };

  [[nodiscard]] Expr blocks(const Expr& size) const {
    return (size + block_steps_ * lanes_ - 1) / (block_steps_ * lanes_);
  }

  template <class Combine, class Map>
  Part part(const std::string& name, const Expr& size, float neutral, const GeneratorInput<Buffer<float, 2>>& scores,
            const Combine& combine, const Map& map) {
    Part p{Func(name), RDom(0, block_steps_, "steps_" + name)};
    const Expr first = (block_ * block_steps_ + p.steps) * lanes_;
    p.steps.where(first < size);
    const Expr i = (block_ * block_steps_ + p.steps) * lanes_ + lane_;
    p.f(lane_, block_, b_) = neutral;
    const Expr x = map(scores(min(likely(i), size - 1), b_));
    p.f(lane_, block_, b_) = combine(p.f(lane_, block_, b_), select(likely(i < size), x, neutral));
    return p;
  }

  // Measured against a pass of the same exponentials (softmax_cross_entropy) and Eigen's.
  void schedule_cpu(Part& p) {
    const int v = hardware_facts(get_target()).vector_width;
    p.f.bound_extent(lane_, lanes_).vectorize(lane_, v).unroll(lane_);
    p.f.update().reorder(lane_, p.steps, block_, b_).vectorize(lane_, v).unroll(lane_).parallel(block_).parallel(b_);
  }

  // A thread per lane. Measured by registers under ptxas.
  void schedule_gpu(Part& p) {
    p.f.bound_extent(lane_, lanes_).gpu_blocks(block_, b_).gpu_threads(lane_);
    p.f.update().reorder(p.steps, lane_, block_, b_).gpu_blocks(block_, b_).gpu_threads(lane_);
  }

  int lanes_ = 0, block_steps_ = 0;
  Var i_{"i"}, b_{"b"}, lane_{"lane"}, block_{"block"};
  Part top_part_, power_part_, joint_part_;
  Func top_{"top"}, power_{"power"}, joint_sum_{"joint_sum"}, log_mean_{"log_mean"}, terms_{"terms"}, larger_{"larger"},
      mixed_{"mixed"}, rows_{"rows"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::DonskerVaradhan, donsker_varadhan)
