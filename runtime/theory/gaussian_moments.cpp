#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/mean_field.h>

#include <cmath>
#include <numbers>

#include "theory/gaussian_quadrature.h"
#include "theory/mean_field_checks.h"

namespace kindling {
namespace {

using std::numbers::pi;

// E f(h) of a piecewise-linear f is (positive - negative) sqrt(q / 2 pi), and so on.
GaussianMoments linear_moments(const Nonlinearity::Slopes& s, double q) {
  return {(s.positive - s.negative) * std::sqrt(q / (2 * pi)),
          q * (s.positive * s.positive + s.negative * s.negative) / 2};
}

// E h1 h2 where both are positive, over sqrt(q1 q2): Cho and Saul's kernel of degree 1.
double quadrant_product(double c) { return (std::sqrt((1 - c) * (1 + c)) + c * (pi / 2 + std::asin(c))) / (2 * pi); }
double quadrant_probability(double c) { return 0.25 + std::asin(c) / (2 * pi); }

// The mean over the four quadrants of a function that is `same` (in c) where signs agree.
double by_quadrants(const Nonlinearity::Slopes& s, double same, double opposite) {
  return (s.positive * s.positive + s.negative * s.negative) * same + 2 * s.positive * s.negative * opposite;
}

void split_at_kinks(Panels& panels, const Nonlinearity& f, double mean, double deviation) {
  for (const double kink : f.kinks) panels.split_at((kink - mean) / deviation);
}

// E g(mean + deviation z): panels end at f's kinks and are as fine as f's own scale, 1, around 0.
double mean_of(const std::function<double(double)>& g, const Nonlinearity& f, double mean, double deviation) {
  if (deviation < 1e-150) return g(mean);
  Panels panels;
  split_at_kinks(panels, f, mean, deviation);
  if (deviation > 0.5) panels.refine_at(-mean / deviation, 0.5 / deviation);
  return panels.mean([&](double z) { return g(mean + deviation * z); });
}

// E g(h1) g(h2) with h2 given h1 integrated inside. The inner mean, as a function of h1, changes where f does, softened
// by what of h2 is independent of h1.
double mean_of_pairs(const std::function<double(double)>& g, const Nonlinearity& f, double q1, double q2, double c) {
  const double s1 = std::sqrt(q1), s2 = std::sqrt(q2);
  const double along = c * s2, across = s2 * std::sqrt((1 - c) * (1 + c));
  if (s1 < 1e-150) return g(0) * mean_of(g, f, 0, s2);
  Panels panels;
  split_at_kinks(panels, f, 0, s1);
  if (s1 > 0.5) panels.refine_at(0, 0.5 / s1);
  if (std::abs(along) > 1e-150) {
    for (const double kink : f.kinks) panels.refine_at(kink / along, 0.5 * across / std::abs(along));
    if (std::abs(along) > 0.5) panels.refine_at(0, 0.5 / std::abs(along));
  }
  return panels.mean([&](double z) { return g(s1 * z) * mean_of(g, f, along * z, across); });
}

}  // namespace

GaussianMoments gaussian_moments(const Nonlinearity& f, double q) {
  check_length(q);
  if (f.linear) return linear_moments(*f.linear, q);
  const double deviation = std::sqrt(q);
  return {mean_of(f.value, f, 0, deviation),
          mean_of([&](double u) { return f.value(u) * f.value(u); }, f, 0, deviation)};
}

double gaussian_overlap(const Nonlinearity& f, double q1, double q2, double c) {
  check_length(q1);
  check_length(q2);
  check_correlation(c);
  if (f.linear)
    return std::sqrt(q1) * std::sqrt(q2) * by_quadrants(*f.linear, quadrant_product(c), -quadrant_product(-c));
  return mean_of_pairs(f.value, f, q1, q2, c);
}

double gaussian_slope_overlap(const Nonlinearity& f, double q1, double q2, double c) {
  check_length(q1);
  check_length(q2);
  check_correlation(c);
  if (!f.slope) {
    throw Error(ErrorCode::usage, fmt::format("activation '{}' has no derivative, which its stability needs", f.name));
  }
  if (f.linear) return by_quadrants(*f.linear, quadrant_probability(c), quadrant_probability(-c));
  return mean_of_pairs(f.slope, f, q1, q2, c);
}

}  // namespace kindling
