#include "nn/critic.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/information.h"
#include "kernels/optimizer.h"
#include "kernels/random.h"

namespace kindling {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::usage, "critic: " + what); }

// Glorot's uniform law with the fan-in of both parts together.
void draw_weights(const kernels::Execution& exec, Stream stream, std::uint32_t layer, std::int64_t fan_in,
                  Tensor& weight) {
  if (weight.empty()) return;
  const double limit = std::sqrt(6.0 / static_cast<double>(fan_in + weight.shape()[0]));
  stream.unit += layer;
  kernels::philox_uniform(exec, stream, static_cast<float>(-limit), static_cast<float>(limit), weight.flat());
}

}  // namespace

void check_options(const CriticOptions& o) {
  constexpr std::size_t most_layers = 12;
  if (o.hidden.empty() || o.hidden.size() > most_layers)
    refuse(fmt::format("expected 1 to {} hidden layers, found {}", most_layers, o.hidden.size()));
  for (const std::int64_t width : o.hidden)
    if (width < 1) refuse(fmt::format("expected hidden layers of 1 unit or more, found {}", width));
  if (!std::isfinite(o.leaky_slope)) refuse(fmt::format("expected a finite leaky slope, found {}", o.leaky_slope));
  if (!(o.learning_rate > 0) || !std::isfinite(o.learning_rate))
    refuse(fmt::format("expected a positive learning rate, found {}", o.learning_rate));
  if (!(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1 && o.epsilon > 0))
    refuse("expected beta1 and beta2 in [0, 1) and a positive epsilon");
  if (!(o.average_rate > 0 && o.average_rate <= 1))
    refuse(fmt::format("expected a rate of the moving average above 0 and at most 1, found {}", o.average_rate));
  if (!(o.divergence_limit > 0))
    refuse(fmt::format("expected a positive divergence limit, found {}", o.divergence_limit));
  if (o.restarts < 0) refuse(fmt::format("expected 0 or more restarts, found {}", o.restarts));
  if (!(o.restart_factor > 0 && o.restart_factor <= 1))
    refuse(fmt::format("expected a restart factor above 0 and at most 1, found {}", o.restart_factor));
}

Critic::Layer Critic::make_layer(std::int64_t fan_in, std::int64_t fan_out, std::int64_t rows) const {
  Layer layer;
  for (Tensor* t : {&layer.weight, &layer.mean, &layer.square}) *t = Tensor({fan_out, fan_in});
  for (Tensor* t : {&layer.bias, &layer.mean_bias, &layer.square_bias}) *t = Tensor({fan_out});
  layer.output = Tensor({rows, fan_out});
  layer.gradient = Tensor({rows, fan_out});
  return layer;
}

Critic::Critic(std::int64_t first, std::int64_t second, std::int64_t max_pairs, const CriticOptions& options,
               const Stream& weights, const Context& context)
    : options_(options),
      weights_(weights),
      context_(context),
      learning_rate_(options.learning_rate),
      residency_(kernels::execution(context)) {
  check_options(options);
  const std::int64_t rows = 2 * max_pairs;
  first_part_ = make_layer(first, options.hidden.front(), max_pairs);
  std::int64_t below = second;
  for (const std::int64_t width : options.hidden) {
    layers_.push_back(make_layer(below, width, rows));
    below = width;
  }
  layers_.push_back(make_layer(below, 1, 0));
  scores_ = Tensor({rows});
  score_gradient_ = Tensor({rows});
  log_average_.resize(1);
  using Role = kernels::Residency::Role;
  const auto keep = [&](Layer& l) {
    for (const Tensor* t : {&l.weight, &l.mean, &l.square, &l.bias, &l.mean_bias, &l.square_bias})
      residency_.keep(Role::input, *t);
    for (const Tensor* t : {&l.output, &l.gradient}) residency_.keep(Role::scratch, *t);
  };
  keep(first_part_);
  for (Layer& l : layers_) keep(l);
  for (const Tensor* t : {&scores_, &score_gradient_}) residency_.keep(Role::scratch, *t);
  restart(0, options.learning_rate);
}

void Critic::restart(std::int64_t start, double learning_rate) {
  const kernels::Execution exec = kernels::execution(context_);
  Stream stream = weights_;
  stream.step += static_cast<std::uint32_t>(start);
  learning_rate_ = learning_rate;
  steps_ = 0;
  log_average_.front() = -std::numeric_limits<float>::infinity();
  const auto reset = [&](Layer& l) {
    for (Tensor* t : {&l.mean, &l.square, &l.bias, &l.mean_bias, &l.square_bias}) kernels::zero(exec, t->flat());
  };
  reset(first_part_);
  const std::int64_t together = first_part_.weight.view().cols() + layers_.front().weight.view().cols();
  draw_weights(exec, stream, 0, together, first_part_.weight);
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    reset(layers_[l]);
    draw_weights(exec, stream, static_cast<std::uint32_t>(l + 1), l == 0 ? together : layers_[l].weight.view().cols(),
                 layers_[l].weight);
  }
}

