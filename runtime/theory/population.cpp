#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/population.h>
#include <kindling/random.h>

#include <algorithm>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <functional>
#include <span>

#include "kernels/device_log.h"

namespace kindling {
namespace {

double checked_kappa(const PopulationOptions& o) {
  const auto refuse = [](const char* option, const char* expected, double found) {
    throw Error(ErrorCode::usage, fmt::format("population: {}: expected {}, found {}", option, expected, found));
  };
  if (!(o.weight_variance > 0) || !std::isfinite(o.weight_variance))
    refuse("weight_variance", "a finite number above 0", o.weight_variance);
  if (!(o.k > -1) || !std::isfinite(o.k)) refuse("k", "a finite number above -1", o.k);
  if (o.particles < 1000) refuse("particles", "1000 or more", static_cast<double>(o.particles));
  if (o.warm_up < 0) refuse("warm_up", "0 or more", o.warm_up);
  if (o.layers < 1) refuse("layers", "1 or more", o.layers);
  return o.k / (1 + o.k);
}

// The random numbers of one layer, one of each a particle.
class Draws {
 public:
  Draws(std::int64_t particles, const Context& context)
      : context_(context), z_(static_cast<std::size_t>(particles)), u_(z_.size()) {}
  void next() {
    kernels::on_host("population dynamics: the particles, for the theory beside the simulation");
    context_.check_stop();
    fill_normal({context_.seed, Purpose::population, 0, step_}, 0, 1, z_, context_);
    fill_beta21({context_.seed, Purpose::population, 1, step_}, u_, context_);
    ++step_;
  }
  // A further normal, for the second of two signals.
  std::span<const float> second() {
    other_.resize(z_.size());
    fill_normal({context_.seed, Purpose::population, 2, step_ - 1}, 0, 1, other_, context_);
    return other_;
  }
  // Uniforms that tell where the Beta entry stands.
  void places(std::span<float> out) {
    fill_uniform({context_.seed, Purpose::population, 3, step_ - 1}, 0, 1, out, context_);
  }
  [[nodiscard]] std::span<const float> z() const { return z_; }
  [[nodiscard]] std::span<const float> u() const { return u_; }

 private:
  const Context& context_;
  std::vector<float> z_, u_, other_;
  std::uint32_t step_ = 0;
};

struct Mean {
  double value = 0, error = 0;
};
Mean log_mean(const std::vector<double>& logs) {
  double sum = 0, squares = 0;
  for (const double v : logs) sum += v;
  const auto n = static_cast<double>(logs.size());
  for (const double v : logs) squares += (v - sum / n) * (v - sum / n);
  const double value = std::exp(sum / n);
  return {value, n < 2 ? value : value * std::sqrt(squares / (n * (n - 1)))};
}

// The law of one signal, and beside each unit the mean square v of a perturbation that is symmetric about 0 given the
// signal: it stays so, and v' = f'(h)^2 (sigma_w^2 E v + u^2 v) needs no further draws.
class Population {
 public:
  Population(const PopulationOptions& options, double kappa, const Context& context)
      : variance_(options.weight_variance),
        kappa_(kappa),
        beta_(options.beta_entry ? 1 : 0),
        draws_(options.particles, context),
        s_(static_cast<std::size_t>(options.particles)),
        v_(s_.size(), 1.0) {
    draws_.next();
    // Inputs N(0, I) have mean 0; particle i keeps the units that chose it and those that chose them.
    std::copy(draws_.z().begin(), draws_.z().end(), s_.begin());
  }

  struct Step {
    double length = 0, perturbation = 0, dead = 0;  // factors of E h^2 and E v, share of h <= 0
  };
  Step advance() {
    draws_.next();
    const auto n = static_cast<double>(s_.size());
    double sum = 0, squares = 0, perturbed = 0;
    for (std::size_t i = 0; i < s_.size(); ++i) sum += s_[i], squares += s_[i] * s_[i], perturbed += v_[i];
    // Lengths are divided out, so that nothing overflows however many layers there are.
    const double scale = 1 / std::sqrt(squares / n), shrink = n / perturbed;
    const double spread = std::sqrt(variance_ * (1 - kappa_ * sum * sum / (n * squares)));
    double square_after = 0, perturbed_after = 0;
    std::int64_t dead = 0;
    for (std::size_t i = 0; i < s_.size(); ++i) {
      const double u = beta_ * draws_.u()[i];
      const double h = spread * draws_.z()[i] + scale * s_[i] * u;
      const bool active = h > 0;
      dead += active ? 0 : 1;
      s_[i] = active ? h : 0;
      v_[i] = active ? variance_ + u * u * shrink * v_[i] : 0;
      square_after += s_[i] * s_[i];
      perturbed_after += v_[i];
    }
    return {square_after / n, perturbed_after / n, static_cast<double>(dead) / n};
  }

 private:
  double variance_, kappa_, beta_;
  Draws draws_;
  std::vector<double> s_, v_;
};

// The joint law of two signals in one network.
class PairPopulation {
 public:
  PairPopulation(const PopulationOptions& options, double kappa, double correlation, std::int64_t width,
                 const Context& context)
      : variance_(options.weight_variance),
        kappa_(kappa),
        beta_(options.beta_entry ? 1 : 0),
        bias_(width > 0 ? 1 / static_cast<double>(width) : 0),
        draws_(options.particles, context),
        a_(static_cast<std::size_t>(options.particles)),
        b_(a_.size()),
        place_(width > 0 ? a_.size() : 0) {
    draws_.next();
    const std::span<const float> other = draws_.second();
    const double across = std::sqrt((1 - correlation) * (1 + correlation));
    for (std::size_t i = 0; i < a_.size(); ++i) {
      a_[i] = draws_.z()[i];
      b_[i] = correlation * a_[i] + across * other[i];
    }
  }

