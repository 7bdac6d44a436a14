#include <kindling/random.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "support/catch.h"

using namespace kindling;

TEST_CASE("philox_block gives the published words of Philox4x32-10", "[random]") {
  // Known answers of the Random123 distribution: counter and key all zeros, all ones, digits of pi.
  const std::array<std::uint32_t, 4> zeros = philox_block({0, static_cast<Purpose>(0), 0, 0}, 0);
  CHECK(zeros == std::array<std::uint32_t, 4>{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U});
  const std::uint32_t all = 0xffffffffU;
  const auto ones = philox_block({~std::uint64_t{0}, static_cast<Purpose>(all), all, all}, all);
  CHECK(ones == std::array<std::uint32_t, 4>{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU});
  const auto pi =
      philox_block({0x299f31d0a4093822U, static_cast<Purpose>(0x03707344U), 0x13198a2eU, 0x85a308d3U}, 0x243f6a88U);
  CHECK(pi == std::array<std::uint32_t, 4>{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U});
}

TEST_CASE("streams of different purpose, unit or step differ", "[random]") {
  const Stream base{7, Purpose::weights, 1, 2};
  Stream other = base;
  other.purpose = Purpose::biases;
  CHECK(philox_block(base, 0) != philox_block(other, 0));
  other = base;
  other.unit = 2;
  CHECK(philox_block(base, 0) != philox_block(other, 0));
  other = base;
  other.step = 3;
  CHECK(philox_block(base, 0) != philox_block(other, 0));
}

TEST_CASE("random_permutation permutes, and every element may come anywhere", "[random]") {
  const std::int64_t n = 7;
  std::array<std::array<int, 7>, 7> seen{};
  const int trials = 4000;
  for (int t = 0; t < trials; ++t) {
    auto order = random_permutation({3, Purpose::shuffle, 0, static_cast<std::uint32_t>(t)}, n);
    for (std::size_t i = 0; i < order.size(); ++i) ++seen[i][static_cast<std::size_t>(order[i])];
    std::sort(order.begin(), order.end());
    for (std::int64_t i = 0; i < n; ++i) REQUIRE(order[static_cast<std::size_t>(i)] == i);
  }
  // Each count is binomial(trials, 1/7): five standard deviations.
  const double mean = trials / 7.0;
  const double deviation = std::sqrt(trials * (1 / 7.0) * (6 / 7.0));
  for (const auto& row : seen)
    for (const int count : row) CHECK(std::abs(count - mean) < 5 * deviation);
  CHECK(random_permutation({3, Purpose::shuffle, 0, 0}, 0).empty());
}

TEST_CASE("below is uniform and stays below", "[random]") {
  PhiloxReader reader({11, Purpose::test, 0, 0});
  std::array<int, 3> counts{};
  for (int i = 0; i < 30000; ++i) {
    const auto draw = reader.below(3);
    REQUIRE(draw < 3);
    ++counts[draw];
  }
  for (const int count : counts) CHECK(std::abs(count - 10000) < 5 * std::sqrt(30000 * 2 / 9.0));
  CHECK(reader.below(1) == 0);
}

TEST_CASE("fill_uniform and fill_normal read the stream that PhiloxReader reads", "[random]") {
  const Stream stream{42, Purpose::weights, 3, 1};
  std::vector<float> values(101);
  fill_uniform(stream, -2, 3, values, {});
  PhiloxReader reader(stream);
  for (const float v : values) CHECK(v == Approx(-2 + 5 * reader.uniform()).margin(1e-6));
  fill_normal(stream, 1, 0.5, values, {});
  double mean = 0;
  for (const float v : values) mean += v;
  CHECK(std::abs(mean / 101 - 1) < 5 * 0.5 / std::sqrt(101.0));
}
