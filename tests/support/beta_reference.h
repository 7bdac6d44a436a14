// Beta draws in float64 from the host's own words, with what float32 may be off by.
#pragma once

#include <kindling/random.h>

#include <algorithm>
#include <cmath>

#include "support/philox_reference.h"

namespace kindling::test {

struct BetaDraw {
  double value = 0, bound = 0;
  bool certain = true;  ///< false: whether an attempt is accepted lies within the rounding errors
};

/// G / (G + H), gamma draws by Marsaglia and Tsang from blocks `block` to block + 7: up to seven attempts for both,
/// which share a block's pair of normals, and uniforms for shapes below 1.
inline BetaDraw beta_draw(const Stream& stream, std::uint32_t block, double alpha, double beta) {
  constexpr double eps = 0x1p-23, polynomial = 1.5e-7;
  constexpr std::uint32_t attempts = 7;
  BetaDraw draw;
  double difference = 0, error = 0;
  for (const int which : {0, 1}) {
    const double shape = which == 0 ? alpha : beta, root = shape < 1 ? 1 / shape : 0;
    const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / std::sqrt(9 * d);
    double log_v = 0, log_error = 0;
    for (std::uint32_t j = 0; j < attempts; ++j) {
      const auto words = philox_block(stream, block + j);
      const auto [z, radius] = normal_of(words, static_cast<std::size_t>(which));
      const double z_error = normal_error * radius;
      const double t = 1 + c * z, t_error = c * z_error + 3 * eps * (1 + std::abs(c * z));
      const double log_u = std::log(uniform_of(words[2 + static_cast<std::size_t>(which)]));
      if (t <= t_error) {
        draw.certain = draw.certain && t < -t_error;
        continue;
      }
      const double log_t = std::log(t), cube = t * t * t;
      const double margin = 0.5 * z * z + d * (1 - cube + 3 * log_t) - log_u;
      const double margin_error = std::abs(z) * z_error + d * 3 * std::abs(1 / t - t * t) * t_error +
                                  8 * eps * (z * z + d * (1 + cube + 3 * std::abs(log_t)) + std::abs(log_u));
      if (std::abs(margin) <= margin_error) draw.certain = false;
      if (margin <= 0) continue;
      log_v = 3 * log_t;
      log_error = 3 * t_error / t + (polynomial + eps) * std::abs(log_v);
      break;
    }
    const double log_u = std::log(uniform_of(philox_block(stream, block + attempts)[static_cast<std::size_t>(which)]));
    const double log_gamma = std::log(d) + log_v + root * log_u;
    difference += which == 0 ? log_gamma : -log_gamma;
    error += log_error + 4 * eps * (std::abs(std::log(d)) + std::abs(log_v) + std::abs(root * log_u));
  }
  error += eps * std::abs(difference);
  const double e = std::exp(-std::abs(difference));
  draw.value = std::clamp((difference < 0 ? e : 1) / (1 + e), 0x1p-126, 1 - 0x1p-24);
  draw.bound = draw.value * (error * (difference < 0 ? 1 : e) + 8 * eps) + 0x1p-126;
  return draw;
}

}  // namespace kindling::test
