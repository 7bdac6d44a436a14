// Philox4x32-10: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <array>
#include <cstdint>

#include "Halide.h"

namespace kindling {

using PhiloxWords = std::array<Halide::Expr, 4>;

/// Upper half of the 64-bit product of two words.
inline Halide::Expr multiply_high(const Halide::Expr& a, const Halide::Expr& b, const Halide::Target& target) {
  using namespace Halide;
  if (!target.has_feature(Target::OpenCL)) return cast<uint32_t>((cast<uint64_t>(a) * cast<uint64_t>(b)) >> 32);
  // Not every OpenCL device multiplies 64-bit integers in hardware: four products of 16-bit pieces.
  const Expr low = a & 0xffffU, high = a >> 16;
  const Expr b_low = b & 0xffffU, b_high = b >> 16;
  const Expr middle = high * b_low;
  const Expr carry = ((low * b_low) >> 16) + (middle & 0xffffU) + low * b_high;
  return high * b_high + (middle >> 16) + (carry >> 16);
}

/// Ten rounds on a counter of four words under a key of two, all uint32.
inline PhiloxWords philox(PhiloxWords counter, Halide::Expr key0, Halide::Expr key1, const Halide::Target& target) {
  using Halide::Expr;
  constexpr std::uint32_t multiplier0 = 0xD2511F53U, multiplier1 = 0xCD9E8D57U;
  constexpr std::uint32_t weyl0 = 0x9E3779B9U, weyl1 = 0xBB67AE85U;
  for (int round = 0; round < 10; ++round) {
    counter = {multiply_high(counter[2], Expr(multiplier1), target) ^ counter[1] ^ key0, counter[2] * Expr(multiplier1),
               multiply_high(counter[0], Expr(multiplier0), target) ^ counter[3] ^ key1,
               counter[0] * Expr(multiplier0)};
    key0 = key0 + Expr(weyl0);
    key1 = key1 + Expr(weyl1);
  }
  return counter;
}

}  // namespace kindling
