// What rounding errors of a convolution by Winograd's filtering are relative to: the sum of the products of transformed
// magnitudes, back through the magnitudes of the last transform, instead of the sum of |x w|.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <functional>

namespace kindling::test {

using Matrix4 = std::array<std::array<double, 4>, 4>;

/// Roundings of one element on its way through the three transforms, on top of those of the sum.
inline constexpr std::int64_t winograd_roundings = 12;

/// |T| |a| |T'| of a `size` x `size` matrix a, T of 4 x `size`.
template <std::size_t size>
Matrix4 transformed_magnitudes(const double (&t)[4][size], const std::function<double(std::int64_t, std::int64_t)>& a) {
  Matrix4 result{};
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t j = 0; j < 4; ++j)
      for (std::size_t k = 0; k < size; ++k)
        for (std::size_t l = 0; l < size; ++l)
          result[i][j] += t[i][k] * std::abs(a(static_cast<std::int64_t>(k), static_cast<std::int64_t>(l))) * t[j][l];
  return result;
}
/// Of 4 x 4 pixels.
inline Matrix4 input_magnitudes(const std::function<double(std::int64_t, std::int64_t)>& d) {
  static constexpr double t[4][4] = {{1, 0, 1, 0}, {0, 1, 1, 0}, {0, 1, 1, 0}, {0, 1, 0, 1}};
  return transformed_magnitudes(t, d);
}
/// Of a kernel of 3 x 3.
inline Matrix4 kernel_magnitudes(const std::function<double(std::int64_t, std::int64_t)>& g) {
  static constexpr double t[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}, {0, 0, 1}};
  return transformed_magnitudes(t, g);
}
/// Of the gradients of 2 x 2 pixels.
inline Matrix4 gradient_magnitudes(const std::function<double(std::int64_t, std::int64_t)>& g) {
  static constexpr double t[4][2] = {{1, 0}, {0.5, 0.5}, {0.5, 0.5}, {0, 1}};
  return transformed_magnitudes(t, g);
}
inline void add_products(Matrix4& sum, const Matrix4& a, const Matrix4& b) {
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t j = 0; j < 4; ++j) sum[i][j] += a[i][j] * b[i][j];
}
/// Of what the last transform makes of them: pixel (y, x) of a tile of `size` 2, tap (y, x) of a kernel of `size` 3.
inline double output_magnitude(const Matrix4& m, std::int64_t size, std::int64_t y, std::int64_t x) {
  static constexpr double two[2][4] = {{1, 1, 1, 0}, {0, 1, 1, 1}};
  static constexpr double three[3][4] = {{1, 1, 1, 0}, {0, 1, 1, 0}, {0, 1, 1, 1}};
  const double *column = size == 2 ? two[y] : three[y], *row = size == 2 ? two[x] : three[x];
  double sum = 0;
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t j = 0; j < 4; ++j) sum += column[i] * m[i][j] * row[j];
  return sum;
}

/// What the errors of pixel (y, x) of a result are relative to. image(y, x, channel) is what the result's pixels see,
/// from the upper left one of the first tile on, and 0 outside; weight(channel, ky, kx).
template <class Image, class Weight>
double filtered_magnitude(std::int64_t channels, std::int64_t y, std::int64_t x, const Image& image,
                          const Weight& weight) {
  Matrix4 m{};
  for (std::int64_t c = 0; c < channels; ++c) {
    add_products(m, input_magnitudes([&](auto i, auto j) { return image(y - y % 2 + i, x - x % 2 + j, c); }),
                 kernel_magnitudes([&](auto i, auto j) { return weight(c, i, j); }));
  }
  return output_magnitude(m, 2, y % 2, x % 2);
}
/// What the errors of the weight gradient at tap (ky, kx) are relative to. image(sample, y, x) as above, of one channel
/// in; gradient(sample, y, x) of one channel out, of height x width pixels, 0 outside.
template <class Image, class Gradient>
double filtered_gradient_magnitude(std::int64_t samples, std::int64_t height, std::int64_t width, std::int64_t ky,
                                   std::int64_t kx, const Image& image, const Gradient& gradient) {
  Matrix4 m{};
  for (std::int64_t n = 0; n < samples; ++n)
    for (std::int64_t y = 0; y < height; y += 2)
      for (std::int64_t x = 0; x < width; x += 2)
        add_products(m, input_magnitudes([&](auto i, auto j) { return image(n, y + i, x + j); }),
                     gradient_magnitudes([&](auto i, auto j) { return gradient(n, y + i, x + j); }));
  return output_magnitude(m, 3, ky, kx);
}

}  // namespace kindling::test
