// Scatter of a stored matrix against float64 loops that go over the samples twice.
#include <cmath>
#include <limits>

#include "kernels/scatter.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

std::vector<std::int32_t> labels_of(std::int64_t batch, std::int64_t classes) {
  PhiloxReader reader({.seed = 19, .unit = 4});
  std::vector<std::int32_t> labels(static_cast<std::size_t>(batch));
  for (auto& l : labels) l = static_cast<std::int32_t>(reader.below(static_cast<std::uint64_t>(classes)));
  return labels;
}

struct Case {
  std::int64_t batch, features, classes, gap;
  double mean, apart;  // of the data, and of neighbouring classes
};

void check_case(const Case& s) {
  CAPTURE(s.batch, s.features, s.classes, s.gap, s.mean, s.apart);
  const std::int64_t stride = s.features + s.gap;
  const auto labels = labels_of(s.batch, s.classes);
  auto z = test_normals(s.batch * stride, 61, 1.0, s.mean);
  for (std::int64_t n = 0; n < s.batch; ++n)
    for (std::int64_t m = 0; m < s.features; ++m) z[n * stride + m] += static_cast<float>(s.apart * labels[n]);
  // One class more than there are samples of.
  const std::int64_t classes = s.classes + 1;
  const auto found = kernels::stored_scatter(test_execution(), ConstTensorView(z.data(), s.batch, s.features, stride),
                                             labels, classes);
  const auto at = [&](std::int64_t n, std::int64_t m) { return static_cast<double>(z[n * stride + m]); };
  const auto all = static_cast<double>(s.batch);
  for (std::int64_t m = 0; m < s.features; ++m) {
    std::vector<double> count(classes), mu(classes), var(classes), from(classes), farthest(classes), start(classes);
    double mean = 0, total = 0, present = 0, mean_of_means = 0;
    for (std::int64_t n = s.batch; n-- > 0;) {
      const auto c = static_cast<std::size_t>(labels[n]);
      count[c] += 1, mu[c] += at(n, m), mean += at(n, m) / all, start[c] = at(n, m);
    }
    for (std::int64_t c = 0; c < classes; ++c) {
      if (count[c] > 0) mu[c] /= count[c], present += 1, mean_of_means += mu[c];
    }
    mean_of_means /= present;
    for (std::int64_t n = 0; n < s.batch; ++n) {
      const auto c = static_cast<std::size_t>(labels[n]);
      var[c] += std::pow(at(n, m) - mu[c], 2) / count[c], total += std::pow(at(n, m) - mean, 2) / all;
      from[c] += std::pow(at(n, m) - start[c], 2) / count[c];
    }
    double between = 0, within = 0, between_weighted = 0, within_weighted = 0, slack = 0, mean_slack = 0, far = 0;
    for (std::int64_t c = 0; c < classes; ++c) {
      REQUIRE(found.count[c] == static_cast<std::int64_t>(count[c]));
      const std::int64_t i = c * s.features + m;
      // A group sums at most 960 terms, whose rounding adds up like a random walk; the differences from the first
      // sample round once, relative to themselves.
      const double steps = (2 * std::sqrt(std::min(count[c], 960.0)) + 4) * 0x1p-24;
      const double mean_error = steps * std::sqrt(from[c]) + 1e-15 * std::abs(mu[c]);
      const double error = steps * from[c] + 2 * mean_error * std::sqrt(from[c]) + 1e-15;
      REQUIRE(std::abs(found.criteria.class_mean[i] - mu[c]) <= mean_error + 1e-15);
      REQUIRE(std::abs(found.class_variance[i] - var[c]) <= error);
      REQUIRE(found.class_variance[i] >= 0);
      slack += error, mean_slack += mean_error + 1e-15, within += var[c] / present;
      if (count[c] > 0)
        between += std::pow(mu[c] - mean_of_means, 2) / present, far = std::max(far, std::abs(mu[c] - mean));
      between_weighted += count[c] / all * std::pow(mu[c] - mean, 2), within_weighted += count[c] / all * var[c];
    }
    const double between_slack = 4 * mean_slack * (far + mean_slack) + 1e-12 * far * far;
    const auto& k = found.criteria;
    REQUIRE(std::abs(k.mean[m] - mean) <= mean_slack + 1e-14 * std::abs(mean));
    REQUIRE(std::abs(k.within[m] - within) <= slack);
    REQUIRE(std::abs(k.within_weighted[m] - within_weighted) <= slack);
    REQUIRE(std::abs(k.between[m] - between) <= between_slack);
    REQUIRE(std::abs(k.between_weighted[m] - between_weighted) <= between_slack);
    REQUIRE(std::abs(k.total[m] - total) <= slack + between_slack);
  }
}

}  // namespace

