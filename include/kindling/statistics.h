#pragma once

#include <span>
#include <vector>

// Statistics of small samples: what a comparison over a handful of seeds needs.
namespace kindling {

/// A mean with its two-sided Student interval mean +- half_width.
struct Estimate {
  int count = 0;          ///< n
  double mean = 0;        ///< NaN for n = 0
  double half_width = 0;  ///< t(n - 1) * s / sqrt(n); NaN for n < 2
};
/// Throws Error{usage} unless `confidence` is in (0, 1). NaN values make mean and interval NaN.
Estimate estimate_mean(std::span<const double> values, double confidence = 0.95);

/// Student's paired t-test of the hypothesis that a and b have equal means, and the interval of mean(a - b).
struct PairedTest {
  Estimate difference;  ///< of a - b
  double t = 0;         ///< infinite when all differences are equal and not 0; NaN for n < 2
  double p = 0;         ///< two-sided; 1 when all differences are 0, NaN for n < 2
};
/// a[i] belongs to b[i]. Throws Error{usage} when the sizes differ.
PairedTest paired_t_test(std::span<const double> a, std::span<const double> b, double confidence = 0.95);

/// Holm's step-down adjustment (Scandinavian Journal of Statistics 6, 1979): reject where the adjusted p is below the
/// level, and the chance of any false rejection among all of them stays below it. NaN stands for a test that was not
/// made: it stays NaN and does not count.
std::vector<double> holm_adjusted(std::span<const double> p);

}  // namespace kindling
