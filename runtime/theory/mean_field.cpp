#include <kindling/mean_field.h>

#include <algorithm>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "theory/mean_field_checks.h"

namespace kindling {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double critical_band = 1e-9;      // around slope 1
constexpr double vanishing_length = 1e-60;  // stands for q -> 0
constexpr double least_length = 1e-100, greatest_length = 1e100;

double check_law(const MeanFieldLaw& law) {
  check_variance("weight_variance", law.weight_variance);
  check_variance("bias_variance", law.bias_variance);
  return checked_kappa(law.k);
}

void check_options(const FixedPointOptions& options) {
  if (!(options.tolerance > 0))
    throw Error(ErrorCode::usage,
                fmt::format("mean field: tolerance: expected a positive number, found {}", options.tolerance));
  if (options.max_iterations < 1)
    throw Error(ErrorCode::usage,
                fmt::format("mean field: iterations: expected 1 or more, found {}", options.max_iterations));
}

double length_slope(const Nonlinearity& f, const MeanFieldLaw& law, double q) {
  const double step = 1e-4 * q;
  return (length_map(f, law, q + step) - length_map(f, law, q - step)) / (2 * step);
}

// Of f(a u) = a f(u) for a > 0 the map is a line.
FixedPoint homogeneous_length(const Nonlinearity& f, const MeanFieldLaw& law, double start) {
  const double slope = length_map(f, law, 1) - law.bias_variance;
  if (start == 0 && law.bias_variance == 0) return {FixedPointKind::vanishing, 0, slope, 0, 0};
  if (slope < 1 && law.bias_variance == 0) return {FixedPointKind::vanishing, 0, slope, 0, 0};
  if (slope < 1) return {FixedPointKind::finite, law.bias_variance / (1 - slope), slope, 0, 0};
  if (slope == 1 && law.bias_variance == 0) return {FixedPointKind::finite, start, slope, 0, 0};
  return {FixedPointKind::diverging, infinity, slope, infinity, 0};
}

}  // namespace

std::string to_string(FixedPointKind kind) {
  switch (kind) {
    case FixedPointKind::finite: return "finite";
    case FixedPointKind::vanishing: return "vanishing";
    case FixedPointKind::diverging: return "diverging";
    case FixedPointKind::not_converged: return "not converged";
  }
  return "?";
}

double length_map(const Nonlinearity& f, const MeanFieldLaw& law, double q) {
  const double kappa = check_law(law);
  const GaussianMoments m = gaussian_moments(f, q);
  return law.weight_variance * (m.square - kappa * m.mean * m.mean) + law.bias_variance;
}

double overlap_map(const Nonlinearity& f, const MeanFieldLaw& law, double q1, double q2, double c) {
  const double kappa = check_law(law);
  const double means = kappa == 0 ? 0 : gaussian_moments(f, q1).mean * gaussian_moments(f, q2).mean;
  return law.weight_variance * (gaussian_overlap(f, q1, q2, c) - kappa * means) + law.bias_variance;
}

double correlation_map(const Nonlinearity& f, const MeanFieldLaw& law, double q, double c) {
  const double length = length_map(f, law, q);
  if (!(length > 0)) {
    throw Error(ErrorCode::numerical,
                fmt::format("mean field: signals of length {} pass a layer with length {}: they have no correlation", q,
                            length));
  }
  return std::clamp(overlap_map(f, law, q, q, c) / length, -1.0, 1.0);
}

double overlap_slope(const Nonlinearity& f, const MeanFieldLaw& law, double q, double c) {
  (void)check_law(law);
  return law.weight_variance * gaussian_slope_overlap(f, q, q, c);
}

double correlation_slope(const Nonlinearity& f, const MeanFieldLaw& law, double q, double c) {
  return overlap_slope(f, law, q, c) * q / length_map(f, law, q);
}

FixedPoint length_fixed_point(const Nonlinearity& f, const MeanFieldLaw& law, const FixedPointOptions& options) {
  (void)check_law(law);
  check_options(options);
  check_length(options.start);
  if (f.linear) return homogeneous_length(f, law, options.start);
  FixedPoint point{.value = options.start};
  while (point.iterations < options.max_iterations) {
    const double q = length_map(f, law, point.value);
    ++point.iterations;
    point.residual = std::abs(q - point.value);
    if (!(q < greatest_length)) return {FixedPointKind::diverging, infinity, nan, infinity, point.iterations};
    if (q < least_length) {
      return {FixedPointKind::vanishing, 0, length_slope(f, law, vanishing_length), q, point.iterations};
    }
    point.value = q;
    if (point.residual <= options.tolerance * q) {
      point.kind = FixedPointKind::finite;
      break;
    }
  }
  point.slope = length_slope(f, law, point.value);
  return point;
}

FixedPoint correlation_fixed_point(const Nonlinearity& f, const MeanFieldLaw& law, double q,
                                   const FixedPointOptions& options) {
  check_options(options);
  // The map is a power series in c with coefficients >= 0 and map(0) >= 0, map(1) = 1: a second fixed point exists
  // exactly when the slope at 1 exceeds 1, and then it is the stable one.
  FixedPoint point{FixedPointKind::finite, 1, correlation_slope(f, law, q, 1), 0, 0};
  if (point.slope <= 1 + critical_band) return point;
  std::uintmax_t evaluations = static_cast<std::uintmax_t>(options.max_iterations);
  const auto excess = [&](double c) { return correlation_map(f, law, q, c) - c; };
  // Just below 1 the map lies under the diagonal by (slope - 1)(1 - c), less what its curvature takes back.
  double high = 1, distance = 0.5;
  for (; distance > 1e-13 && high == 1; distance /= 2) {
    if (excess(1 - distance) < 0) high = 1 - distance;
  }
  if (high == 1) return point;
  const auto close = [&](double a, double b) { return std::abs(a - b) <= options.tolerance; };
  const auto [low_end, high_end] =
      excess(0) <= 0 ? std::pair(0.0, 0.0) : boost::math::tools::toms748_solve(excess, 0.0, high, close, evaluations);
  point.value = (low_end + high_end) / 2;
  point.residual = std::abs(excess(point.value));
  point.iterations = static_cast<int>(evaluations);
  point.slope = correlation_slope(f, law, q, point.value);
  if (!close(low_end, high_end)) point.kind = FixedPointKind::not_converged;
  return point;
}

double depth_scale(double slope) {
  if (!(slope >= 0)) throw Error(ErrorCode::usage, fmt::format("depth scale: expected a slope >= 0, found {}", slope));
  return 1 / std::abs(std::log(slope));
}

}  // namespace kindling
