#include <kindling/mean_field.h>

#include <algorithm>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

#include "theory/mean_field_checks.h"

namespace kindling {
namespace {

constexpr double critical_band = 1e-9;
constexpr double infinity = std::numeric_limits<double>::infinity();

double probe_length(const Nonlinearity& f, const FixedPoint& length) {
  const bool bounded = length.kind == FixedPointKind::finite || length.kind == FixedPointKind::not_converged;
  if (bounded && length.value > 0) return length.value;
  if (f.linear) return 1;
  return length.kind == FixedPointKind::diverging ? 1e16 : 1e-16;
}

// Slope of f towards infinity of that sign; of the activations known here none grows faster than a line.
double slope_at_infinity(const Nonlinearity& f, double sign) {
  const double far = 1e12;
  const double slope = f.value(sign * far) / (sign * far);
  return std::abs(slope) < 1e-9 ? 0 : slope;
}

}  // namespace

std::string to_string(Phase phase) {
  switch (phase) {
    case Phase::ordered: return "ordered";
    case Phase::critical: return "critical";
    case Phase::chaotic: return "chaotic";
  }
  return "?";
}

PhasePoint phase_point(const Nonlinearity& f, const MeanFieldLaw& law, const FixedPointOptions& options) {
  PhasePoint point{.length = length_fixed_point(f, law, options)};
  const double q = point.probe_length = probe_length(f, point.length);
  point.chi = overlap_slope(f, law, q, 1);
  point.correlation_slope = correlation_slope(f, law, q, 1);
  point.correlation = correlation_fixed_point(f, law, q, options);
  const bool relative = f.linear || point.length.kind == FixedPointKind::diverging;
  const double stability = relative ? point.correlation_slope : point.chi;
  point.phase = std::abs(stability - 1) <= critical_band ? Phase::critical
                : stability < 1                          ? Phase::ordered
                                                         : Phase::chaotic;
  const double slope = point.length.slope;
  point.length_depth = slope >= 0 ? depth_scale(slope) : std::numeric_limits<double>::quiet_NaN();
  point.correlation_depth = depth_scale(std::max(0.0, point.correlation.slope));
  return point;
}

double length_boundary(const Nonlinearity& f, double k) {
  const double kappa = checked_kappa(k);
  const double a = slope_at_infinity(f, 1), b = slope_at_infinity(f, -1);
  const double gain = (a * a + b * b) / 2 - kappa * (a - b) * (a - b) / (2 * std::numbers::pi);
  return gain > 0 ? 1 / gain : infinity;
}

std::optional<double> order_chaos_boundary(const Nonlinearity& f, double bias_variance, double k, double low,
                                           double high) {
  check_variance("bias_variance", bias_variance);
  if (!(low > 0 && low < high) || !std::isfinite(high))
    throw Error(
        ErrorCode::usage,
        fmt::format("mean field: expected a range of weight variances 0 < low < high, found {} to {}", low, high));
  if (f.linear && bias_variance == 0) return std::nullopt;
  const double end = std::min(high, length_boundary(f, k) * (1 - 1e-9));
  const auto excess = [&](double variance) {
    const MeanFieldLaw law{variance, bias_variance, k};
    return overlap_slope(f, law, probe_length(f, length_fixed_point(f, law)), 1) - 1;
  };
  constexpr int steps = 48;
  double before = low, before_excess = excess(low);
  for (int i = 1; i <= steps; ++i) {
    const double next = low * std::pow(end / low, static_cast<double>(i) / steps);
    const double next_excess = excess(next);
    if ((before_excess < 0) != (next_excess < 0)) {
      std::uintmax_t evaluations = 200;
      const auto close = [](double a, double b) { return std::abs(a - b) <= 1e-10 * b; };
      const auto [a, b] =
          boost::math::tools::toms748_solve(excess, before, next, before_excess, next_excess, close, evaluations);
      return (a + b) / 2;
    }
    before = next, before_excess = next_excess;
  }
  return std::nullopt;
}

double length_keeping_variance(const Nonlinearity& f, double k, double q) {
  const double passed = length_map(f, {.weight_variance = 1, .bias_variance = 0, .k = k}, q);
  if (!(passed > 0)) {
    throw Error(ErrorCode::usage,
                fmt::format("activation '{}' lets nothing of a signal of length {} through: no weight "
                            "variance keeps it",
                            f.name, q));
  }
  return q / passed;
}

}  // namespace kindling