TEST_CASE("stored scatter against its definitions", "[stored_scatter]") {
  // Around vectors, blocks of vectors and groups of 960 rows.
  for (const auto& [batch, features, classes] : {std::array<std::int64_t, 3>{1, 1, 1},
                                                 {5, 3, 2},
                                                 {37, 17, 10},
                                                 {100, 64, 3},
                                                 {959, 65, 10},
                                                 {961, 31, 7},
                                                 {2000, 129, 10},
                                                 {64, 300, 101}})
    check_case({batch, features, classes, batch % 2 == 0 ? 3 : 0, 0.5, 0.25});
}

TEST_CASE("stored scatter of many features, class by class", "[stored_scatter_by_class]") {
  // Around blocks of 8 rows and groups of 960 of a class; more classes than fill a stretch of samples.
  for (const auto& [batch, features, classes] : {std::array<std::int64_t, 3>{1, 2100, 1},
                                                 {7, 2100, 1},
                                                 {8, 513, 6},
                                                 {100, 512, 10},
                                                 {970, 2050, 1},
                                                 {4000, 530, 4},
                                                 {6500, 515, 101}})
    check_case({batch, features, classes, batch % 2 == 0 ? 3 : 0, 0.5, 0.25});
}

TEST_CASE("stored scatter does not cancel", "[stored_scatter][stored_scatter_by_class]") {
  check_case({3000, 21, 5, 0, 1e4, 0});
  check_case({3000, 21, 5, 0, 1e4, 2e3});  // classes far apart, too
  check_case({1500, 600, 5, 0, 1e4, 2e3});
  // Constant features have no scatter at all.
  const std::vector<float> z(100 * 5, 12345.678F);
  const auto found = kernels::stored_scatter(test_execution(), {z.data(), {100, 5}}, labels_of(100, 3), 3);
  for (const auto* values : {&found.criteria.total, &found.criteria.within, &found.class_variance}) {
    for (const double v : *values) REQUIRE(v <= 1e-20);
  }
}

TEST_CASE("stored scatter: threads, bad numbers, bad arguments", "[stored_scatter][stored_scatter_by_class]") {
  constexpr std::int64_t batch = 2500, classes = 10;
  const std::int64_t features = GENERATE(301, 613);
  auto z = test_normals(batch * features, 62, 1.0, 3.0);
  const auto labels = labels_of(batch, classes);
  const ConstTensorView view(z.data(), {batch, features});
  const auto one = kernels::stored_scatter(test_execution(1), view, labels, classes);
  for (const int threads : {2, 4}) {
    const auto more = kernels::stored_scatter(test_execution(threads), view, labels, classes);
    CHECK(more.class_variance == one.class_variance);
    CHECK(more.criteria.class_mean == one.criteria.class_mean);
    CHECK(more.criteria.total == one.criteria.total);
    CHECK(more.criteria.between == one.criteria.between);
  }
  z[7 * features + 300] = std::numeric_limits<float>::quiet_NaN();
  z[8 * features + 5] = std::numeric_limits<float>::infinity();
  const auto bad = kernels::stored_scatter(test_execution(), view, labels, classes);
  for (std::int64_t m = 0; m < features; ++m) {
    const bool hit = m == 300 || m == 5;
    REQUIRE(std::isnan(bad.criteria.total[m]) == hit);
    REQUIRE(std::isnan(bad.criteria.within[m]) == hit);
  }
  REQUIRE(std::isnan(bad.class_variance[labels[7] * features + 300]));
  CHECK_THROWS_WITH(kernels::stored_scatter(test_execution(), view.rows(0, 0), {}, classes),
                    Catch::Contains("at least one row"));
  CHECK_THROWS_WITH(kernels::stored_scatter(test_execution(), view, labels, 9),
                    Catch::Contains("labels in 0..8, found 9 at sample"));
  CHECK_THROWS_AS(kernels::stored_scatter(test_execution(), view, std::span(labels).first(3), classes), Error);
  CHECK_NOTHROW(kernels::stored_scatter(test_execution(), ConstTensorView(z.data(), {batch, 0}), labels, classes));
}
