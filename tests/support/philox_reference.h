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

/// Of a normal draw by Box and Muller: the radius from the first word of a pair, as float32 holds it, and the angle
/// from the second.
struct NormalDraw {
  double value = 0, radius = 0;
};

/// Element i of a block's four standard normals. The kernels' polynomials are off by 4e-7 of the radius.
inline NormalDraw normal_of(const std::array<std::uint32_t, 4>& words, std::size_t i) {
  const double u = static_cast<float>(words[i / 2 * 2] >> 1U | 1U) / 2147483648.0;
  const double radius = std::sqrt(-2 * std::log(u));
  const double angle = 2 * std::numbers::pi * words[i / 2 * 2 + 1] / 4294967296.0;
  return {radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle)), radius};
}
constexpr double normal_error = 4e-7;  ///< of the radius

}  // namespace kindling::test
