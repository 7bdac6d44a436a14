// The Gaussian kernel between two samples in float64, with the error that float32 arithmetic may make (gram.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/gram.h"
#include "support/kernel_test.h"

namespace kindling::test {

inline constexpr double unit_roundoff = 0x1p-24;

struct GramReference {
  /// x (n x d) and y (m x d), one problem.
  GramReference(ConstTensorView x_rows, ConstTensorView y_rows, double bandwidth)
      : x(x_rows), y(y_rows), gamma(bandwidth), centre(static_cast<std::size_t>(x.cols())) {
    for (std::int64_t j = 0; j < y.rows(); ++j)
      for (std::int64_t k = 0; k < y.cols(); ++k) centre[k] += y(j, k) / static_cast<double>(y.rows());
  }
  [[nodiscard]] double squared(std::int64_t i, std::int64_t j) const {
    double s = 0;
    for (std::int64_t k = 0; k < x.cols(); ++k) s += std::pow(double{x(i, k)} - double{y(j, k)}, 2);
    return s;
  }
  [[nodiscard]] double norm(ConstTensorView rows, std::int64_t i) const {
    double s = 0;
    for (std::int64_t k = 0; k < x.cols(); ++k) s += std::pow(double{rows(i, k)} - centre[k], 2);
    return s;
  }
  [[nodiscard]] double kernel(std::int64_t i, std::int64_t j) const {
    return std::exp(-squared(i, j) / (2 * gamma * gamma));
  }
  /// |K_ij as computed - K_ij|: the exponent's error (three more roundings for the scale), and the exponential's.
  [[nodiscard]] double kernel_error(std::int64_t i, std::int64_t j) const {
    const auto d = static_cast<double>(x.cols());
    const double s = squared(i, j), inverse = 1 / (2 * gamma * gamma);
    double exponent = (d + 6) * unit_roundoff * s * inverse;
    if (x.cols() > kernels::gram_difference_dimensions)
      exponent += (d + 4) * 2 * unit_roundoff * (norm(x, i) + norm(y, j)) * inverse;
    return kernel(i, j) * (std::expm1(exponent) + 2e-7) + 0x1p-126;
  }
  /// Relative error of a float32 sum over columns of numbers of one sign: lanes of at least four, blocks of 512.
  [[nodiscard]] double sum_error() const {
    const auto m = static_cast<double>(y.rows());
    return (std::min(m, 512.0) / 4 + m / 256 + 10) * unit_roundoff;
  }

  ConstTensorView x, y;
  double gamma;
  std::vector<double> centre;
};

struct GramShape {
  std::int64_t problems, n, m, d;
};

inline bool same_bits(const void* a, const void* b, std::size_t bytes) {
  return bytes == 0 || std::memcmp(a, b, bytes) == 0;
}

}  // namespace kindling::test
