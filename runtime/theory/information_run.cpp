#include "theory/information_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "kernels/information.h"

namespace kindling {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::usage, "information: " + what); }

// Streams of one estimate are 16 units apart: a critic takes as many for its layers.
constexpr std::uint32_t units_of_critic = 16;

// mean and standard deviation of the mean.
struct Mean {
  double mean = 0, error = 0;
};
template <class Value>
Mean mean_of(std::size_t count, const Value& value) {
  const auto n = static_cast<double>(count);
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < count; ++i) sum += value(i);
  const double mean = sum / n;
  for (std::size_t i = 0; i < count; ++i) squares += (value(i) - mean) * (value(i) - mean);
  return {mean, std::sqrt(squares / (n * std::max(n - 1, 1.0)))};
}

// The bound over all scores at once, by the kernel, and its error by the delta method.
void evaluate(const kernels::Execution& exec, std::vector<float>& joint, std::vector<float>& product,
              InformationEstimate& estimate) {
  const auto n = static_cast<std::int64_t>(joint.size());
  std::vector<float> joint_gradient(joint.size()), product_gradient(product.size());
  float nats = 0;
  kernels::donsker_varadhan(exec, ConstTensorView(joint.data(), {1, n}), ConstTensorView(product.data(), {1, n}), {},
                            {}, std::span(&nats, 1), TensorView(joint_gradient.data(), {1, n}),
                            TensorView(product_gradient.data(), {1, n}));
  estimate.nats = nats;
  // The product gradient is -exp(t_i) / sum exp t, each term's share of the mean exponential.
  const Mean of_joint = mean_of(joint.size(), [&](std::size_t i) { return static_cast<double>(joint[i]); });
  const Mean of_product = mean_of(product.size(), [&](std::size_t i) {
    return -static_cast<double>(product_gradient[i]) * static_cast<double>(n);
  });
  estimate.standard_error = std::hypot(of_joint.error, of_product.error);
  estimate.evaluation_pairs = n;
}

}  // namespace

void check_options(const InformationOptions& o) {
  check_options(o.critic);
  if (o.batch < 2)
    refuse(
        fmt::format("expected a batch of 2 or more pairs, found {}: one pair has no product to compare with", o.batch));
  if (o.updates < 1) refuse(fmt::format("expected 1 or more updates, found {}", o.updates));
  if (!(o.tolerance >= 0)) refuse(fmt::format("expected a tolerance of 0 or more, found {}", o.tolerance));
  if (o.window < 1) refuse(fmt::format("expected a window of 1 or more updates, found {}", o.window));
  if (o.evaluation_pairs < 2) refuse(fmt::format("expected 2 or more evaluation pairs, found {}", o.evaluation_pairs));
  if (!(o.held_out > 0 && o.held_out < 1))
    refuse(fmt::format("expected a held-out share in (0, 1), found {}", o.held_out));
}

InformationEstimate run_estimate(PairSource& source, const std::string& what, std::uint32_t unit,
                                 const InformationOptions& options, const Context& context) {
  check_options(options);
  const auto start = std::chrono::steady_clock::now();
  const kernels::Execution exec = kernels::execution(context);
  const std::int64_t a = source.first_features(), b = source.second_features();
  GuardedCritic guarded(what, a, b, options.batch, options.critic,
                        {context.seed, Purpose::critic, unit * units_of_critic, 0}, context);
  Tensor first({options.batch, a}), second({2 * options.batch, b});
  kernels::Residency residency(exec);
  if (source.resident()) {
    for (const Tensor* t : {&first, &second}) residency.keep(kernels::Residency::Role::scratch, *t);
  }
  InformationEstimate estimate;
  Plateau plateau(options.window, options.tolerance);
  double sum = 0;
  std::int64_t count = 0;
  while (estimate.updates < options.updates && !plateau.reached()) {
    context.check_stop();
    source.train_pairs(static_cast<std::uint32_t>(estimate.updates), first, second);
    const double nats = guarded.update(exec, first, second);
    ++estimate.updates;
    sum += nats;
    ++count;
    const bool full = plateau.add(nats);
    if (!full && estimate.updates < options.updates) continue;
    estimate.training_nats = sum / static_cast<double>(count);
    estimate.trace.push_back({estimate.updates, estimate.training_nats});
    context.report({what, estimate.updates, options.updates, fmt::format("{:.4f} nats", estimate.training_nats)});
    sum = 0;
    count = 0;
  }
  estimate.converged = plateau.reached();
  estimate.restarts = static_cast<int>(guarded.restarts());
  estimate.learning_rate = guarded.critic().learning_rate();

  std::vector<float> joint, product;
  for (std::uint32_t number = 0; static_cast<std::int64_t>(joint.size()) < options.evaluation_pairs; ++number) {
    context.check_stop();
    source.fresh_pairs(number, first, second);
    guarded.critic().forward(exec, first, second);
    const auto left = static_cast<std::size_t>(options.evaluation_pairs) - joint.size();
    const auto append = [&](std::vector<float>& all, ConstTensorView scores) {
      const std::size_t taken = std::min(left, static_cast<std::size_t>(scores.cols()));
      kernels::fetch(scores);
      all.insert(all.end(), scores.data(), scores.data() + taken);
    };
    append(joint, guarded.critic().joint_scores());
    append(product, guarded.critic().product_scores());
  }
  evaluate(exec, joint, product, estimate);
  if (!std::isfinite(estimate.nats)) {
    throw Error(
        ErrorCode::numerical,
        fmt::format("{}: the estimate on fresh pairs is {}; a smaller learning rate may help", what, estimate.nats));
  }
  estimate.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return estimate;
}

}  // namespace kindling
