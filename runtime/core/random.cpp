#include <kindling/random.h>

#include <cmath>
#include <numbers>
#include <numeric>

namespace kindling {
namespace {

constexpr std::uint32_t multiplier0 = 0xD2511F53U;
constexpr std::uint32_t multiplier1 = 0xCD9E8D57U;
constexpr std::uint32_t weyl0 = 0x9E3779B9U;
constexpr std::uint32_t weyl1 = 0xBB67AE85U;

}  // namespace

std::array<std::uint32_t, 4> philox_block(const Stream& stream, std::uint32_t block) {
  std::array<std::uint32_t, 4> c{block, stream.step, stream.unit, static_cast<std::uint32_t>(stream.purpose)};
  auto key0 = static_cast<std::uint32_t>(stream.seed);
  auto key1 = static_cast<std::uint32_t>(stream.seed >> 32U);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = static_cast<std::uint64_t>(multiplier0) * c[0];
    const std::uint64_t product1 = static_cast<std::uint64_t>(multiplier1) * c[2];
    c = {static_cast<std::uint32_t>(product1 >> 32U) ^ c[1] ^ key0, static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32U) ^ c[3] ^ key1, static_cast<std::uint32_t>(product0)};
    key0 += weyl0;
    key1 += weyl1;
  }
  return c;
}

std::uint32_t PhiloxReader::word() {
  if (used_ == 4) {
    words_ = philox_block(stream_, block_++);
    used_ = 0;
  }
  return words_[static_cast<std::size_t>(used_++)];
}

double PhiloxReader::uniform() { return (static_cast<double>(word() >> 8U) + 0.5) / 16777216.0; }

std::uint64_t PhiloxReader::below(std::uint64_t n) {
  if (n <= 1) return 0;
  // Rejection: draws from the last, incomplete multiple of n are thrown away.
  const std::uint64_t limit = ~std::uint64_t{0} - (~std::uint64_t{0} % n + 1) % n;
  while (true) {
    const std::uint64_t high = word();
    const std::uint64_t draw = (high << 32U) | word();
    if (draw <= limit) return draw % n;
  }
}

double PhiloxReader::normal() {
  const double radius = std::sqrt(-2.0 * std::log(uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

std::vector<std::int64_t> random_permutation(const Stream& stream, std::int64_t n) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  PhiloxReader reader(stream);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[reader.below(i)]);
  return order;
}

}  // namespace kindling
