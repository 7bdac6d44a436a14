#include "methods/information_terms.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/optimizer.h"
#include "kernels/random.h"

namespace kindling {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::usage, "bottleneck: " + what); }

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr std::uint32_t units_of_critic = 16;  // a critic takes as many for its layers

// sum += x.
void add(const kernels::Execution& exec, std::span<const float> x, std::span<float> sum) {
  kernels::sgd_step(exec, x, {.learning_rate = -1}, sum);
}

}  // namespace

void check_options(const InformationTermOptions& o) {
  check_options(o.critic);
  if (!(o.noise_variance >= 0) || !std::isfinite(o.noise_variance))
    refuse(fmt::format("noise variance: expected a finite number, 0 or more, found {}", o.noise_variance));
  if (o.batch < 2)
    refuse(fmt::format("batch: expected 2 or more, found {}: one pair has no product to compare with", o.batch));
  if (o.critic_updates < 1) refuse(fmt::format("critic updates: expected 1 or more, found {}", o.critic_updates));
  if (o.warmup < 0) refuse(fmt::format("warm-up: expected 0 or more updates, found {}", o.warmup));
  if (!(o.warmup_tolerance >= 0))
    refuse(fmt::format("warm-up tolerance: expected 0 or more, found {}", o.warmup_tolerance));
  if (o.warmup_window < 1) refuse(fmt::format("warm-up window: expected 1 or more, found {}", o.warmup_window));
}

void expect_two_classes(const Dataset& data) {
  const auto& labels = data.train.labels;
  if (labels.size() < 2)
    throw Error(ErrorCode::bad_input,
                fmt::format("bottleneck: expected 2 or more training samples, found {}", labels.size()));
  if (std::all_of(labels.begin(), labels.end(), [&](std::int32_t l) { return l == labels.front(); })) {
    throw Error(
        ErrorCode::bad_input,
        fmt::format("bottleneck: all training labels are {}: nothing can be known about a constant", labels.front()));
  }
}

InformationTerms::InformationTerms(const std::string& name, std::int64_t features, std::int64_t inputs, int classes,
                                   const Weights& weights, const InformationTermOptions& options, std::uint32_t unit,
                                   const Context& context)
    : options_(options),
      weights_(weights),
      classes_(classes),
      noise_{context.seed, Purpose::noise, unit, 0},
      first_gradient_({options.batch, features}),
      residency_(kernels::execution(context)) {
  const auto critic = [&](const char* what, std::int64_t first, std::int64_t second, std::uint32_t number) {
    const Stream stream{context.seed, Purpose::critic, (2 * unit + number) * units_of_critic, 0};
    return std::make_unique<GuardedCritic>(fmt::format(fmt::runtime(what), name), first, second, options.batch,
                                           options.critic, stream, context);
  };
  if (weights.target != 0) {
    target_ = critic("I(Y; {})", features, classes, 0);
    one_hot_ = Tensor({2 * options.batch, classes});
  }
  if (weights.input != 0) {
    input_ = critic("I(X; {} + noise)", aware() ? features : inputs, features, 1);
    noisy_ = Tensor({2 * options.batch, features});
    second_gradient_ = Tensor({2 * options.batch, features});
  }
  residency_.keep(kernels::Residency::Role::input, one_hot_);
  for (const Tensor* t : {&noisy_, &first_gradient_, &second_gradient_})
    residency_.keep(kernels::Residency::Role::scratch, *t);
}

void InformationTerms::prepare(const kernels::Execution& exec, const TermBatch& batch) {
  if (target_) {
    std::fill(one_hot_.flat().begin(), one_hot_.flat().end(), 0.0F);
    for (std::size_t i = 0; i < batch.labels.size(); ++i)
      one_hot_.view()(static_cast<std::int64_t>(i), batch.labels[i]) = 1.0F;
    kernels::changed(one_hot_);
  }
  if (input_) {
    Stream stream = noise_;
    stream.step = batch.number;
    kernels::philox_normal(exec, stream, 0, static_cast<float>(std::sqrt(options_.noise_variance)), noisy_.flat());
    add(exec, batch.outputs.flat(), noisy_.flat());
  }
}

InformationTerms::Values InformationTerms::update(const kernels::Execution& exec, const TermBatch& batch) {
  prepare(exec, batch);
  Values values{nan, nan};
  if (target_) values.target = target_->update(exec, batch.outputs.rows(0, options_.batch), one_hot_);
  if (input_) values.input = input_->update(exec, first_of_input(batch), noisy_);
  return values;
}

void InformationTerms::add_gradient(const kernels::Execution& exec, const TermBatch& batch, TensorView gradient) {
  prepare(exec, batch);
  const TensorView joint = gradient.rows(0, options_.batch);
  if (target_) {
    Critic& critic = target_->critic();
    critic.forward(exec, batch.outputs.rows(0, options_.batch), one_hot_);
    critic.gradients(exec, -weights_.target, first_gradient_, {});
    add(exec, std::as_const(first_gradient_).flat(), joint.flat());
  }
  if (!input_) return;
  Critic& critic = input_->critic();
  critic.forward(exec, first_of_input(batch), noisy_);
  const bool copy = aware() && options_.gradient_through_copy;
  critic.gradients(exec, weights_.input, copy ? first_gradient_.view() : TensorView(), second_gradient_);
  add(exec, std::as_const(second_gradient_).flat(), gradient.flat());
  if (copy) add(exec, std::as_const(first_gradient_).flat(), joint.flat());
}

int InformationTerms::restarts() const {
  return static_cast<int>((target_ ? target_->restarts() : 0) + (input_ ? input_->restarts() : 0));
}

void InformationTerms::archive(StateArchive& archive, const std::string& prefix) {
  if (target_) target_->archive(archive, prefix + ".target");
  if (input_) input_->archive(archive, prefix + ".input");
}

}  // namespace kindling
