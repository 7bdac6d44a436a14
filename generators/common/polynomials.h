// Elementary functions as polynomials, so that they vectorise and agree among targets (Halide's own become calls to a
// scalar library). Coefficients: least squares re-weighted towards equal relative error over the reduced range.
//
// NaN: LLVM is told that ordinary float arithmetic never sees one, so a comparison may be turned round and lose it.
// Where a NaN has to survive, the comparison is strict or made on the bits.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "Halide.h"

namespace kindling {

/// c[0] x^n + ... + c[n] by Horner's rule.
inline Halide::Expr horner(const Halide::Expr& x, std::initializer_list<float> c) {
  const float* next = c.begin();
  Halide::Expr p = *next++;
  while (next != c.end()) p = p * x + *next++;
  return p;
}

/// a * b, not to be regrouped, while a itself stays free to be fused (strict_float would take a's operations along).
inline Halide::Expr strict_product(const Halide::Expr& a, const Halide::Expr& b) {
  using Halide::Internal::Call;
  return Call::make(a.type(), Call::strict_mul, {a, b}, Call::PureIntrinsic);
}

/// e^r for |r| <= ln 2 / 2.
inline Halide::Expr small_exp_poly(const Halide::Expr& r) {
  return horner(r, {1.381453789587569e-3F, 8.368745319999923e-3F, 4.1668390831274264e-2F, 1.6666520396771353e-1F,
                    4.9999993431891376e-1F, 1.0F, 1.0F});
}

/// x - n ln 2. ln 2 in two parts, the first exact in few bits, so that n times it is exact. Strict, or LLVM adds the
/// parts up.
inline Halide::Expr less_multiple_of_ln2(const Halide::Expr& x, const Halide::Expr& n) {
  return Halide::strict_float(x - n * 0.693359375F + n * 2.12194440e-4F);
}

/// e^x for x <= 0, as all exponentials relative to a maximum are; errors as exp_poly's, with fewer instructions.
inline Halide::Expr exp_nonpositive(const Halide::Expr& argument) {
  using namespace Halide;
  constexpr float magic = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer, which stands in the low bits
  Expr x = strict_float(select(argument < -104.0F, -104.0F, argument));
  Expr shifted = strict_float(x * 1.44269504F + magic);
  Expr p = small_exp_poly(less_multiple_of_ln2(x, strict_float(shifted - magic)));
  // 2^(n + 24) and 2^-24: n goes down to -150, where results are subnormal.
  Expr power = reinterpret<float>((reinterpret<int32_t>(shifted) << 23) + ((127 + 24) << 23));
  return strict_product(strict_product(p, power), 1.0F / 16777216.0F);
}

/// e^x, relative error at most 1.5e-7 where the result is a normal number; +inf above 88.72, 0 below -104, subnormal
/// between with the error of their spacing. NaN stays NaN.
inline Halide::Expr exp_poly(const Halide::Expr& argument) {
  using namespace Halide;
  Expr x = strict_float(select(argument < -104.0F, -104.0F, select(argument > 89.0F, 89.0F, argument)));
  Expr n = round(x * 1.44269504F);
  Expr p = small_exp_poly(less_multiple_of_ln2(x, n));
  // 2^n as two factors: n reaches 128 and, for subnormal results, -150.
  Expr k = cast<int32_t>(n);
  Expr half = k >> 1;
  const auto power_of_two = [](const Expr& exponent) { return reinterpret<float>((exponent + 127) << 23); };
  return strict_product(strict_product(p, power_of_two(half)), power_of_two(k - half));
}

/// ln x for normal positive x, relative error at most 1.5e-7. NaN and +inf stay as they are; zero, subnormal and
/// negative numbers are outside its domain.
inline Halide::Expr log_poly(const Halide::Expr& x) {
  using namespace Halide;
  Expr bits = reinterpret<int32_t>(x);
  // x = 2^e m with m in [sqrt 1/2, sqrt 2): 0x3f3504f3 are the bits of sqrt 1/2.
  Expr shifted = bits - 0x3f3504f3;
  Expr e = shifted >> 23;
  Expr m = reinterpret<float>(bits - (e << 23)) - 1.0F;
  Expr p = horner(m, {-7.634429916479576e-2F, 1.276155036031067e-1F, -1.316019504909879e-1F, 1.4201762466638596e-1F,
                      -1.6623356479815665e-1F, 2.0001226667503988e-1F, -2.500082105620131e-1F, 3.333333170969383e-1F});
  Expr square = m * m;
  Expr k = cast<float>(e);
  Expr small = square * m * p - k * 2.12194440e-4F - 0.5F * square;
  Expr result = strict_float((m + small) + k * 0.693359375F);
  // Unsigned: the NaN that inf - inf makes on x86 has its sign bit set.
  return select(reinterpret<uint32_t>(x) < Expr(std::uint32_t{0x7f800000}), result, x);
}

struct SineCosine {
  Halide::Expr sine, cosine;
};

/// sin 2 pi u and cos 2 pi u for 0 <= u <= 1: absolute error at most 1e-7 (1.5e-7 relative to the larger of the two).
inline SineCosine sincos_2pi_poly(const Halide::Expr& u) {
  using namespace Halide;
  Expr quadrant = cast<int32_t>(u * 4.0F + 0.5F);
  Expr f = u - cast<float>(quadrant) * 0.25F;  // exact, in [-1/8, 1/8]
  Expr z = f * f;
  Expr s = f * horner(z, {-75.39356270477427F, 81.59235355210123F, -41.34166145490729F, 6.2831852868333415F});
  Expr c = horner(z, {59.202795948367935F, -85.44229796868403F, 64.93931074456727F, -19.739208633036046F, 1.0F});
  Expr odd = (quadrant & 1) == 1;
  // Signs straight into the bits: sine is negative in quadrants 2 and 3, cosine in 1 and 2.
  const auto flip = [](const Expr& value, const Expr& q) {
    return reinterpret<float>(reinterpret<uint32_t>(value) ^ (cast<uint32_t>(q & 2) << 30));
  };
  return {flip(select(odd, c, s), quadrant), flip(select(odd, s, c), quadrant + 1)};
}

}  // namespace kindling
