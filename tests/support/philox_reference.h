// What a word of a Philox block stands for in the kernels' draws, in float64.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace kindling::test {

/// The float32 nearest to (k + 1/2) / 2^24, k the word's upper 24 bits, or the one below 1.
inline double uniform_of(std::uint32_t word) {
  return std::min(static_cast<float>((word >> 8U) + 0.5), 16777215.0F) / 16777216.0;
}

/// (word / 2 | 1) / 2^31, as float32 holds it: up to 1.
inline double odd_uniform_of(std::uint32_t word) { return static_cast<float>(word >> 1U | 1U) / 2147483648.0; }

/// A standard exponential. The kernels' polynomial is off by 3e-7 of it, before its rounding.
inline double exponential_of(std::uint32_t word) { return -std::log(std::min(odd_uniform_of(word), 1 - 0x1p-24)); }
constexpr double exponential_error = 3e-7;

/// Of a normal draw by Box and Muller: the radius from the first word of a pair, the angle from the second.
struct NormalDraw {
  double value = 0, radius = 0;
};

/// Element i of a block's four standard normals. The kernels' polynomials are off by 4e-7 of the radius.
inline NormalDraw normal_of(const std::array<std::uint32_t, 4>& words, std::size_t i) {
  const double radius = std::sqrt(-2 * std::log(odd_uniform_of(words[i / 2 * 2])));
  const double angle = 2 * std::numbers::pi * words[i / 2 * 2 + 1] / 4294967296.0;
  return {radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle)), radius};
}
constexpr double normal_error = 4e-7;  ///< of the radius

}  // namespace kindling::test
