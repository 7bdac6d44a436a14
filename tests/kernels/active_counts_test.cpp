// How often each unit is active, against a plain loop; the counts are exact.
#include <limits>

#include "kernels/activity.h"
#include "support/expect_error.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

std::vector<std::int32_t> expected_counts(ConstTensorView y) {
  std::vector<std::int32_t> counts(static_cast<std::size_t>(y.cols()));
  for (std::int64_t n = 0; n < y.rows(); ++n) {
    for (std::int64_t m = 0; m < y.cols(); ++m) counts[static_cast<std::size_t>(m)] += y(n, m) > 0 ? 1 : 0;
  }
  return counts;
}

}  // namespace

TEST_CASE("active counts", "[active_counts]") {
  const auto shape = GENERATE(table<std::int64_t, std::int64_t, std::int64_t>(
      {{0, 3, 0}, {1, 1, 0}, {7, 31, 0}, {128, 32, 0}, {511, 33, 2}, {513, 65, 0}, {1031, 5, 3}, {3, 1000, 0}}));
  const auto [rows, units, gap] = shape;
  CAPTURE(rows, units, gap);
  const auto values = test_normals(rows * (units + gap), 61, 1.0, 0.3);
  const ConstTensorView y(values.data(), rows, units, units + gap);
  const auto expected = expected_counts(y);
  for (const int threads : {1, 2, 4}) {
    Guarded<std::int32_t> counts(units);
    counts.fill(-1);
    kernels::active_counts(test_execution(threads), y, counts.flat());
    counts.check();
    for (std::int64_t m = 0; m < units; ++m) REQUIRE(counts(0, m) == expected[static_cast<std::size_t>(m)]);
  }
}

TEST_CASE("zeros and NaN are not active, the smallest number and infinity are", "[active_counts]") {
  using limits = std::numeric_limits<float>;
  const std::vector<float> values{0.0F, -0.0F, limits::quiet_NaN(), limits::min(), limits::infinity(), -1.0F};
  std::vector<std::int32_t> counts(values.size(), -1);
  kernels::active_counts(test_execution(), ConstTensorView(values.data(), 1, 6, 6), counts);
  CHECK(counts == std::vector<std::int32_t>{0, 0, 0, 1, 1, 0});
}

TEST_CASE("as many counts as units", "[active_counts]") {
  const std::vector<float> values(6);
  std::vector<std::int32_t> counts(2);
  expect_error(ErrorCode::usage, {"active_counts", "expected counts of 3 elements, found 2"},
               [&] { kernels::active_counts(test_execution(), ConstTensorView(values.data(), 2, 3, 3), counts); });
}
