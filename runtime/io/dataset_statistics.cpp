#include <fmt/format.h>
#include <kindling/error.h>

#include <algorithm>
#include <cmath>

#include "io/dataset_prepare.h"

namespace kindling::io {
namespace {

/// Population moments in the units that a model sees: byte / 255, or the float itself.
struct Moments {
  std::vector<double> mean;      // for each feature
  std::vector<double> variance;  // for each feature
  double all_mean = 0.0;
  double all_variance = 0.0;
};

/// Sums of bytes and of their squares are integers, so that the result does not depend on any order and a constant
/// feature has a variance of exactly 0.
Moments byte_moments(const Samples& s) {
  const auto width = static_cast<std::size_t>(s.features);
  const auto rows = static_cast<std::size_t>(s.count);
  // 66,051 squares of 255 fit into 32 bits, in which the loop below runs vectorised.
  constexpr std::size_t block = 65536;
  std::vector<std::uint32_t> part(width);
  std::vector<std::uint32_t> part_squares(width);
  std::vector<std::uint64_t> sum(width);
  std::vector<std::uint64_t> squares(width);
  for (std::size_t first = 0; first < rows; first += block) {
    std::ranges::fill(part, 0U);
    std::ranges::fill(part_squares, 0U);
    for (std::size_t r = first; r < std::min(first + block, rows); ++r) {
      const std::uint8_t* row = s.bytes.data() + r * width;
      for (std::size_t k = 0; k < width; ++k) {
        const std::uint32_t b = row[k];
        part[k] += b;
        part_squares[k] += b * b;
      }
    }
    for (std::size_t k = 0; k < width; ++k) {
      sum[k] += part[k];
      squares[k] += part_squares[k];
    }
  }
  const auto from_sums = [](std::uint64_t total, std::uint64_t total_squares, double n, double& mean,
                            double& variance) {
    const double m = static_cast<double>(total) / n;
    mean = m / 255.0;
    variance = std::max(0.0, static_cast<double>(total_squares) / n - m * m) / (255.0 * 255.0);
  };
  Moments moments{std::vector<double>(width), std::vector<double>(width)};
  std::uint64_t all = 0;
  std::uint64_t all_squares = 0;
  for (std::size_t k = 0; k < width; ++k) {
    from_sums(sum[k], squares[k], static_cast<double>(rows), moments.mean[k], moments.variance[k]);
    all += sum[k];
    all_squares += squares[k];
  }
  from_sums(all, all_squares, static_cast<double>(rows) * static_cast<double>(width), moments.all_mean,
            moments.all_variance);
  return moments;
}

/// Two passes in float64 over deviations from the first sample: no cancellation, and exactly 0 for a constant feature.
Moments float_moments(const Samples& s) {
  const auto width = static_cast<std::size_t>(s.features);
  const auto rows = static_cast<std::size_t>(s.count);
  const double n = static_cast<double>(rows);
  const float* origin = s.floats.data();
  std::vector<double> shift(width);
  for (std::size_t r = 0; r < rows; ++r) {
    const float* row = origin + r * width;
    for (std::size_t k = 0; k < width; ++k) shift[k] += static_cast<double>(row[k]) - static_cast<double>(origin[k]);
  }
  for (double& d : shift) d /= n;
  std::vector<double> variance(width);
  for (std::size_t r = 0; r < rows; ++r) {
    const float* row = origin + r * width;
    for (std::size_t k = 0; k < width; ++k) {
      const double d = static_cast<double>(row[k]) - static_cast<double>(origin[k]) - shift[k];
      variance[k] += d * d;
    }
  }
  Moments moments{std::vector<double>(width), std::move(variance)};
  for (std::size_t k = 0; k < width; ++k) {
    moments.mean[k] = static_cast<double>(origin[k]) + shift[k];
    moments.variance[k] /= n;
  }
  // Total variance: the mean of the variances plus the variance of the means.
  const double base = moments.mean[0];
  double offset = 0.0;
  for (const double m : moments.mean) offset += m - base;
  offset /= static_cast<double>(width);
  moments.all_mean = base + offset;
  for (std::size_t k = 0; k < width; ++k) {
    const double d = moments.mean[k] - base - offset;
    moments.all_variance += (moments.variance[k] + d * d) / static_cast<double>(width);
  }
  return moments;
}

/// 0 where the variance is 0 or so small that its reciprocal root is no float.
float reciprocal_root(double variance) {
  const auto inverse = static_cast<float>(1.0 / std::sqrt(variance));
  return std::isfinite(inverse) ? inverse : 0.0F;
}

}  // namespace

void standardisation_statistics(const Samples& train, Standardisation standardisation, const std::string& name,
                                std::vector<float>& mean, std::vector<float>& inverse_std) {
  const auto width = static_cast<std::size_t>(train.features);
  mean.assign(width, 0.0F);
  inverse_std.assign(width, 1.0F);
  if (standardisation == Standardisation::scale) return;
  if (standardisation == Standardisation::none) {
    // Bytes arrive divided by 255; this undoes it.
    if (train.eight_bit()) inverse_std.assign(width, 255.0F);
    return;
  }
  const Moments moments = train.eight_bit() ? byte_moments(train) : float_moments(train);
  if (standardisation == Standardisation::global) {
    mean.assign(width, static_cast<float>(moments.all_mean));
    inverse_std.assign(width, reciprocal_root(moments.all_variance));
  } else {
    for (std::size_t k = 0; k < width; ++k) {
      mean[k] = static_cast<float>(moments.mean[k]);
      inverse_std[k] = reciprocal_root(moments.variance[k]);
    }
  }
  if (std::ranges::all_of(inverse_std, [](float v) { return v == 0.0F; })) {
    throw Error(
        ErrorCode::bad_input,
        fmt::format(
            "{}: inputs that vary expected, but {} over all {} training samples (first value {}); "
            "there is nothing to standardise",
            name, standardisation == Standardisation::global ? "every input is the same" : "every feature is constant",
            train.count, train.eight_bit() ? static_cast<float>(train.bytes[0]) : train.floats[0]));
  }
}

}  // namespace kindling::io
