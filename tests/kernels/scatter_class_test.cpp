// Class scatter and its criteria against float64 loops over the samples.
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/dense.h"
#include "kernels/scatter.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;

struct Shape {
  std::int64_t batch, features, classes;
};
// Around vectors, blocks of four vectors and groups of 960 rows.
const Shape shapes[] = {{1, 1, 1},     {5, 3, 2},    {37, 17, 10},    {100, 64, 3},
                        {959, 65, 10}, {961, 31, 7}, {2000, 129, 10}, {64, 300, 101}};

std::vector<std::int32_t> test_labels(std::int64_t batch, std::int64_t classes) {
  PhiloxReader reader({.seed = 9, .unit = 4});
  std::vector<std::int32_t> labels(static_cast<std::size_t>(batch));
  for (auto& l : labels) l = static_cast<std::int32_t>(reader.below(static_cast<std::uint64_t>(classes)));
  return labels;
}

struct Moments {
  std::vector<double> sum, sum_squares;
};

Moments scatter_of(const kernels::Execution& e, ConstTensorView z, std::span<const std::int32_t> labels,
                   std::span<const float> shift, std::int64_t classes) {
  const auto size = static_cast<std::size_t>(classes * z.cols());
  Moments m{std::vector<double>(size), std::vector<double>(size)};
  kernels::class_scatter(e, z, labels, shift, classes, m.sum, m.sum_squares);
  return m;
}

}  // namespace

TEST_CASE("class scatter adds sums of every class", "[class_scatter]") {
  for (const Shape& s : shapes) {
    CAPTURE(s.batch, s.features, s.classes);
    const std::int64_t stride = s.features + 3;
    const auto z = test_normals(s.batch * stride, 51, 1.0, 2.0), shift = test_normals(s.features, 52, 0.1, 2.0);
    const auto labels = test_labels(s.batch, s.classes);
    Guarded<double> sum(s.classes * s.features), sum_squares(s.classes * s.features);
    sum.fill(3.0);
    sum_squares.fill(-5.0);
    kernels::class_scatter(test_execution(), ConstTensorView(z.data(), s.batch, s.features, stride), labels, shift,
                           s.classes, sum.flat(), sum_squares.flat());
    sum.check();
    sum_squares.check();
    const auto size = static_cast<std::size_t>(s.classes * s.features);
    std::vector<double> first(size), second(size), magnitude(size), count(size);
    for (std::int64_t n = 0; n < s.batch; ++n) {
      for (std::int64_t m = 0; m < s.features; ++m) {
        const double d = static_cast<double>(z[n * stride + m]) - static_cast<double>(shift[m]);
        const std::int64_t at = labels[n] * s.features + m;
        first[at] += d, second[at] += d * d, magnitude[at] += std::abs(d) + 3, count[at] += 1;
      }
    }
    for (std::size_t i = 0; i < size; ++i) {
      // A group holds at most 960 terms, whose rounding adds up like a random walk; z - shift rounds |z| <= 8 once.
      const double steps = 2 * std::sqrt(std::min(count[i], 960.0)) + 2;
      REQUIRE(std::abs(sum(0, i) - 3.0 - first[i]) <= epsilon * steps * magnitude[i] + 1e-15);
      REQUIRE(std::abs(sum_squares(0, i) + 5.0 - second[i]) <=
              epsilon * ((steps + 2) * second[i] + 4 * magnitude[i]) + 1e-15);
    }
  }
}

TEST_CASE("class scatter does not depend on threads or on calls", "[class_scatter]") {
  constexpr std::int64_t batch = 3 * kernels::moment_group_rows + 77, features = 150, classes = 10;
  const auto z = test_normals(batch * features, 53), shift = test_normals(features, 54);
  const auto labels = test_labels(batch, classes);
  const ConstTensorView view(z.data(), {batch, features});
  const Moments all = scatter_of(test_execution(1), view, labels, shift, classes);
  const Moments threaded = scatter_of(test_execution(3), view, labels, shift, classes);
  CHECK(all.sum == threaded.sum);
  CHECK(all.sum_squares == threaded.sum_squares);
  Moments parts{std::vector<double>(classes * features), std::vector<double>(classes * features)};
  constexpr std::int64_t first = 2 * kernels::moment_group_rows;
  kernels::class_scatter(test_execution(), view.rows(0, first), std::span(labels).first(first), shift, classes,
                         parts.sum, parts.sum_squares);
  kernels::class_scatter(test_execution(), view.rows(first, batch - first), std::span(labels).subspan(first), shift,
                         classes, parts.sum, parts.sum_squares);
  CHECK(all.sum == parts.sum);
  CHECK(all.sum_squares == parts.sum_squares);

  auto bad = z;
  bad[5 * features + 149] = std::numeric_limits<float>::quiet_NaN();
  const Moments with_nan = scatter_of(test_execution(), {bad.data(), {batch, features}}, labels, shift, classes);
  for (std::size_t i = 0; i < with_nan.sum.size(); ++i) {
    const bool hit = i == static_cast<std::size_t>(labels[5]) * features + 149;
    REQUIRE(std::isnan(with_nan.sum[i]) == hit);
    REQUIRE(std::isnan(with_nan.sum_squares[i]) == hit);
  }
  CHECK_NOTHROW(scatter_of(test_execution(), view.rows(0, 0), {}, shift, classes));
  CHECK_THROWS_WITH(scatter_of(test_execution(), view, labels, shift, 9),
                    Catch::Contains("labels in 0..8, found 9 at sample"));
  CHECK_THROWS_AS(scatter_of(test_execution(), view, std::span(labels).first(3), shift, classes), Error);
}

