// Philox against the published test vectors, the host's own implementation, and the laws the numbers should follow.
#include "kernels/random.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "support/kernel_test.h"
#include "support/philox_reference.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;
const Stream stream{.seed = 0x123456789abcdef0U, .purpose = Purpose::weights, .unit = 3, .step = 5};
// Around one block, vectors of 4 to 16 blocks, and one task of 16384 elements.
const std::int64_t sizes[] = {0, 1, 3, 4, 5, 15, 16, 31, 33, 63, 64, 65, 129, 1021, 16383, 16385, 40003};

std::vector<std::uint32_t> host_words(const Stream& s, std::int64_t size, std::uint32_t first_block) {
  std::vector<std::uint32_t> words;
  for (std::uint32_t block = first_block; static_cast<std::int64_t>(words.size()) < size; ++block) {
    const auto four = philox_block(s, block);
    words.insert(words.end(), four.begin(), four.end());
  }
  words.resize(static_cast<std::size_t>(size));
  return words;
}

double largest_gap(std::vector<double> probabilities) {  // Kolmogorov and Smirnov's statistic, times sqrt n
  std::sort(probabilities.begin(), probabilities.end());
  const auto n = static_cast<double>(probabilities.size());
  double gap = 0;
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    const auto below = static_cast<double>(i);
    gap = std::max({gap, (below + 1) / n - probabilities[i], probabilities[i] - below / n});
  }
  return gap * std::sqrt(n);
}
// Exceeded by chance in one of 2000 samples.
constexpr double ks_limit = 2.03;

template <class Draw>
void check_bits(const Draw& draw) {
  std::vector<float> one(40003), other(one.size()), rest(one.size() - 4096);
  draw(test_execution(1), std::span<float>(one), 0U);
  draw(test_execution(3), std::span<float>(other), 0U);
  CHECK(one == other);
  draw(test_execution(2), std::span<float>(rest), 1024U);
  CHECK(std::equal(rest.begin(), rest.end(), one.begin() + 4096));
  if (test_execution().target->gpu) return;
  for (const kernels::Target& target : kernels::targets()) {
    if (target.gpu || !target.runnable) continue;
    CAPTURE(target.name);
    draw(kernels::Execution{&target, 2}, std::span<float>(other), 0U);
    CHECK(one == other);
  }
}

}  // namespace

