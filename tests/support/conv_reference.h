// The convolution and its gradients in float64, written as the plain sums over output pixels, channels and taps.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/conv.h"

namespace kindling::test {

/// One product of the convolution: y[output] += x[input] * w[weight].
struct ConvTerm {
  std::int64_t input, weight, output;
};

/// Calls `visit` for every product of one sample whose pixel lies inside the image.
inline void for_each_term(const kernels::ConvShape& s, const std::function<void(const ConvTerm&)>& visit) {
  for (std::int64_t oy = 0; oy < s.out_height(); ++oy) {
    for (std::int64_t ox = 0; ox < s.out_width(); ++ox) {
      for (std::int64_t ky = 0; ky < s.kernel_height; ++ky) {
        for (std::int64_t kx = 0; kx < s.kernel_width; ++kx) {
          const std::int64_t iy = oy * s.stride - s.padding + ky, ix = ox * s.stride - s.padding + kx;
          if (iy < 0 || iy >= s.height || ix < 0 || ix >= s.width) continue;
          for (std::int64_t o = 0; o < s.channels_out; ++o) {
            for (std::int64_t c = 0; c < s.channels_in; ++c) {
              visit({(iy * s.width + ix) * s.channels_in + c,
                     ((o * s.channels_in + c) * s.kernel_height + ky) * s.kernel_width + kx,
                     (oy * s.out_width() + ox) * s.channels_out + o});
            }
          }
        }
      }
    }
  }
}

/// A sum and the sum of its terms' magnitudes, which bounds its rounding error.
struct Sums {
  std::vector<double> value, magnitude;
  explicit Sums(std::int64_t size) : value(static_cast<std::size_t>(size)), magnitude(value) {}
  void add(std::int64_t i, double term) {
    value[static_cast<std::size_t>(i)] += term;
    magnitude[static_cast<std::size_t>(i)] += std::abs(term);
  }
};

/// Rounding errors of `terms` float32 additions behave like a random walk; four of its standard deviations, and room
/// for the last operations.
inline double random_walk_bound(std::int64_t terms, double magnitude) {
  return (4 * std::sqrt(static_cast<double>(terms)) + 4) * 0x1p-24 * magnitude;
}

/// Odd shapes: one pixel, primes, kernels of one pixel, of the whole image and of one row, strides that do not divide,
/// borders wider than the kernel, channels one more and one less than a vector and a panel.
inline const std::vector<kernels::ConvShape>& conv_shapes() {
  static const std::vector<kernels::ConvShape> shapes = {
      {1, 1, 1, 1, 1, 1, 1, 0},   {5, 7, 3, 16, 3, 3, 1, 1},  {8, 8, 16, 16, 3, 3, 1, 1}, {4, 6, 17, 15, 3, 3, 1, 1},
      {6, 5, 9, 33, 3, 2, 1, 0},  {7, 7, 2, 8, 3, 3, 2, 1},   {9, 8, 5, 24, 5, 3, 3, 2},  {4, 4, 3, 7, 4, 4, 1, 0},
      {3, 11, 4, 31, 1, 1, 1, 0}, {6, 7, 5, 9, 1, 1, 2, 0},   {3, 4, 3, 5, 2, 2, 1, 3},   {5, 5, 1, 17, 1, 5, 1, 2},
      {2, 3, 7, 10, 3, 3, 2, 1},  {13, 13, 1, 3, 7, 7, 4, 3}, {6, 6, 24, 48, 3, 3, 1, 1}, {4, 3, 49, 40, 3, 3, 1, 1},
      {10, 9, 3, 12, 2, 4, 5, 0}};
  return shapes;
}

}  // namespace kindling::test
