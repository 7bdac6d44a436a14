// Philox streams against the host's own blocks.
#include "kernels/random.h"

#include <numbers>

#include "fuzz/fuzz.h"

namespace kindling::fuzz {
namespace {

struct Draws {
  Stream stream;
  std::uint32_t first;
  std::int64_t size;

  explicit Draws(Case& c)
      : stream{.seed = static_cast<std::uint64_t>(c.below(std::int64_t{1} << 62)),
               .purpose = Purpose{static_cast<std::uint32_t>(c.below(1000))},
               .unit = static_cast<std::uint32_t>(c.below(std::int64_t{1} << 32)),
               .step = static_cast<std::uint32_t>(c.below(std::int64_t{1} << 32))},
        first(static_cast<std::uint32_t>(c.below(std::int64_t{1} << 31))),
        size(c.long_extent(300, 20000, 1)) {}
  [[nodiscard]] std::uint32_t word(std::int64_t i) const {
    return philox_block(stream, first + static_cast<std::uint32_t>(i / 4))[static_cast<std::size_t>(i % 4)];
  }
  // The float32 nearest to (k + 1/2) / 2^24, or the one below 1.
  [[nodiscard]] double uniform(std::int64_t i) const {
    return std::min(static_cast<float>((word(i) >> 8U) + 0.5), 16777215.0F) / 16777216.0;
  }
};

void words(Case& c) {
  const Draws d(c);
  auto out = c.output<std::uint32_t>(d.size);
  c.run([&] { kernels::philox_words(c.execution, d.stream, out.flat(), d.first); }, out);
  for (std::int64_t i = 0; i < d.size; ++i) c.expect(out[i], d.word(i), 0, "word", i);
}

void uniforms(Case& c) {
  const Draws d(c);
  auto out = c.output<float>(d.size);
  const float low = c.scalar(-3, 3), high = low + c.scalar(0.1, 5);
  c.run([&] { kernels::philox_uniform(c.execution, d.stream, low, high, out.flat(), d.first); }, out);
  const double reach = std::max(std::abs(low), std::abs(high)) + static_cast<double>(high) - low;
  for (std::int64_t i = 0; i < d.size; ++i) {
    c.expect(out[i], low + (static_cast<double>(high) - low) * d.uniform(i), 4 * eps * reach, "uniform", i);
    if (!(out[i] > low && out[i] < high)) throw Failure("a uniform outside its bounds");
  }
}

void normals(Case& c) {
  const Draws d(c);
  auto out = c.output<float>(d.size);
  const float mean = c.scalar(-2, 2), stddev = c.scalar(0.1, 3);
  c.run([&] { kernels::philox_normal(c.execution, d.stream, mean, stddev, out.flat(), d.first); }, out);
  for (std::int64_t i = 0; i < d.size; ++i) {
    const double radius = stddev * std::sqrt(-2 * std::log(d.uniform(i / 2 * 2)));
    const double angle = 2 * std::numbers::pi * d.uniform(i / 2 * 2 + 1);
    const double expected = mean + radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
    c.expect(out[i], expected, 4e-7 * radius + 2 * eps * (std::abs(expected) + std::abs(mean)), "normal", i);
  }
}

[[maybe_unused]] const bool all[] = {fuzz("philox_words", words), fuzz("philox_uniform", uniforms),
                                     fuzz("philox_normal", normals)};

}  // namespace
}  // namespace kindling::fuzz
