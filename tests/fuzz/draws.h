// What the kernels draw from Philox streams, in float64 from the host's own blocks.
#pragma once

#include <kindling/random.h>

#include <numbers>

#include "fuzz/fuzz.h"

namespace kindling::fuzz {

inline Stream draw_stream(Case& c) {
  return {.seed = static_cast<std::uint64_t>(c.below(std::int64_t{1} << 62)),
          .purpose = Purpose{static_cast<std::uint32_t>(c.below(1000))},
          .unit = static_cast<std::uint32_t>(c.below(std::int64_t{1} << 32)),
          .step = static_cast<std::uint32_t>(c.below(std::int64_t{1} << 32))};
}

/// The float32 nearest to (k + 1/2) / 2^24, k the word's upper 24 bits, or the one below 1.
inline double uniform_of(std::uint32_t word) {
  return std::min(static_cast<float>((word >> 8U) + 0.5), 16777215.0F) / 16777216.0;
}

/// Element i of a block's four standard normals (Box and Muller on two words), and how far off the kernels' polynomials
/// may be.
inline Bounded normal_of(const std::array<std::uint32_t, 4>& words, std::size_t i) {
  const double radius = std::sqrt(-2 * std::log(uniform_of(words[i / 2 * 2])));
  const double angle = 2 * std::numbers::pi * uniform_of(words[i / 2 * 2 + 1]);
  return {radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle)), 4e-7 * radius};
}

/// A standard exponential, by a logarithm that is off by 1.5e-7 and its rounding.
inline Bounded exponential_of(std::uint32_t word) {
  const double value = -std::log(uniform_of(word));
  return {value, (1.5e-7 + 3 * eps) * value};
}

}  // namespace kindling::fuzz
