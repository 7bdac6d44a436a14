// NaN, told from its bits, since Halide and LLVM take ordinary comparisons of floats never to meet one: they turn them
// round and fold is_nan() away. Signed, as vectors compare.
#pragma once

#include "Halide.h"

namespace kindling {

inline Halide::Expr is_nan_bits(const Halide::Expr& x) {
  return (Halide::reinterpret<int32_t>(x) & 0x7fffffff) > 0x7f800000;
}

}  // namespace kindling
