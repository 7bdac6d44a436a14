#include "theory/inspect_findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace kindling {
namespace {

// Rows that repeat an earlier one: such units stay equal under training.
std::int64_t repeated_rows(ConstTensorView w) {
  std::vector<std::int64_t> order;
  for (std::int64_t r = 0; r < w.rows(); ++r) order.push_back(r);
  const auto bytes = static_cast<std::size_t>(w.cols()) * sizeof(float);
  std::sort(order.begin(), order.end(),
            [&](std::int64_t a, std::int64_t b) { return std::memcmp(w.row(a), w.row(b), bytes) < 0; });
  std::int64_t count = 0;
  for (std::size_t i = 1; i < order.size(); ++i)
    count += std::memcmp(w.row(order[i - 1]), w.row(order[i]), bytes) == 0 ? 1 : 0;
  return count;
}

// The greatest slope that the activation has.
double full_slope(const Activation& f) { return f.kind == ActivationKind::sigmoid ? 0.25 : 1.0; }

}  // namespace

std::vector<std::string> layer_findings(const Layer& layer, const Activation& activation,
                                        const LayerInspection& entry) {
  std::vector<std::string> findings;
  const std::string& name = entry.layer;
  if (entry.singular_values[0] == 0) {
    return {fmt::format("{}: every weight is 0, so that all units compute the same and get the same gradient", name)};
  }
  if (const std::int64_t repeated = repeated_rows(layer.weight.view().matrix()); repeated > 0 && entry.fan_in > 1) {
    findings.push_back(fmt::format("{}: {} of {} units have the weights of another one and will stay equal to it", name,
                                   repeated, entry.units));
  }
  if (entry.activity) {
    const LayerActivity& a = *entry.activity;
    if (a.dead > 0) {
      findings.push_back(fmt::format("{}: {} of {} units are 0 on all {} samples and get no gradient", name, a.dead,
                                     entry.units, a.samples));
    }
    const bool smooth = activation.kind == ActivationKind::tanh || activation.kind == ActivationKind::sigmoid;
    if (smooth && a.mean_slope < 0.2 * full_slope(activation)) {
      findings.push_back(fmt::format("{}: saturated, its mean slope on the data is {:.3g} of at most {}", name,
                                     a.mean_slope, full_slope(activation)));
    }
  }
  if (entry.independent_norm > 0 && entry.singular_values[0] > 1.5 * entry.independent_norm) {
    findings.push_back(
        fmt::format("{}: one direction dominates: its largest singular value {:.3g} is {:.2g} times that "
                    "of independent weights",
                    name, entry.singular_values[0], entry.singular_values[0] / entry.independent_norm));
  }
  return findings;
}

std::vector<std::string> network_findings(const Inspection& inspection) {
  // What happens to lengths and correlations adds up over layers; a layer alone tells little.
  constexpr double noticed = 10;
  std::vector<std::string> findings;
  double log_length = 0, log_perturbation = 0, log_correlation = 0;
  for (const LayerInspection& l : inspection.layers) {
    if (!l.phase) continue;
    const PhasePoint& p = *l.phase;
    const bool settles = p.length.kind == FixedPointKind::finite && p.length.value > 0;
    // A length that does not settle changes by chi a layer as long as f is linear enough; lengths are squares.
    if (!settles && p.chi > 0) log_length += 0.5 * std::log(p.chi / std::max(p.correlation_slope, 1e-300));
    if (p.chi > 0) log_perturbation += 0.5 * std::log(p.chi);
    if (std::isfinite(p.correlation_depth) && p.correlation_depth > 0) log_correlation += 1 / p.correlation_depth;
  }
  const auto layers = inspection.depth;
  if (log_length > std::log(noticed)) {
    findings.push_back(fmt::format("signals explode: theory expects them {:.2g} times larger behind {} layers",
                                   std::exp(log_length), layers));
  } else if (log_length < -std::log(noticed)) {
    findings.push_back(fmt::format("signals fade: theory expects them {:.2g} times as large behind {} layers",
                                   std::exp(log_length), layers));
  }
  if (log_perturbation > std::log(noticed)) {
    findings.push_back(fmt::format("chaotic: small differences and gradients grow by a factor of {:.2g} over {} layers",
                                   std::exp(log_perturbation), layers));
  } else if (log_perturbation < -std::log(noticed)) {
    findings.push_back(
        fmt::format("ordered: small differences and gradients shrink to {:.2g} of their size over {} "
                    "layers",
                    std::exp(log_perturbation), layers));
  }
  if (log_correlation > 6) {
    findings.push_back(
        fmt::format("too deep for its weights: how alike two inputs are is forgotten after about {:.2g} "
                    "layers, and there are {}",
                    inspection.signal_depth, layers));
  }
  return findings;
}

}  // namespace kindling
