#include <kindling/statistics.h>

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.h"
#include "support/expect_error.h"

using namespace kindling;

namespace {
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
}

TEST_CASE("the interval of a mean is Student's", "[statistics]") {
  // Quantiles of Student's law from printed tables: t(0.975; 1) = 12.7062, (2) = 4.30265, (4) = 2.77645, (9) = 2.26216.
  const auto half_width = [](const std::vector<double>& v) { return estimate_mean(v).half_width; };
  CHECK(half_width({0, 2}) == Approx(12.7062 * std::sqrt(2.0 / 2)).epsilon(1e-5));
  CHECK(half_width({1, 2, 3}) == Approx(4.30265 * std::sqrt(1.0 / 3)).epsilon(1e-5));
  CHECK(half_width({1, 2, 3, 4, 5}) == Approx(2.77645 * std::sqrt(2.5 / 5)).epsilon(1e-5));
  CHECK(half_width({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) == Approx(2.26216 * std::sqrt(55.0 / 6 / 10)).epsilon(1e-5));
  // t(0.95; 4) = 2.13185 for 90 %.
  CHECK(estimate_mean(std::vector<double>{1, 2, 3, 4, 5}, 0.9).half_width ==
        Approx(2.13185 * std::sqrt(2.5 / 5)).epsilon(1e-5));
  const Estimate five = estimate_mean(std::vector<double>{1, 2, 3, 4, 5});
  CHECK(five.count == 5);
  CHECK(five.mean == 3);
}

TEST_CASE("samples too small for an interval have none", "[statistics]") {
  const Estimate none = estimate_mean({});
  CHECK(none.count == 0);
  CHECK(std::isnan(none.mean));
  CHECK(std::isnan(none.half_width));
  const Estimate one = estimate_mean(std::vector<double>{0.25});
  CHECK(one.count == 1);
  CHECK(one.mean == 0.25);
  CHECK(std::isnan(one.half_width));
  CHECK(estimate_mean(std::vector<double>{0.1, 0.1, 0.1}).half_width == 0);
  CHECK(std::isnan(estimate_mean(std::vector<double>{0.1, not_a_number, 0.1}).mean));
  test::expect_error(ErrorCode::usage, {"confidence", "1"}, [] {
    (void)estimate_mean(std::vector<double>{1, 2}, 1.0);
  });
}

TEST_CASE("the paired test is Student's on the differences", "[statistics]") {
  // Student's own sleep data (Biometrika 6, 1908): t = 4.0621 with 9 degrees of freedom, p = 0.002833, mean 1.58.
  const std::vector<double> a{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4};
  const std::vector<double> b{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0};
  const PairedTest test = paired_t_test(a, b);
  CHECK(test.difference.count == 10);
  CHECK(test.difference.mean == Approx(1.58));
  CHECK(test.difference.half_width == Approx((2.4598858 - 0.7001142) / 2).epsilon(1e-6));
  CHECK(test.t == Approx(4.0621277).epsilon(1e-6));
  CHECK(test.p == Approx(0.0028329).epsilon(1e-4));
  const PairedTest back = paired_t_test(b, a);
  CHECK(back.t == Approx(-test.t));
  CHECK(back.p == Approx(test.p));
}

TEST_CASE("degenerate pairs", "[statistics]") {
  const std::vector<double> a{0.25, 0.5, 0.75};
  const PairedTest same = paired_t_test(a, a);
  CHECK(same.t == 0);
  CHECK(same.p == 1);
  const PairedTest shifted = paired_t_test(a, std::vector<double>{0.5, 0.75, 1.0});
  CHECK(shifted.difference.mean == -0.25);
  CHECK(shifted.t == -std::numeric_limits<double>::infinity());
  CHECK(shifted.p == 0);
  const PairedTest single = paired_t_test(std::vector<double>{1}, std::vector<double>{2});
  CHECK(single.difference.mean == -1);
  CHECK(std::isnan(single.p));
  CHECK(std::isnan(paired_t_test({}, {}).p));
  test::expect_error(ErrorCode::usage, {"pairs", "3", "1"}, [&] { (void)paired_t_test(a, std::vector<double>{1}); });
}

TEST_CASE("Holm's adjustment", "[statistics]") {
  // Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1, never falling.
  const std::vector<double> adjusted = holm_adjusted(std::vector<double>{0.01, 0.04, 0.03, 0.005});
  const std::vector<double> expected{0.03, 0.06, 0.06, 0.02};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(adjusted[i] == Approx(expected[i]));
  CHECK(holm_adjusted({}).empty());
  CHECK(holm_adjusted(std::vector<double>{0.7, 0.6})[0] == 1);  // at most 1
  const std::vector<double> gap = holm_adjusted(std::vector<double>{not_a_number, 0.02, 0.03});
  CHECK(std::isnan(gap[0]));
  CHECK(gap[1] == Approx(0.04));
  CHECK(gap[2] == Approx(0.04));
}