TEST_CASE("scatter criteria against their definitions", "[scatter_criteria]") {
  for (const Shape& s : shapes) {
    CAPTURE(s.batch, s.features, s.classes);
    // One class more than there are samples of: the last is empty.
    const std::int64_t classes = s.classes + 1;
    const auto z = test_normals(s.batch * s.features, 55, 2.0, 1.0), shift = test_normals(s.features, 56, 0.1, 1.0);
    const auto labels = test_labels(s.batch, s.classes);
    // Exact moments, so that the test is of the criteria alone.
    const auto size = static_cast<std::size_t>(classes * s.features);
    std::vector<double> sum(size), squares(size);
    std::vector<std::int64_t> counts(static_cast<std::size_t>(classes));
    const auto at = [&](std::int64_t n, std::int64_t m) { return static_cast<double>(z[n * s.features + m]); };
    for (std::int64_t n = 0; n < s.batch; ++n) {
      ++counts[labels[n]];
      for (std::int64_t m = 0; m < s.features; ++m) {
        const double d = at(n, m) - static_cast<double>(shift[m]);
        sum[labels[n] * s.features + m] += d, squares[labels[n] * s.features + m] += d * d;
      }
    }
    const auto result = kernels::scatter_criteria(test_execution(), counts, sum, squares, shift);
    std::int64_t present = 0;
    for (const auto c : counts) present += c > 0 ? 1 : 0;
    const auto total_count = static_cast<double>(s.batch);
    for (std::int64_t m = 0; m < s.features; ++m) {
      double mean = 0, total = 0, between = 0, within = 0, between_weighted = 0, within_weighted = 0, mean_of_means = 0;
      std::vector<double> mu(counts.size()), spread(counts.size());
      for (std::int64_t n = 0; n < s.batch; ++n)
        mean += at(n, m) / total_count, mu[labels[n]] += at(n, m) / static_cast<double>(counts[labels[n]]);
      for (std::int64_t n = 0; n < s.batch; ++n) {
        total += std::pow(at(n, m) - mean, 2) / total_count;
        spread[labels[n]] += std::pow(at(n, m) - mu[labels[n]], 2) / static_cast<double>(counts[labels[n]]);
      }
      for (std::size_t c = 0; c < mu.size(); ++c)
        mean_of_means += counts[c] > 0 ? mu[c] / static_cast<double>(present) : 0;
      for (std::size_t c = 0; c < mu.size(); ++c) {
        const double weight = static_cast<double>(counts[c]) / total_count;
        if (counts[c] > 0) between += std::pow(mu[c] - mean_of_means, 2) / static_cast<double>(present);
        within += spread[c] / static_cast<double>(present);
        between_weighted += weight * std::pow(mu[c] - mean, 2), within_weighted += weight * spread[c];
        const double expected = counts[c] > 0 ? mu[c] : static_cast<double>(shift[m]);
        REQUIRE(result.class_mean[c * s.features + m] == Approx(expected).epsilon(1e-12).margin(1e-13));
      }
      // float64 throughout; squares of up to 100 about the shift cancel.
      constexpr double margin = 1e-11;
      REQUIRE(result.mean[m] == Approx(mean).margin(margin));
      REQUIRE(result.total[m] == Approx(total).margin(margin));
      REQUIRE(result.between[m] == Approx(between).margin(margin));
      REQUIRE(result.within[m] == Approx(within).margin(margin));
      REQUIRE(result.between_weighted[m] == Approx(between_weighted).margin(margin));
      REQUIRE(result.within_weighted[m] == Approx(within_weighted).margin(margin));
      REQUIRE(result.total[m] == Approx(result.between_weighted[m] + result.within_weighted[m]).margin(margin));
      REQUIRE(result.within[m] >= 0);
    }
  }
}

TEST_CASE("scatter criteria of odd moments", "[scatter_criteria]") {
  const std::vector<float> shift{1.0F, 2.0F};
  const std::vector<double> nan_first{std::nan(""), 0, 0, 0}, zero(4);
  const auto with_nan =
      kernels::scatter_criteria(test_execution(), std::vector<std::int64_t>{2, 2}, nan_first, zero, shift);
  for (const auto* values : {&with_nan.mean, &with_nan.total, &with_nan.between, &with_nan.within,
                             &with_nan.between_weighted, &with_nan.within_weighted}) {
    CHECK(std::isnan((*values)[0]));
    CHECK(std::isfinite((*values)[1]));
  }
  CHECK(with_nan.mean[1] == 2.0);
  // Rounding may leave a square sum below the square of the sum: no variance is negative.
  const auto below =
      kernels::scatter_criteria(test_execution(), std::vector<std::int64_t>{1, 0}, std::vector<double>{1, 1, 0, 0},
                                std::vector<double>{1 - 1e-15, 1, 0, 0}, shift);
  CHECK(below.total == std::vector<double>(2));
  CHECK(below.within == std::vector<double>(2));
  CHECK(below.between == std::vector<double>(2));
  CHECK_THROWS_WITH(kernels::scatter_criteria(test_execution(), std::vector<std::int64_t>{0, 0}, zero, zero, shift),
                    Catch::Contains("at least one sample in 2 classes"));
  CHECK_THROWS_AS(kernels::scatter_criteria(test_execution(), std::vector<std::int64_t>{3, -1}, zero, zero, shift),
                  Error);
  CHECK_THROWS_AS(kernels::scatter_criteria(test_execution(), std::vector<std::int64_t>{3}, zero, zero, shift), Error);
}
