// The Donsker-Varadhan bound of mutual information and its gradient with respect to the scores.
#include <algorithm>
#include <functional>
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
    gpu_ = get_target().has_gpu_feature();
    lanes_ = gpu_ ? facts.gpu_threads : facts.vector_width * facts.elementwise_unroll;
    // No lane adds up more terms in float32 than a long sum of the contraction tile does.
    block_steps_ = std::min(facts.parallel_grain / lanes_, facts.depth_block);
    const Expr n = joint.dim(0).extent(), m = product.dim(0).extent(), estimates = value.dim(0).extent();

    if (gpu_) {
      powers_by_passes(m);
    } else {
      powers_by_blocks(m);
    }
    joint_part_ = part(
        "joint_part", n, 0.0F, joint, [](const Expr& old, const Expr& x) { return old + x; },
        [&](const Expr& x) { return x - top_(b_); });
    const RDom all_joint(0, lanes_, 0, blocks(n), "all_joint");
    joint_sum_(b_) += cast<double>(joint_part_.f(all_joint.x, all_joint.y, b_));

    // All logarithms relative to the maximum, so that an offset of the scores costs no digits.
    // Stages of their own: written into each other, these logarithms would be millions of expressions.
    log_mean_(b_) = log_poly(cast<float>(power_(b_) / m));
    const Expr log_mean = log_mean_(b_);
    terms_(b_) = Tuple(log_keep + (old_average(b_) - top_(b_)), log_rate + log_mean);
    const Expr kept = terms_(b_)[0], fresh = terms_(b_)[1];
    greater_(b_) = select(strict_float(kept > fresh), kept, fresh);
    mixed_(b_) = greater_(b_) + log_poly(exp_nonpositive(kept - greater_(b_), get_target()) +
                                         exp_nonpositive(fresh - greater_(b_), get_target()));
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
    product_gradient(i_, b_) = -power_at_(i_) * rows_(b_)[2];
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
    for (Func f : {top_, rows_}) f.compute_root();
    for (Func f : {power_, joint_sum_, log_mean_, terms_, greater_, mixed_}) f.compute_at(rows_, b_);
    if (gpu_) {
      for (Part* p : {&top_part_, &power_part_, &joint_part_}) schedule_gpu(*p);
    } else {
      schedule_cpu();
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

  // On a GPU: maximum, sum and gradient are passes over the scores, each with its exponentials.
  void powers_by_passes(const Expr& m) {
    top_part_ = part(
        "top_part", m, lowest_, product, [](const Expr& old, const Expr& x) { return larger(x, old); },
        [](const Expr& x) { return x; });
    const RDom all(0, lanes_, 0, blocks(m), "all_product");
    top_(b_) = lowest_;
    top_(b_) = larger(top_part_.f(all.x, all.y, b_), top_(b_));
    power_part_ = part(
        "power_part", m, 0.0F, product, [](const Expr& old, const Expr& x) { return old + x; },
        [&](const Expr& x) { return exp_nonpositive(x - top_(b_), get_target()); });
    power_(b_) += cast<double>(power_part_.f(all.x, all.y, b_));
    power_at_ = [this](const Expr& i) { return exp_nonpositive(product(i, b_) - top_(b_), get_target()); };
  }

  // On a CPU: one pass over blocks that fit into the first cache. A lane's exponentials are relative to its own maximum
  // in the block; they are kept, with the lane's sum and maximum in two rows behind, and the gradient only scales them.
  void powers_by_blocks(const Expr& m) {
    block_steps_ = 64;
    const Expr count = blocks(m), rows = min(block_steps_, (m + lanes_ - 1) / lanes_);
    const RDom steps(0, rows, "steps");
    steps_ = steps;
    const auto index = [&](const Expr& row) { return (block_ * block_steps_ + row) * lanes_ + lane_; };
    // A score that comes twice does not change a maximum.
    const auto score = [&](const Expr& row) { return product(min(likely(index(row)), m - 1), b_); };
    lane_top_(lane_, block_, b_) = lowest_;
    lane_top_(lane_, block_, b_) = larger(score(steps), lane_top_(lane_, block_, b_));
    const Expr lane_top = lane_top_(lane_, block_, b_);
    // Where all scores are -inf, so is the maximum.
    powers_(lane_, row_, block_, b_) =
        exp_nonpositive(score(row_) - select(strict_float(lane_top > lowest_), lane_top, 0.0F), get_target());
    lane_sum_(lane_, block_, b_) = 0.0F;
    lane_sum_(lane_, block_, b_) += select(likely(index(steps) < m), powers_(lane_, steps, block_, b_), 0.0F);
    kept_(lane_, row_, block_, b_) =
        select(likely(row_ < rows), powers_(lane_, min(likely(row_), rows - 1), block_, b_),
               select(row_ == rows, lane_sum_(lane_, block_, b_), lane_top));

    const RDom all(0, lanes_, 0, count, "all_product");
    top_(b_) = lowest_;
    top_(b_) = larger(kept_(all.x, rows + 1, all.y, b_), top_(b_));
    factor_(lane_, block_, b_) = exp_nonpositive(kept_(lane_, rows + 1, block_, b_) - top_(b_), get_target());
    power_(b_) += cast<double>(kept_(all.x, rows, all.y, b_) * factor_(all.x, all.y, b_));
    power_at_ = [this, rows](const Expr& i) {
      const Expr lane = i % lanes_, row = i / lanes_, block = row / block_steps_;
      return kept_(lane, min(row % block_steps_, rows - 1), block, b_) * factor_(lane, block, b_);
    };
  }

  // Measured against Eigen's passes over the same scores.
  void schedule_cpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const int v = facts.vector_width, blocks_of_task = std::max(1, facts.parallel_grain / (lanes_ * block_steps_));
    const Var task("task"), within("within");
    const auto by_tasks = [&](Func f) {
      f.compute_root()
          .bound_extent(lane_, lanes_)
          .fuse(block_, b_, task)
          .split(task, task, within, blocks_of_task, TailStrategy::GuardWithIf)
          .vectorize(lane_, v)
          .unroll(lane_)
          .parallel(task)
          .never_partition(task, within);  // rows are, so that only a last, incomplete one is gathered
    };
    by_tasks(kept_);
    for (Func f : {lane_top_, lane_sum_}) {
      f.compute_at(kept_, within).bound_extent(lane_, lanes_).vectorize(lane_, v).unroll(lane_);
      f.update().reorder(lane_, steps_, block_, b_).vectorize(lane_, v).unroll(lane_).never_partition(block_, b_);
    }
    powers_.compute_at(kept_, within)
        .bound_extent(lane_, lanes_)
        .vectorize(lane_, v)
        .unroll(lane_)
        .never_partition(block_, b_);
    factor_.compute_root().bound_extent(lane_, lanes_).vectorize(lane_, v).unroll(lane_);
    // The sums of a task's block stay in registers until the block is done.
    Func joint = joint_part_.f;
    by_tasks(joint.in(joint_sum_));
    joint.compute_at(joint.in(joint_sum_), within).bound_extent(lane_, lanes_).vectorize(lane_, v).unroll(lane_);
    joint.update()
        .reorder(lane_, joint_part_.steps, block_, b_)
        .vectorize(lane_, v)
        .unroll(lane_)
        .never_partition(block_, b_);
  }

  // A thread per lane. Measured by registers under ptxas.
  void schedule_gpu(Part& p) {
    p.f.compute_root().bound_extent(lane_, lanes_).gpu_blocks(block_, b_).gpu_threads(lane_);
    p.f.update().reorder(p.steps, lane_, block_, b_).gpu_blocks(block_, b_).gpu_threads(lane_);
  }

  // A NaN never wins; it comes back through the sum.
  static Expr larger(const Expr& candidate, const Expr& old) {
    return select(strict_float(candidate > old), candidate, old);
  }

  static constexpr float lowest_ = -std::numeric_limits<float>::infinity();
  bool gpu_ = false;
  int lanes_ = 0, block_steps_ = 0;
  std::function<Expr(const Expr&)> power_at_;  // exp(score i - maximum)
  Var i_{"i"}, b_{"b"}, lane_{"lane"}, block_{"block"}, row_{"row"};
  RVar steps_;
  Part top_part_, power_part_, joint_part_;
  Func lane_top_{"lane_top"}, lane_sum_{"lane_sum"}, powers_{"powers"}, kept_{"kept"}, factor_{"factor"};
  Func top_{"top"}, power_{"power"}, joint_sum_{"joint_sum"}, log_mean_{"log_mean"}, terms_{"terms"},
      greater_{"greater"}, mixed_{"mixed"}, rows_{"rows"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::DonskerVaradhan, donsker_varadhan)
