// Arguments of the mean-field functions, refused by name.
#pragma once

#include <fmt/format.h>
#include <kindling/error.h>

#include <cmath>

namespace kindling {

inline void check_length(double q) {
  if (!(q >= 0) || !std::isfinite(q))
    throw Error(ErrorCode::usage, fmt::format("mean field: length: expected a finite number, 0 or more, found {}", q));
}
inline void check_correlation(double c) {
  if (!(c >= -1 && c <= 1))
    throw Error(ErrorCode::usage, fmt::format("mean field: correlation: expected a number in [-1, 1], found {}", c));
}
inline void check_variance(const char* name, double variance) {
  if (!(variance >= 0) || !std::isfinite(variance))
    throw Error(ErrorCode::usage,
                fmt::format("mean field: {}: expected a finite number, 0 or more, found {}", name, variance));
}
/// kappa = k / (1 + k).
inline double checked_kappa(double k) {
  if (!(k > -1) || !std::isfinite(k))
    throw Error(ErrorCode::usage, fmt::format("mean field: k: expected a finite number above -1, found {}", k));
  return k / (1 + k);
}

}  // namespace kindling
