#include "theory/propagation.h"

#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/mean_field.h>
#include <kindling/population.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "theory/mean_field_checks.h"

namespace kindling {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

void check_options(const PropagationOptions& o) {
  const auto refuse = [](const char* option, const std::string& expected, const std::string& found) {
    throw Error(ErrorCode::usage, fmt::format("propagation: {}: expected {}, found {}", option, expected, found));
  };
  if (o.width < 2) refuse("width", "2 or more: a single unit has no correlation", std::to_string(o.width));
  if (o.inputs < 2) refuse("inputs", "2 or more", std::to_string(o.inputs));
  if (o.networks < 1) refuse("networks", "1 or more", std::to_string(o.networks));
  if (!(o.input_correlation >= -1 && o.input_correlation <= 1))
    refuse("input correlation", "a number in [-1, 1]", fmt::format("{}", o.input_correlation));
  if (o.layers.empty() || o.layers.front() < 1 || !std::is_sorted(o.layers.begin(), o.layers.end()) ||
      std::adjacent_find(o.layers.begin(), o.layers.end()) != o.layers.end())
    refuse("layers", "ascending numbers from 1 on", fmt::format("[{}]", fmt::join(o.layers, ", ")));
  if (o.weight_variances.empty()) refuse("weight variances", "at least one", "none");
  if (std::set<double>(o.weight_variances.begin(), o.weight_variances.end()).size() != o.weight_variances.size())
    refuse("weight variances", "different numbers", fmt::format("[{}]", fmt::join(o.weight_variances, ", ")));
  for (const double v : o.weight_variances) {
    if (!(v > 0) || !std::isfinite(v)) refuse("weight variance", "a finite number above 0", fmt::format("{}", v));
  }
  (void)checked_kappa(o.law.k);
  check_variance("bias_variance", o.law.bias_variance);
  if (o.law.bias_entry && o.law.bias_variance != 0)
    refuse("bias variance", "0 where the bias is an entry of the row", fmt::format("{}", o.law.bias_variance));
}

// Standard normal inputs pass the first layer as they are: E x = 0 and E x^2 = 1.
PropagationTheory gaussian_theory(const PropagationOptions& options, double weight_variance) {
  const Nonlinearity f = nonlinearity(options.activation);
  const MeanFieldLaw law{weight_variance, options.law.bias_variance, options.law.k};
  double q = weight_variance + law.bias_variance;
  double c = (weight_variance * options.input_correlation + law.bias_variance) / q;
  PropagationTheory theory;
  std::size_t next = 0;
  for (int layer = 1; next < options.layers.size(); ++layer) {
    if (layer > 1) {
      c = correlation_map(f, law, q, c);
      q = length_map(f, law, q);
    }
    if (layer != options.layers[next]) continue;
    theory.length.push_back(q);
    theory.correlation.push_back(c);
    ++next;
  }
  return theory;
}

PropagationTheory population_theory(const PropagationOptions& options, double weight_variance, const Context& context) {
  const PopulationTrace trace =
      population_trace({.weight_variance = weight_variance,
                        .k = options.law.k,
                        .beta_entry = options.law.beta_entry,
                        .particles = 1 << 16,
                        .layers = options.layers.back()},
                       options.input_correlation, options.law.bias_entry ? options.width : 0, context);
  PropagationTheory theory;
  for (const int layer : options.layers) {
    theory.length.push_back(trace.length[static_cast<std::size_t>(layer - 1)]);
    theory.correlation.push_back(trace.correlation[static_cast<std::size_t>(layer - 1)]);
  }
  return theory;
}

struct Spread {
  double mean = nan, deviation = nan;
};
// The deviation is that of a sample (n - 1).
Spread over_networks(const std::vector<double>& values) {
  if (values.empty()) return {};
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  const auto n = static_cast<double>(values.size());
  for (const double v : values) squares += (v - sum / n) * (v - sum / n);
  return {sum / n, n < 2 ? nan : std::sqrt(squares / (n - 1))};
}

}  // namespace

PropagationTheory propagation_theory(const PropagationOptions& options, double weight_variance,
                                     const Context& context) {
  if (!options.law.bias_entry && !options.law.beta_entry) return gaussian_theory(options, weight_variance);
  if (options.activation.kind == ActivationKind::relu && options.law.bias_variance == 0)
    return population_theory(options, weight_variance, context);
  return {std::vector<double>(options.layers.size(), nan), std::vector<double>(options.layers.size(), nan)};
}

Propagation simulate_propagation(const PropagationOptions& options, const Context& context) {
  check_options(options);
  const kernels::Execution execution = kernels::execution(context);
  PropagationResults results(options, context);
  Propagation propagation;
  if (results.cut())
    propagation.notes.push_back(
        fmt::format("the last line of '{}' was cut off; that network is repeated", options.results));
  const auto total = static_cast<std::int64_t>(options.weight_variances.size()) * options.networks;
  // Networks outside, so that an early stop leaves the whole grid with fewer networks.
  for (int network = 0; network < options.networks; ++network) {
    for (const double variance : options.weight_variances) {
      std::optional<PropagationRun> run = results.find(variance, network);
      if (!run) {
        run = simulate_network(execution, options, variance, network, context);
        results.append(*run);
      }
      propagation.runs.push_back(*run);
      context.report({"propagate", static_cast<std::int64_t>(propagation.runs.size()), total,
                      fmt::format("weight variance {:.4g}, network {}", variance, network)});
    }
  }
  for (const double variance : options.weight_variances) {
    const PropagationTheory theory = propagation_theory(options, variance, context);
    for (std::size_t i = 0; i < options.layers.size(); ++i) {
      std::vector<double> lengths, correlations;
      for (const PropagationRun& run : propagation.runs) {
        if (run.weight_variance != variance) continue;
        lengths.push_back(run.layers[i].length);
        correlations.push_back(run.layers[i].correlation);
      }
      const Spread length = over_networks(lengths), correlation = over_networks(correlations);
      propagation.rows.push_back({variance, options.layers[i], length.mean, length.deviation, correlation.mean,
                                  correlation.deviation, theory.length[i], theory.correlation[i], options.networks});
    }
  }
  return propagation;
}

}  // namespace kindling