void Critic::forward(const kernels::Execution& exec, ConstTensorView first, ConstTensorView second) {
  pairs_ = first.rows();
  first_ = first;
  second_ = second;
  const Activation leaky{ActivationKind::leaky_relu, options_.leaky_slope};
  const TensorView shared = first_part_.output.view().rows(0, pairs_);
  kernels::dense_forward(exec, first, first_part_.weight, first_part_.bias.flat(), {ActivationKind::identity}, shared);
  ConstTensorView below = layers_.front().output.view().rows(0, 2 * pairs_);
  kernels::dense_forward_added(exec, second, layers_.front().weight, shared, leaky,
                               layers_.front().output.view().rows(0, 2 * pairs_));
  for (std::size_t l = 1; l + 1 < layers_.size(); ++l) {
    const TensorView y = layers_[l].output.view().rows(0, 2 * pairs_);
    kernels::dense_forward(exec, below, layers_[l].weight, layers_[l].bias.flat(), leaky, y);
    below = y;
  }
  kernels::dense_forward(exec, below, layers_.back().weight, layers_.back().bias.flat(), {ActivationKind::identity},
                         TensorView(scores_.data(), {2 * pairs_, 1}));
}

double Critic::value(const kernels::Execution& exec) {
  float nats = 0;
  kernels::donsker_varadhan(exec, joint_scores(), product_scores(), {}, {}, std::span(&nats, 1),
                            TensorView(score_gradient_.data(), {1, pairs_}),
                            TensorView(score_gradient_.data() + pairs_, {1, pairs_}));
  return nats;
}

kernels::AdamStep Critic::adam() const {
  return {.learning_rate = static_cast<float>(learning_rate_),
          .beta1 = static_cast<float>(options_.beta1),
          .beta2 = static_cast<float>(options_.beta2),
          .epsilon = static_cast<float>(options_.epsilon),
          .step = steps_};
}

void Critic::backward(const kernels::Execution& exec, bool update) {
  const Activation leaky{ActivationKind::leaky_relu, options_.leaky_slope};
  ConstTensorView dz(score_gradient_.data(), {2 * pairs_, 1});
  for (std::size_t l = layers_.size(); l-- > 1;) {
    Layer& layer = layers_[l];
    const ConstTensorView x = std::as_const(layers_[l - 1].output).view().rows(0, 2 * pairs_);
    const TensorView dx = layers_[l - 1].gradient.view().rows(0, 2 * pairs_);
    kernels::dense_input_gradient(exec, dz, layer.weight, x, leaky, dx);
    if (update) kernels::dense_weight_adam(exec, x, dz, layer.parameters(), layer.means(), layer.squares(), adam());
    dz = dx;
  }
}

TensorView Critic::folded(const kernels::Execution& exec) {
  const std::int64_t size = pairs_ * options_.hidden.front();
  Tensor& gradient = layers_.front().gradient;
  const auto n = static_cast<std::size_t>(size);
  // p -= -1 * g.
  kernels::sgd_step(exec, std::span<const float>(gradient.data() + size, n), {.learning_rate = -1},
                    std::span(gradient.data(), n));
  return gradient.view().rows(0, pairs_);
}

double Critic::ascend(const kernels::Execution& exec) {
  float nats = 0;
  kernels::donsker_varadhan(
      exec, joint_scores(), product_scores(), {.scale = -1, .rate = static_cast<float>(options_.average_rate)},
      options_.average_rate < 1 ? std::span<float>(log_average_) : std::span<float>(), std::span(&nats, 1),
      TensorView(score_gradient_.data(), {1, pairs_}), TensorView(score_gradient_.data() + pairs_, {1, pairs_}));
  ++steps_;
  backward(exec, true);
  Layer& partner = layers_.front();
  kernels::dense_weight_adam(exec, second_, std::as_const(partner.gradient).view().rows(0, 2 * pairs_),
                             partner.parameters(), partner.means(), partner.squares(), adam());
  kernels::dense_weight_adam(exec, first_, folded(exec), first_part_.parameters(), first_part_.means(),
                             first_part_.squares(), adam());
  return nats;
}

