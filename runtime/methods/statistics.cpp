#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/statistics.h>

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <numeric>

namespace kindling {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

// Standard error of the mean; NaN for n < 2. Two passes, so that equal values give exactly 0.
double standard_error(std::span<const double> values, double mean) {
  if (values.size() < 2) return nan;
  const bool equal = std::all_of(values.begin(), values.end(), [&](double v) { return v == values.front(); });
  if (equal) return 0;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  const auto n = static_cast<double>(values.size());
  return std::sqrt(squares / (n - 1) / n);
}

}  // namespace

Estimate estimate_mean(std::span<const double> values, double confidence) {
  if (!(confidence > 0 && confidence < 1)) {
    throw Error(ErrorCode::usage, fmt::format("confidence: expected a number in (0, 1), found {}", confidence));
  }
  Estimate result{.count = static_cast<int>(values.size()), .mean = nan, .half_width = nan};
  if (values.empty()) return result;
  result.mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  if (values.size() < 2) return result;
  const boost::math::students_t law(static_cast<double>(values.size() - 1));
  const double t = boost::math::quantile(boost::math::complement(law, (1 - confidence) / 2));
  result.half_width = t * standard_error(values, result.mean);
  return result;
}

PairedTest paired_t_test(std::span<const double> a, std::span<const double> b, double confidence) {
  if (a.size() != b.size()) {
    throw Error(ErrorCode::usage, fmt::format("a paired test needs pairs: found {} and {} values", a.size(), b.size()));
  }
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
  PairedTest test{estimate_mean(differences, confidence), nan, nan};
  if (a.size() < 2 || std::isnan(test.difference.mean)) return test;
  const double mean = test.difference.mean;
  const double error = standard_error(differences, mean);
  if (error == 0) {
    test.t = mean == 0 ? 0 : std::copysign(infinity, mean);
    test.p = mean == 0 ? 1 : 0;
    return test;
  }
  test.t = mean / error;
  const boost::math::students_t law(static_cast<double>(a.size() - 1));
  test.p = 2 * boost::math::cdf(boost::math::complement(law, std::abs(test.t)));
  return test;
}

std::vector<double> holm_adjusted(std::span<const double> p) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (!std::isnan(p[i])) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return p[i] < p[j]; });
  std::vector<double> adjusted(p.size(), nan);
  double largest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const auto tests_left = static_cast<double>(order.size() - rank);
    largest = std::max(largest, std::min(1.0, tests_left * p[order[rank]]));
    adjusted[order[rank]] = largest;
  }
  return adjusted;
}

}  // namespace kindling
