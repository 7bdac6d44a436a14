// Integrals against the standard normal law by Gauss-Legendre panels that are laid where the integrand changes.
#pragma once

#include <algorithm>
#include <boost/math/quadrature/gauss.hpp>
#include <cmath>
#include <numbers>
#include <vector>

namespace kindling {

/// Beyond it the normal density is below 1e-37: nothing of an integrand that grows like a polynomial is left.
inline constexpr double normal_reach = 13;

inline double normal_density(double z) { return std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi); }

/// Where panels begin and end.
class Panels {
 public:
  Panels() {
    for (double z = -normal_reach; z <= normal_reach; z += 2) points_.push_back(z);
  }
  void split_at(double z) {
    if (std::abs(z) < normal_reach) points_.push_back(z);
  }
  /// Panels that halve towards z down to `finest`: for something that changes at z within that width.
  void refine_at(double z, double finest) {
    split_at(z);
    for (double width = std::max(finest, 1e-12); width < 2; width *= 2) {
      split_at(z - width);
      split_at(z + width);
    }
  }
  /// E g(z), z standard normal.
  template <class Function>
  double mean(const Function& g) {
    std::sort(points_.begin(), points_.end());
    double sum = 0;
    for (std::size_t i = 0; i + 1 < points_.size(); ++i) {
      const double low = points_[i], high = points_[i + 1];
      if (!(high - low > 1e-14)) continue;
      sum += boost::math::quadrature::gauss<double, 20>::integrate([&](double z) { return normal_density(z) * g(z); },
                                                                   low, high);
    }
    return sum;
  }

 private:
  std::vector<double> points_;
};

}  // namespace kindling