void Critic::gradients(const kernels::Execution& exec, double scale, TensorView dfirst, TensorView dsecond) {
  float nats = 0;
  kernels::donsker_varadhan(exec, joint_scores(), product_scores(), {.scale = static_cast<float>(scale)}, {},
                            std::span(&nats, 1), TensorView(score_gradient_.data(), {1, pairs_}),
                            TensorView(score_gradient_.data() + pairs_, {1, pairs_}));
  backward(exec, false);
  const Activation identity{ActivationKind::identity};
  if (dsecond.size() > 0) {
    kernels::dense_input_gradient(exec, std::as_const(layers_.front().gradient).view().rows(0, 2 * pairs_),
                                  layers_.front().weight, second_, identity, dsecond);
  }
  if (dfirst.size() > 0)
    kernels::dense_input_gradient(exec, folded(exec), first_part_.weight, first_, identity, dfirst);
}

std::vector<Tensor*> Critic::parameters() {
  std::vector<Tensor*> all{&first_part_.weight, &first_part_.bias, &layers_.front().weight};
  for (std::size_t l = 1; l < layers_.size(); ++l) {
    all.push_back(&layers_[l].weight);
    all.push_back(&layers_[l].bias);
  }
  for (const Tensor* t : all) kernels::fetch(*t);
  return all;
}

void Critic::archive(StateArchive& archive, const std::string& prefix) {
  const auto layer = [&](const std::string& name, Layer& l) {
    archive.values(name + ".weight", l.weight.flat());
    archive.values(name + ".weight_mean", l.mean.flat());
    archive.values(name + ".weight_square", l.square.flat());
    archive.values(name + ".bias", l.bias.flat());
    archive.values(name + ".bias_mean", l.mean_bias.flat());
    archive.values(name + ".bias_square", l.square_bias.flat());
  };
  layer(prefix + ".first", first_part_);
  for (std::size_t l = 0; l < layers_.size(); ++l) layer(fmt::format("{}.{}", prefix, l), layers_[l]);
  archive.count(prefix + ".steps", steps_);
  archive.number(prefix + ".learning_rate", learning_rate_);
  double average = log_average_.front();
  archive.number(prefix + ".log_average", average);
  log_average_.front() = static_cast<float>(average);
}

GuardedCritic::GuardedCritic(std::string what, std::int64_t first, std::int64_t second, std::int64_t max_pairs,
                             const CriticOptions& options, const Stream& weights, const Context& context)
    : what_(std::move(what)),
      options_(options),
      context_(context),
      critic_(first, second, max_pairs, options, weights, context) {}

double GuardedCritic::update(const kernels::Execution& exec, ConstTensorView first, ConstTensorView second) {
  critic_.forward(exec, first, second);
  const double nats = critic_.ascend(exec);
  if (std::abs(nats) <= options_.divergence_limit) return nats;  // false for NaN
  const double rate = critic_.learning_rate();
  if (restarts_ >= options_.restarts) {
    throw Error(
        ErrorCode::numerical,
        fmt::format("the critic of {} diverged: {} nats at update {} (learning rate {}, {} restarts); a smaller "
                    "learning rate or restarts may help",
                    what_, nats, critic_.steps(), rate, restarts_));
  }
  ++restarts_;
  critic_.restart(restarts_, rate * options_.restart_factor);
  context_.report(
      {"critic", restarts_, options_.restarts,
       fmt::format("{}: diverged ({} nats), begins anew with learning rate {}", what_, nats, critic_.learning_rate())});
  return 0;
}

void GuardedCritic::archive(StateArchive& archive, const std::string& prefix) {
  critic_.archive(archive, prefix);
  archive.count(prefix + ".restarts", restarts_);
}

bool Plateau::add(double value) {
  sum_ += value;
  if (++count_ < window_) return false;
  last_ = sum_ / static_cast<double>(count_);
  reached_ = reached_ || (tolerance_ > 0 && windows_ > 0 && last_ - best_ < tolerance_);
  best_ = windows_ == 0 ? last_ : std::max(best_, last_);
  ++windows_;
  count_ = 0;
  sum_ = 0;
  return true;
}

void Plateau::archive(StateArchive& archive, const std::string& prefix) {
  archive.count(prefix + ".count", count_);
  archive.count(prefix + ".windows", windows_);
  archive.number(prefix + ".sum", sum_);
  archive.number(prefix + ".last", last_);
  archive.number(prefix + ".best", best_);
  std::int64_t reached = reached_ ? 1 : 0;
  archive.count(prefix + ".reached", reached);
  reached_ = reached != 0;
}

}  // namespace kindling
