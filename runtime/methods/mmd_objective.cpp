#include "methods/mmd_objective.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/device_log.h"
#include "kernels/gram.h"
#include "kernels/optimizer.h"
#include "kernels/random.h"
#include "methods/mmd_detachment.h"
#include "nn/forward_pass.h"
#include "nn/trainer.h"

namespace kindling {
namespace {

// Unit of the stream of simplex draws, beyond any layer's.
constexpr std::uint32_t simplex_unit = 0x80000000U;

void require(bool holds, const char* option, const char* expected, double found) {
  if (!holds) throw Error(ErrorCode::usage, fmt::format("mmd: {}: expected {}, found {}", option, expected, found));
}

bool is_weight(double value) { return value >= 0 && std::isfinite(value); }

}  // namespace

void check_mmd(const Model& model, const MmdOptions& o) {
  const auto number = [](std::int64_t n) { return static_cast<double>(n); };
  require(o.perturbations >= 2, "perturbations", "2 or more", number(o.perturbations));
  require(o.batch >= 1, "batch", "1 or more", number(o.batch));
  require(o.steps >= 1 && o.steps <= 2000000000, "steps", "1 to 2e9", number(o.steps));
  require(o.learning_rate > 0 && std::isfinite(o.learning_rate), "lr", "a positive number", o.learning_rate);
  require(o.scale_squared > 0 && std::isfinite(o.scale_squared), "s2", "a positive number", o.scale_squared);
  require(is_weight(o.uniformity), "uniformity", "0 or more", o.uniformity);
  require(is_weight(o.lambda), "lambda", "0 or more", o.lambda);
  require(is_weight(o.xi), "xi", "0 or more", o.xi);
  if (o.bandwidth) {
    require(*o.bandwidth >= 1e-15 && *o.bandwidth <= 1e15, "bandwidth", "a number in [1e-15, 1e15]", *o.bandwidth);
  }
  require(o.window >= 1, "window", "1 or more", number(o.window));
  require(o.patience >= 0, "patience", "0 or more", number(o.patience));
  if (model.outputs() < 2) {
    throw Error(ErrorCode::usage,
                fmt::format("mmd: the model needs 2 or more outputs (classes), found {}", model.outputs()));
  }
  const Activation last = output_activation(model);
  if (last.kind != ActivationKind::identity) {
    throw Error(ErrorCode::usage,
                "mmd: the model needs logits: the last activation must be identity, found " + to_string(last));
  }
  if (o.xi > 0) check_detachment(model);
}

MmdObjective::MmdObjective(const Model& model, const MmdOptions& options, std::int64_t batch)
    : options_(options),
      batch_(batch),
      classes_(model.outputs()),
      share_(options.hinge == SoftmaxHinge::share || (options.hinge == SoftmaxHinge::automatic && model.outputs() > 2)),
      pass_(model, {options.perturbations, batch, options.scale_squared, options.span}),
      probabilities_({batch, options.perturbations, classes_}),
      uniform_({batch, options.perturbations, classes_}),
      mmd_gradient_({batch, options.perturbations, classes_}),
      values_(static_cast<std::size_t>(batch)),
      bandwidths_(values_.size()),
      slope_(static_cast<std::size_t>(probabilities_.size())) {}

void MmdObjective::keep_on(kernels::Residency& residency) const {
  pass_.keep_on(residency);
  residency.keep(kernels::Residency::Role::input, probabilities_);
  residency.keep(kernels::Residency::Role::scratch, uniform_);
}

MmdTerms MmdObjective::evaluate(const Model& model, ConstTensorView x, std::uint32_t step, bool gradient,
                                const Context& context) {
  const kernels::Execution exec = kernels::execution(context);
  softmax(pass_.forward(exec, model, x, context.seed, step));
  kernels::changed(probabilities_);
  std::fill(slope_.begin(), slope_.end(), 0.0F);
  MmdTerms terms;
  terms.uniformity = uniformity(exec, step, context.seed);
  terms.softmax = softmax_hinge();
  if (gradient) {
    logit_gradient();
    pass_.backward(exec, model);
  }
  if (options_.xi > 0) terms.detachment = detachment(model, x, gradient, context);
  terms.total =
      options_.uniformity * terms.uniformity + options_.lambda * terms.softmax + options_.xi * terms.detachment;
  return terms;
}

// S x B x d logits to B x S x d probabilities.
void MmdObjective::softmax(ConstTensorView logits) {
  const std::int64_t s = options_.perturbations, d = classes_;
  kernels::on_host(
      "mmd: softmax of the perturbed logits, check of the probabilities, distances of L_sd, and their gradient");
  kernels::fetch(logits);
  for (std::int64_t i = 0; i < s; ++i) {
    for (std::int64_t b = 0; b < batch_; ++b) {
      const float* z = logits.row(i) + b * d;
      float* p = probabilities_.data() + (b * s + i) * d;
      const float top = *std::max_element(z, z + d);
      float sum = 0;
      for (std::int64_t j = 0; j < d; ++j) sum += p[j] = std::exp(z[j] - top);
      for (std::int64_t j = 0; j < d; ++j) p[j] /= sum;
      if (!std::isfinite(sum)) {
        throw Error(ErrorCode::numerical,
                    fmt::format("the logits of perturbed network {} for input {} are not finite", i, b));
      }
    }
  }
}

double MmdObjective::uniformity(const kernels::Execution& exec, std::uint32_t step, std::uint64_t seed) {
  const std::int64_t s = options_.perturbations;
  const Stream stream{seed, Purpose::perturbation, simplex_unit, step};
  kernels::philox_simplex(exec, stream, TensorView(uniform_.data(), {batch_ * s, classes_}));
  if (options_.bandwidth) {
    std::fill(bandwidths_.begin(), bandwidths_.end(), static_cast<float>(*options_.bandwidth));
  } else {
    kernels::pair_distance_quantile(exec, probabilities_, uniform_, 0.5, bandwidths_);
  }
  kernels::mmd_squared(
      exec, probabilities_, uniform_, bandwidths_,
      options_.statistic == MmdStatistic::v ? kernels::MmdEstimate::v_statistic : kernels::MmdEstimate::u_statistic,
      values_, mmd_gradient_);
  const auto scale = static_cast<float>(options_.uniformity / static_cast<double>(batch_));
  for (std::size_t i = 0; i < slope_.size(); ++i) slope_[i] += scale * mmd_gradient_.data()[i];
  return std::accumulate(values_.begin(), values_.end(), 0.0) / static_cast<double>(batch_);
}

// For each perturbed network the class whose (nearest) inputs are furthest from its vertex.
double MmdObjective::softmax_hinge() {
  const std::int64_t s = options_.perturbations, d = classes_;
  const std::int64_t count = share_ ? std::max<std::int64_t>(1, batch_ / d) : batch_;
  const double threshold = 1 / std::sqrt(static_cast<double>(d));
  double sum = 0;
  std::vector<std::pair<double, std::int64_t>> distances(static_cast<std::size_t>(batch_)), worst;
  for (std::int64_t i = 0; i < s; ++i) {
    double largest = -1;
    std::int64_t chosen = 0;
    for (std::int64_t c = 0; c < d; ++c) {
      for (std::int64_t b = 0; b < batch_; ++b) {
        const float* p = probabilities_.data() + (b * s + i) * d;
        double square = 0;
        for (std::int64_t j = 0; j < d; ++j) {
          const double difference = double{p[j]} - (j == c ? 1 : 0);
          square += difference * difference;
        }
        distances[static_cast<std::size_t>(b)] = {std::sqrt(square), b};
      }
      if (count < batch_) std::nth_element(distances.begin(), distances.begin() + count, distances.end());
      double mean = 0;
      // In order of the inputs, so that the sum does not depend on how nth_element arranges them.
      std::sort(distances.begin(), distances.begin() + count,
                [](const auto& a, const auto& b) { return a.second < b.second; });
      for (std::int64_t b = 0; b < count; ++b) mean += distances[static_cast<std::size_t>(b)].first;
      mean /= static_cast<double>(count);
      if (mean > largest) {
        largest = mean;
        chosen = c;
        worst.assign(distances.begin(), distances.begin() + count);
      }
    }
    if (largest <= threshold) continue;
    sum += largest - threshold;
    const double scale = options_.lambda / static_cast<double>(s * count);
    for (const auto& [distance, b] : worst) {
      if (distance == 0) continue;
      const float* p = probabilities_.data() + (b * s + i) * d;
      float* slope = slope_.data() + (b * s + i) * d;
      for (std::int64_t j = 0; j < d; ++j) {
        slope[j] += static_cast<float>(scale * (double{p[j]} - (j == chosen ? 1 : 0)) / distance);
      }
    }
  }
  return sum / static_cast<double>(s);
}

// Through the softmax: dz = p (g - sum g p).
void MmdObjective::logit_gradient() {
  const std::int64_t s = options_.perturbations, d = classes_;
  const TensorView dz = pass_.logit_gradient();
  for (std::int64_t i = 0; i < s; ++i) {
    for (std::int64_t b = 0; b < batch_; ++b) {
      const float* p = probabilities_.data() + (b * s + i) * d;
      const float* g = slope_.data() + (b * s + i) * d;
      float* out = dz.row(i) + b * d;
      double mean = 0;
      for (std::int64_t j = 0; j < d; ++j) mean += double{g[j]} * double{p[j]};
      for (std::int64_t j = 0; j < d; ++j) out[j] = static_cast<float>(double{p[j]} * (double{g[j]} - mean));
    }
  }
  kernels::changed(dz);
}

double MmdObjective::detachment(const Model& model, ConstTensorView x, bool gradient, const Context& context) {
  if (!gradient) return detachment_loss(model, x, context);
  const kernels::Execution exec = kernels::execution(context);
  kernels::Residency residency(exec);  // ends after the slopes that it holds
  const auto [value, slopes] = detachment_gradient(model, x, options_.xi, context, &residency);
  constexpr kernels::SgdStep add{.learning_rate = -1.0F};
  for (std::size_t l = 0; l < slopes.size(); ++l) {
    LayerGradient& sum = pass_.gradients()[l];
    if (slopes[l].weight.empty()) continue;
    kernels::sgd_step(exec, slopes[l].weight.flat(), add, sum.weight.flat());
    kernels::sgd_step(exec, slopes[l].bias.flat(), add, sum.bias.flat());
  }
  return value;
}

MmdTerms mmd_losses(const Model& model, ConstTensorView x, const MmdOptions& options, std::uint32_t step,
                    const Context& context, std::vector<MmdLayerGradient>* gradient) {
  check_mmd(model, options);
  if (x.rows() < 1 || x.cols() != model.inputs()) {
    throw Error(ErrorCode::usage, fmt::format("mmd: expected a batch of rows of {} inputs, found {}", model.inputs(),
                                              shape_string(x.shape())));
  }
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    for (std::int64_t c = 0; c < x.cols(); ++c) {
      if (!std::isfinite(x.row(r)[c])) {
        throw Error(ErrorCode::bad_input, fmt::format("mmd: input {} of sample {} is {}", c, r, x.row(r)[c]));
      }
    }
  }
  MmdObjective objective(model, options, x.rows());
  kernels::Residency residency(kernels::execution(context));
  residency.keep(kernels::Residency::Role::input, x);
  keep_parameters(residency, model);
  objective.keep_on(residency);
  const MmdTerms terms = objective.evaluate(model, x, step, gradient != nullptr, context);
  residency.finish();
  if (gradient != nullptr) {
    gradient->clear();
    for (LayerGradient& g : objective.gradients()) gradient->push_back({std::move(g.weight), std::move(g.bias)});
  }
  return terms;
}

}  // namespace kindling