  void advance(PopulationTrace& trace) {
    const auto n = static_cast<double>(a_.size());
    double sum_a = 0, sum_b = 0, aa = 0, bb = 0, ab = 0;
    for (std::size_t i = 0; i < a_.size(); ++i) {
      sum_a += a_[i], sum_b += b_[i], aa += a_[i] * a_[i], bb += b_[i] * b_[i], ab += a_[i] * b_[i];
    }
    const double qa = covariance(aa / n, sum_a / n, sum_a / n), qb = covariance(bb / n, sum_b / n, sum_b / n);
    const double along = qa > 0 ? covariance(ab / n, sum_a / n, sum_b / n) / std::sqrt(qa) : 0;
    const double across = std::sqrt(std::max(0.0, qb - along * along));
    draws_.next();
    if (!place_.empty()) draws_.places(place_);
    const std::span<const float> second = draws_.second();
    double ha2 = 0, hb2 = 0, hab = 0;
    std::int64_t dead = 0;
    const double chance = bias_ / (1 + bias_);  // 1 / (N + 1): the Beta entry is the bias, whose input is 1
    for (std::size_t i = 0; i < a_.size(); ++i) {
      const double z = draws_.z()[i], u = beta_ * draws_.u()[i];
      const bool at_bias = !place_.empty() && place_[i] < chance;
      const double ha = std::sqrt(qa) * z + (at_bias ? 1 : a_[i]) * u;
      const double hb = along * z + across * second[i] + (at_bias ? 1 : b_[i]) * u;
      ha2 += ha * ha, hb2 += hb * hb, hab += ha * hb;
      dead += ha > 0 ? 0 : 1;
      a_[i] = std::max(ha, 0.0), b_[i] = std::max(hb, 0.0);
    }
    trace.length.push_back(ha2 / n);
    trace.correlation.push_back(hab / std::sqrt(ha2 * hb2));
    trace.dead.push_back(static_cast<double>(dead) / n);
  }

 private:
  // Of h1 and h2 through the normal entries: sums over N units and, with bias_ = 1 / N, the bias's input 1.
  [[nodiscard]] double covariance(double product, double x, double y) const {
    return variance_ * (product + bias_ - kappa_ / (1 + bias_) * (x + bias_) * (y + bias_));
  }

  double variance_, kappa_, beta_, bias_;
  Draws draws_;
  std::vector<double> a_, b_;
  std::vector<float> place_;
};

double boundary(PopulationOptions options, double PopulationGrowth::*number, const char* name, const Context& context) {
  const auto excess = [&](double variance) {
    options.weight_variance = variance;
    return population_growth(options, context).*number - 1;
  };
  const double low = 0.1, high = 4, below = excess(low), above = excess(high);
  if (!(below < 0 && above > 0)) {
    throw Error(ErrorCode::numerical,
                fmt::format("population: the {} does not pass 1 between sigma_w^2 = {} and {}", name, low, high));
  }
  std::uintmax_t evaluations = 60;
  const auto close = [](double a, double b) { return std::abs(a - b) < 1e-5; };
  const auto [a, b] = boost::math::tools::toms748_solve(excess, low, high, below, above, close, evaluations);
  return (a + b) / 2;
}

}  // namespace

PopulationGrowth population_growth(const PopulationOptions& options, const Context& context) {
  Population population(options, checked_kappa(options), context);
  for (int l = 0; l < options.warm_up; ++l) (void)population.advance();
  std::vector<double> lengths, perturbations;
  double dead = 0;
  for (int l = 0; l < options.layers; ++l) {
    const Population::Step step = population.advance();
    lengths.push_back(std::log(step.length));
    perturbations.push_back(std::log(step.perturbation));
    dead += step.dead;
  }
  const Mean length = log_mean(lengths), perturbation = log_mean(perturbations);
  return {.length = length.value,
          .perturbation = perturbation.value,
          .relative = perturbation.value / length.value,
          .dead = dead / options.layers,
          .length_error = length.error,
          .perturbation_error = perturbation.error};
}

PopulationTrace population_trace(const PopulationOptions& options, double correlation, std::int64_t width,
                                 const Context& context) {
  const double kappa = checked_kappa(options);
  if (!(correlation >= -1 && correlation <= 1))
    throw Error(ErrorCode::usage,
                fmt::format("population: correlation: expected a number in [-1, 1], found {}", correlation));
  if (width < 0)
    throw Error(ErrorCode::usage, fmt::format("population: width: expected 0 (infinite) or more, found {}", width));
  PairPopulation pairs(options, kappa, correlation, width, context);
  PopulationTrace trace;
  for (int l = 0; l < options.layers; ++l) pairs.advance(trace);
  return trace;
}

double population_length_boundary(const PopulationOptions& options, const Context& context) {
  return boundary(options, &PopulationGrowth::length, "growth of the length", context);
}

double population_perturbation_boundary(const PopulationOptions& options, const Context& context) {
  return boundary(options, &PopulationGrowth::perturbation, "growth of perturbations", context);
}

}  // namespace kindling
