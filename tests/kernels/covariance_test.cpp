// Covariance of the columns of a matrix against float64 loops over the centred samples.
#include <cmath>
#include <limits>

#include "kernels/scatter.h"
#include "support/expect_error.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

void check_case(std::int64_t batch, std::int64_t features, std::int64_t gap, double mean) {
  CAPTURE(batch, features, gap, mean);
  const std::int64_t stride = features + gap;
  const auto data = test_normals(batch * stride, 71, 1.0, mean);
  const ConstTensorView x(data.data(), batch, features, stride);
  Guarded<float> means(features), found(features, features, gap);
  const double trace = kernels::covariance(test_execution(), x, means.flat(), found.view());
  means.check();
  found.check();
  const auto n = static_cast<double>(batch);
  std::vector<double> mu(static_cast<std::size_t>(features));
  for (std::int64_t i = 0; i < batch; ++i)
    for (std::int64_t k = 0; k < features; ++k) mu[static_cast<std::size_t>(k)] += x(i, k) / n;
  double expected_trace = 0, trace_bound = 1e-12;
  for (std::int64_t a = 0; a < features; ++a) {
    for (std::int64_t b = 0; b < features; ++b) {
      double sum = 0, magnitude = 0, spread = 0;
      for (std::int64_t i = 0; i < batch; ++i) {
        const double da = x(i, a) - mu[static_cast<std::size_t>(a)], db = x(i, b) - mu[static_cast<std::size_t>(b)];
        sum += da * db / n, magnitude += std::abs(da * db) / n, spread += (std::abs(da) + std::abs(db)) / n;
      }
      // Float32 means are off by `shift`, which differences from them inherit; their products add up to N terms.
      const double shift = 0x1p-24 * (std::min(n, 960.0) + 5) * (std::abs(mean) + 1);
      const double bound = 0x1p-24 * (n + 4) * magnitude + shift * spread + shift * shift + 1e-30;
      REQUIRE(std::abs(found(a, b) - sum) <= bound);
      REQUIRE(found(a, b) == found(b, a));
      if (a == b) expected_trace += sum, trace_bound += bound;
    }
  }
  REQUIRE(std::abs(trace - expected_trace) <= trace_bound);
}

}  // namespace

TEST_CASE("covariance of the columns", "[covariance]") {
  for (const std::int64_t batch : {1, 2, 7, 65, 130, 1100})
    for (const std::int64_t features : {0, 1, 3, 8, 17, 33}) check_case(batch, features, batch % 3, 0.5);
  check_case(40, 100, 5, 0);
  check_case(700, 70, 0, 1000);
}

TEST_CASE("covariance does not depend on the number of threads", "[covariance]") {
  const auto data = test_normals(900 * 90, 72);
  const ConstTensorView x(data.data(), 900, 90, 90);
  Guarded<float> mean(90), one(90, 90), found(90, 90);
  const double trace = kernels::covariance(test_execution(1), x, mean.flat(), one.view());
  for (const int threads : {2, 4}) {
    REQUIRE(kernels::covariance(test_execution(threads), x, mean.flat(), found.view()) == trace);
    for (std::int64_t i = 0; i < 90; ++i)
      for (std::int64_t j = 0; j < 90; ++j) REQUIRE(found(i, j) == one(i, j));
  }
}

TEST_CASE("covariance keeps NaN and refuses what does not fit", "[covariance]") {
  auto data = test_normals(20 * 9, 73);
  data[4] = std::numeric_limits<float>::quiet_NaN();
  const ConstTensorView x(data.data(), 20, 9, 9);
  Guarded<float> mean(9), found(9, 9);
  REQUIRE(std::isnan(kernels::covariance(test_execution(), x, mean.flat(), found.view())));
  REQUIRE(std::isnan(found(2, 4)));
  REQUIRE_FALSE(std::isnan(found(2, 3)));

  Guarded<float> small(8, 9);
  expect_error(ErrorCode::usage, {"covariance", "9 x 9", "8x9"},
               [&] { (void)kernels::covariance(test_execution(), x, mean.flat(), small.view()); });
  expect_error(ErrorCode::usage, {"covariance", "at least one row"}, [&] {
    (void)kernels::covariance(test_execution(), {data.data(), 0, 9, 9}, mean.flat(), found.view());
  });
  expect_error(ErrorCode::usage, {"covariance", "mean"},
               [&] { (void)kernels::covariance(test_execution(), x, std::span<float>(data).first(9), found.view()); });
}
