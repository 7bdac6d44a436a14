// sgd_step, momentum_step and adam_step on gradients that are stored, beside the same steps in Eigen's arrays. The
// limit is reading the gradient and reading and writing parameters and state once.
#include <algorithm>
#include <cmath>

#include "kernels/operations.h"
#include "kernels/optimizer.h"

namespace kindling::bench {
namespace {

constexpr std::int64_t count = 1'000'000;
constexpr double unit = epsilon32 / 2;  // most that one rounding does
constexpr kernels::AdamStep adam{.step = 10};
constexpr kernels::MomentumStep momentum{};

struct StepProblem {
  StepProblem() {
    fill_random(gradient.flat(), 71);
    fill_random(initial_parameters.flat(), 72);
    fill_random(initial_first.flat(), 73);
    fill_random(initial_second.flat(), 74);
    for (float& v : initial_second.flat()) v *= v;  // a mean of squares
  }
  [[nodiscard]] OptimizerStep operation() {
    return {gradient.flat(),   parameters.flat(), first.flat(), second.flat(), &learning_rate,
            momentum.momentum, adam.beta1,        adam.beta2,   adam.epsilon,  adam.step};
  }

  void verify_sgd(const std::function<void()>& run);
  void verify_momentum(const std::function<void()>& run);
  void verify_adam(const std::function<void()>& run);

  // Read at every call. Tiny while the clock runs, since the parameters go on moving; large for verification.
  float learning_rate = 1e-12F;
  Tensor gradient{{count}}, parameters{{count}}, first{{count}}, second{{count}};

 private:
  void run_from_start(const std::function<void()>& run) {
    const float timed_rate = learning_rate;
    learning_rate = 0.5F;
    std::ranges::copy(initial_parameters.flat(), parameters.flat().begin());
    std::ranges::copy(initial_first.flat(), first.flat().begin());
    std::ranges::copy(initial_second.flat(), second.flat().begin());
    run();
    learning_rate = timed_rate;
  }
  Tensor initial_parameters{{count}}, initial_first{{count}}, initial_second{{count}};
};

// Each rounding of a result is at most `unit` of it.
void StepProblem::verify_sgd(const std::function<void()>& run) {
  run_from_start(run);
  for (std::int64_t i = 0; i < count; ++i) {
    const double change = 0.5 * gradient.data()[i], wanted = initial_parameters.data()[i] - change;
    expect_near("parameters", i, parameters.data()[i], wanted, unit * (std::abs(change) + std::abs(wanted)));
  }
}

void StepProblem::verify_momentum(const std::function<void()>& run) {
  run_from_start(run);
  for (std::int64_t i = 0; i < count; ++i) {
    const double kept = double{momentum.momentum} * initial_first.data()[i], v = kept + gradient.data()[i];
    const double v_off = unit * (std::abs(kept) + std::abs(v));
    expect_near("velocity", i, first.data()[i], v, v_off);
    const double wanted = initial_parameters.data()[i] - 0.5 * v;
    expect_near("parameters", i, parameters.data()[i], wanted,
                0.5 * v_off + unit * (0.5 * std::abs(v) + std::abs(wanted)));
  }
}

void StepProblem::verify_adam(const std::function<void()>& run) {
  run_from_start(run);
  const double beta1 = adam.beta1, beta2 = adam.beta2, t = adam.step;
  const double rate = 0.5 / (1 - std::pow(beta1, t)), bias = 1 - std::pow(beta2, t);
  for (std::int64_t i = 0; i < count; ++i) {
    const double g = gradient.data()[i];
    const double kept = beta1 * initial_first.data()[i], fresh = (1 - beta1) * g, m = kept + fresh;
    const double s = beta2 * initial_second.data()[i] + (1 - beta2) * g * g;
    const double m_off = unit * (std::abs(kept) + 2 * std::abs(fresh) + std::abs(m));
    expect_near("mean", i, first.data()[i], m, m_off);
    expect_near("mean square", i, second.data()[i], s, 4 * unit * s);
    const double divisor = std::sqrt(s / bias) + double{adam.epsilon}, change = rate * m / divisor;
    const double wanted = initial_parameters.data()[i] - change;
    // The divisor is off by half of its argument's 4 + 2 roundings, the root and a sum; then rate (2), product,
    // quotient.
    expect_near("parameters", i, parameters.data()[i], wanted,
                rate * m_off / divisor + unit * ((3 + 2 + 4) * std::abs(change) + std::abs(wanted)));
  }
}

const Operation<StepProblem> operations[] = {
    {.name = "sgd_step",
     .run =
         [](const kernels::Execution& e, StepProblem& p) {
           kernels::sgd_step(e, p.gradient.flat(), {.learning_rate = p.learning_rate}, p.parameters.flat());
         },
     .verify = &StepProblem::verify_sgd,
     .peers = {"eigen"},
     .bind = [](const Peer& peer, StepProblem& p) { return peer.sgd_step(p.operation()); }},
    {.name = "momentum_step",
     .run =
         [](const kernels::Execution& e, StepProblem& p) {
           kernels::MomentumStep step = momentum;
           step.learning_rate = p.learning_rate;
           kernels::momentum_step(e, p.gradient.flat(), step, p.parameters.flat(), p.first.flat());
         },
     .verify = &StepProblem::verify_momentum,
     .peers = {"eigen"},
     .bind = [](const Peer& peer, StepProblem& p) { return peer.momentum_step(p.operation()); }},
    {.name = "adam_step",
     .run =
         [](const kernels::Execution& e, StepProblem& p) {
           kernels::AdamStep step = adam;
           step.learning_rate = p.learning_rate;
           kernels::adam_step(e, p.gradient.flat(), step, p.parameters.flat(), p.first.flat(), p.second.flat());
         },
     .verify = &StepProblem::verify_adam,
     .peers = {"eigen"},
     .bind = [](const Peer& peer, StepProblem& p) { return peer.adam_step(p.operation()); }}};

void add_rows(Registry& registry, const Settings& settings) {
  double arrays = 3;  // gradient and parameters read, parameters written; each state adds two
  const Shared<StepProblem> shared([] { return std::make_shared<StepProblem>(); });
  for (const auto& operation : operations) {
    report_missing_peers(registry, operation.name, operation.peers);
    add_operation(registry, settings, operation, shared,
                  {.shape = shape_name({count}),
                   .work = {.bytes = 4.0 * count * arrays},
                   .limit = Limit::memory,
                   .goal = {.ratio = 1}});
    arrays += 2;
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