TEST_CASE("Philox words: published vectors and the host's implementation", "[philox_words]") {
  // Random123's known answers for philox4x32-10: counter, key, result.
  struct Known {
    Stream stream;
    std::uint32_t block;
    std::array<std::uint32_t, 4> words;
  };
  const Known known[] = {
      {{.seed = 0, .purpose = Purpose{0}, .unit = 0, .step = 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{.seed = ~0ULL, .purpose = Purpose{~0U}, .unit = ~0U, .step = ~0U},
       ~0U,
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{.seed = 0x299f31d0a4093822U, .purpose = Purpose{0x03707344}, .unit = 0x13198a2e, .step = 0x85a308d3},
       0x243f6a88,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (const Known& k : known) {
    std::array<std::uint32_t, 4> words{};
    kernels::philox_words(test_execution(), k.stream, words, k.block);
    CHECK(words == k.words);
    CHECK(philox_block(k.stream, k.block) == k.words);
  }
  for (const std::int64_t size : sizes) {
    CAPTURE(size);
    Guarded<std::uint32_t> words(size);
    kernels::philox_words(test_execution(), stream, words.flat(), 17);
    words.check();
    const auto expected = host_words(stream, size, 17);
    REQUIRE(std::equal(expected.begin(), expected.end(), words.data()));
  }
  std::vector<std::uint32_t> words(8);
  CHECK_NOTHROW(kernels::philox_words(test_execution(), stream, words, ~0U - 1));
  CHECK_THROWS_WITH(kernels::philox_words(test_execution(), stream, words, ~0U),
                    Catch::Contains("8 elements from block 4294967295"));
}

TEST_CASE("Philox uniforms", "[philox_uniform]") {
  for (const std::int64_t size : sizes) {
    CAPTURE(size);
    const float low = -0.7F, high = 1.9F;
    Guarded<float> out(size);
    kernels::philox_uniform(test_execution(), stream, low, high, out.flat(), 3);
    out.check();
    const auto words = host_words(stream, size, 3);
    for (std::int64_t i = 0; i < size; ++i) {
      const double expected = low + (static_cast<double>(high) - low) * uniform_of(words[i]);
      REQUIRE(std::abs(out(0, i) - expected) <= 4 * epsilon * 1.9);
      REQUIRE(out(0, i) > low);
      REQUIRE(out(0, i) < high);
    }
  }
  std::vector<float> draws(1 << 20);
  kernels::philox_uniform(test_execution(), stream, 0.0F, 1.0F, draws);
  CHECK(largest_gap({draws.begin(), draws.end()}) < ks_limit);
  // Neighbours are uncorrelated: the mean of the products has standard deviation 1 / (12 sqrt n).
  double product = 0;
  for (std::size_t i = 1; i < draws.size(); ++i) product += (draws[i] - 0.5) * (draws[i - 1] - 0.5);
  CHECK(std::abs(product / static_cast<double>(draws.size())) < 4 / (12 * 1024.0));

  // Three numbers lie between these bounds; the bounds themselves never come.
  const float low = 1.0F, high = 1.0F + 4 * 0x1p-23F;
  std::vector<float> narrow(1000);
  kernels::philox_uniform(test_execution(), stream, low, high, narrow);
  CHECK(*std::min_element(narrow.begin(), narrow.end()) > low);
  CHECK(*std::max_element(narrow.begin(), narrow.end()) < high);
  CHECK_THROWS_AS(kernels::philox_uniform(test_execution(), stream, 1.0F, 1.0F, narrow), Error);
  CHECK_THROWS_AS(kernels::philox_uniform(test_execution(), stream, 1.0F, 1.0F + 0x1p-23F, narrow), Error);
  CHECK_THROWS_AS(kernels::philox_uniform(test_execution(), stream, 0.0F, NAN, narrow), Error);
  check_bits([](const kernels::Execution& e, std::span<float> out, std::uint32_t first) {
    kernels::philox_uniform(e, stream, -3.0F, 0.1F, out, first);
  });
}

TEST_CASE("Philox normals, each against float64", "[philox_normal]") {
  for (const std::int64_t size : sizes) {
    CAPTURE(size);
    const float mean = 0.25F, stddev = 1.5F;
    Guarded<float> out(size);
    kernels::philox_normal(test_execution(), stream, mean, stddev, out.flat(), 9);
    out.check();
    for (std::int64_t i = 0; i < size; ++i) {
      const NormalDraw z = normal_of(philox_block(stream, static_cast<std::uint32_t>(9 + i / 4)), i % 4);
      const double expected = mean + stddev * z.value;
      REQUIRE(std::abs(out(0, i) - expected) <=
              normal_error * stddev * z.radius + epsilon * (std::abs(expected) + mean));
    }
  }
  std::vector<float> constant(7);
  kernels::philox_normal(test_execution(), stream, 2.5F, 0.0F, constant);
  CHECK(constant == std::vector<float>(7, 2.5F));
  CHECK_THROWS_AS(kernels::philox_normal(test_execution(), stream, 0.0F, -1.0F, constant), Error);
  CHECK_THROWS_AS(kernels::philox_normal(test_execution(), stream, NAN, 1.0F, constant), Error);
  check_bits([](const kernels::Execution& e, std::span<float> out, std::uint32_t first) {
    kernels::philox_normal(e, stream, 0.1F, 0.7F, out, first);
  });
}

TEST_CASE("Philox normals follow the normal law", "[philox_normal]") {
  std::vector<float> draws(1 << 22);
  kernels::philox_normal(test_execution(), stream, 0.0F, 1.0F, draws);
  const auto n = static_cast<double>(draws.size());
  double power[5] = {}, neighbours = 0;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    double x = 1;
    for (double& p : power) p += x, x *= draws[i];
    if (i > 0) neighbours += static_cast<double>(draws[i]) * static_cast<double>(draws[i - 1]);
  }
  // Standard deviations of the sample moments: 1, sqrt 2, sqrt 15, sqrt 96 over sqrt n; four of them.
  CHECK(std::abs(power[1] / n) < 4 / std::sqrt(n));
  CHECK(std::abs(power[2] / n - 1) < 4 * std::sqrt(2 / n));
  CHECK(std::abs(power[3] / n) < 4 * std::sqrt(15 / n));
  CHECK(std::abs(power[4] / n - 3) < 4 * std::sqrt(96 / n));
  CHECK(std::abs(neighbours / n) < 4 / std::sqrt(n));
  std::vector<double> probabilities(1 << 20);
  for (std::size_t i = 0; i < probabilities.size(); ++i)
    probabilities[i] = 0.5 * std::erfc(-draws[i] / std::numbers::sqrt2);
  CHECK(largest_gap(std::move(probabilities)) < ks_limit);

  // Other steps, units, purposes and seeds give other numbers.
  std::vector<float> first(64), other(64);
  kernels::philox_normal(test_execution(), stream, 0.0F, 1.0F, first);
  for (int change = 0; change < 5; ++change) {
    Stream s = stream;
    if (change == 0) s.step += 1;
    if (change == 1) s.unit += 1;
    if (change == 2) s.purpose = Purpose::biases;
    if (change == 3) s.seed += 1;
    if (change == 4) s.seed += 1ULL << 32U;
    kernels::philox_normal(test_execution(), s, 0.0F, 1.0F, other);
    int equal = 0;
    for (std::size_t i = 0; i < first.size(); ++i) equal += first[i] == other[i] ? 1 : 0;
    CHECK(equal == 0);
  }
}
