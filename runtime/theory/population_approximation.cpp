#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/population.h>

#include <boost/math/quadrature/gauss.hpp>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <limits>
#include <numbers>

#include "theory/gaussian_quadrature.h"

namespace kindling {
namespace {

// Moments of relu(h), h = spread z + special u with u ~ Beta(2, 1): the normal part in closed form, u by quadrature.
struct Moments {
  double active = 0;  // P(h > 0) = E f'^2
  double mean = 0;    // E f = E f f'
  double square = 0;  // E f^2
};

Moments moments(double spread, double special) {
  const auto over_u = [](const auto& g) {
    return boost::math::quadrature::gauss<double, 40>::integrate([&](double u) { return 2 * u * g(u); }, 0.0, 1.0);
  };
  const auto probability = [](double t) { return std::erfc(-t / std::numbers::sqrt2) / 2; };
  const auto at = [&](double u) { return special * u / spread; };
  return {over_u([&](double u) { return probability(at(u)); }),
          over_u([&](double u) { return spread * (at(u) * probability(at(u)) + normal_density(at(u))); }),
          over_u([&](double u) {
            const double t = at(u);
            return spread * spread * ((1 + t * t) * probability(t) + t * normal_density(t));
          })};
}

}  // namespace

AsymmetricApproximation asymmetric_approximation(SpecialUnit special, double weight_variance, double k) {
  if (!(weight_variance > 0) || !std::isfinite(weight_variance) || !(k > -1) || !std::isfinite(k)) {
    throw Error(ErrorCode::usage,
                fmt::format("asymmetric approximation: expected weight_variance > 0 and k > -1, both finite, found {} "
                            "and {}",
                            weight_variance, k));
  }
  const double kappa = k / (1 + k);
  Moments m;
  double spread = std::sqrt(weight_variance * (1 - kappa / std::numbers::pi));
  if (special == SpecialUnit::root_mean_square) {
    m = moments(spread, 1);
  } else {
    // The ratio of mean to root mean square settles within a few layers.
    double ratio = std::sqrt(1 / std::numbers::pi);
    for (int layer = 0; layer < 1000; ++layer) {
      spread = std::sqrt(weight_variance * (1 - kappa * ratio * ratio));
      m = moments(spread, ratio);
      const double next = m.mean / std::sqrt(m.square);
      const bool settled = std::abs(next - ratio) < 1e-14;
      ratio = next;
      if (settled) break;
    }
  }
  return {.length_as_printed = spread * spread * m.active + spread * m.mean,
          .length = m.square,
          .perturbation = weight_variance * m.active};
}

double approximate_boundary(SpecialUnit special, double AsymmetricApproximation::*number, double k) {
  const auto excess = [&](double variance) { return asymmetric_approximation(special, variance, k).*number - 1; };
  const double low = 0.01, high = 20, below = excess(low), above = excess(high);
  if (!(below < 0 && above > 0)) {
    throw Error(ErrorCode::numerical,
                fmt::format("asymmetric approximation: no boundary between sigma_w^2 = {} and {}", low, high));
  }
  std::uintmax_t evaluations = 200;
  const auto close = [](double a, double b) { return std::abs(a - b) < 1e-12; };
  const auto [a, b] = boost::math::tools::toms748_solve(excess, low, high, below, above, close, evaluations);
  return (a + b) / 2;
}

}  // namespace kindling
