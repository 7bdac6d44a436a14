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

/// Whether LLVM makes one instruction with one rounding of a * b + c in ordinary arithmetic.
inline bool fuses_multiply_add(const Halide::Target& target) {
  using Halide::Target;
  if (target.arch == Target::X86) return target.has_feature(Target::FMA) || target.has_feature(Target::CUDA);
  return target.arch == Target::ARM || target.arch == Target::RISCV;
}

/// e^x for x <= 0, as all exponentials relative to a maximum are, in few instructions: relative error at most 2.5e-7
/// above -87, 0 below -88 and one or the other between. NaN stays NaN. Not for strict arithmetic.
inline Halide::Expr exp_nonpositive(const Halide::Expr& argument, const Halide::Target& target) {
  using namespace Halide;
  using Internal::Call;
  // 1.5 * 2^23 + 127: adding it rounds to an integer n; n + 127 then stands in the low bits, 0 where e^x is.
  constexpr float magic = 12583039.0F;
  Expr x = strict_float(select(argument < -88.0F, -88.0F, argument));
  Expr shifted = Call::make(x.type(), Call::strict_add, {x * 1.44269504F, magic}, Call::PureIntrinsic);
  Expr n = Call::make(x.type(), Call::strict_sub, {shifted, magic}, Call::PureIntrinsic);
  // Fused, the product is exact, and ln 2 as one number is off by 2e-9 n.
  Expr r = fuses_multiply_add(target) ? x - n * 0.693147181F : less_multiple_of_ln2(x, n);
  Expr p = horner(r, {8.290272029101896e-3F, 4.1898159658887324e-2F, 1.6667638128575477e-1F, 4.9999147840706126e-1F,
                      9.999997063129085e-1F, 1.0F});
  return p * reinterpret<float>(reinterpret<int32_t>(shifted) << 23);
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

/// 2^31 u for u = (w / 2 | 1) / 2^31, w a word of 32 random bits; up to 2^31.
inline Halide::Expr scaled_unit(const Halide::Expr& word) {
  using namespace Halide;
  return cast<float>(cast<int32_t>((word >> 1) | Expr(std::uint32_t{1})));
}

/// -times ln u of scaled_unit's 2^31 u, `times` a power of two: never negative, relative error at most 3e-7. Its bits
/// become m and e of u = 2^e (1 + m).
inline Halide::Expr minus_log_poly(const Halide::Expr& scaled, float times) {
  using namespace Halide;
  constexpr std::int32_t root_half = 0x3f3504f3, exponent_of_2_31 = 31 << 23;
  Expr bits = reinterpret<int32_t>(scaled);
  Expr shifted = bits - (root_half + exponent_of_2_31);
  Expr m = reinterpret<float>((shifted & 0x7fffff) + root_half) - 1.0F;  // in [sqrt 1/2 - 1, sqrt 2 - 1)
  Expr p = horner(m, {times * 1.010676412243893e-1F, times * -1.6222524383521585e-1F, times * 1.725084819626846e-1F,
                      times * -1.9900173205158428e-1F, times * 2.4969908275803318e-1F, times * -3.3335058678262535e-1F,
                      times * 5.000036513322833e-1F, times * -9.999999453229425e-1F});
  return p * m + cast<float>(shifted >> 23) * (times * -6.931471805599453e-1F);
}

struct SineCosine {
  Halide::Expr sine, cosine;
};

/// sin 2 pi u and cos 2 pi u for u = w / 2^32, w a word: absolute error at most 1.1e-7.
inline SineCosine sincos_2pi_poly(const Halide::Expr& word) {
  using namespace Halide;
  // The bits below the upper two are a signed fraction of a quarter turn: f in [-1/8, 1/8).
  Expr f = cast<float>(reinterpret<int32_t>(word << 2)) * (1.0F / 17179869184.0F);
  Expr quadrant = word + Expr(std::uint32_t{0x20000000});  // the nearest, in the upper two bits
  Expr z = f * f;
  Expr s = f * horner(z, {-75.39356270477427F, 81.59235355210123F, -41.34166145490729F, 6.2831852868333415F});
  Expr c = horner(z, {59.202795948367935F, -85.44229796868403F, 64.93931074456727F, -19.739208633036046F, 1.0F});
  Expr odd = (quadrant & Expr(std::uint32_t{0x40000000})) != Expr(std::uint32_t{0});
  // Signs straight into the bits: sine is negative in quadrants 2 and 3, cosine in 1 and 2.
  const auto flip = [](const Expr& value, const Expr& q) {
    return reinterpret<float>(reinterpret<uint32_t>(value) ^ (q & Expr(std::uint32_t{0x80000000})));
  };
  return {flip(select(odd, c, s), quadrant), flip(select(odd, s, c), quadrant + Expr(std::uint32_t{0x40000000}))};
}

}  // namespace kindling
