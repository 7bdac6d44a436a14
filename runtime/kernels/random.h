// Philox streams (include/kindling/random.h) filled by the kernels: element i of `out` is element 4 first_block + i of
// the stream, made of word i % 4 of block first_block + i / 4.
//
// The words are the same everywhere. Uniforms and normals are the same bits on every CPU target and for any number of
// threads; on a device, whose compiler may fuse multiply and add, they agree to a few units in the last place.
// Throws Error{usage} when the blocks asked for run past 2^32 (2^34 elements a stream).
#pragma once

#include <kindling/random.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <span>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// Raw 32-bit words.
void philox_words(const Execution& execution, const Stream& stream, std::span<std::uint32_t> out,
                  std::uint32_t first_block = 0);

/// low + (high - low) u with u = (word / 256 + 1/2) / 2^24; strictly between low and high, whatever the rounding.
/// Bounds are finite, low < high, and some float lies between them; Error{usage} otherwise.
void philox_uniform(const Execution& execution, const Stream& stream, float low, float high, std::span<float> out,
                    std::uint32_t first_block = 0);

/// mean + stddev * normal by Box and Muller on the words (0, 1) and (2, 3) of a block: radius from the first word of a
/// pair, sqrt(-2 ln((word / 2 | 1) / 2^31)), angle from the second, 2 pi word / 2^32, cosine before sine. |normal| <=
/// 6.56; log, sin and cos are polynomials, off by 4e-7 of the radius together. mean and stddev are finite, stddev >= 0;
/// Error{usage} otherwise.
void philox_normal(const Execution& execution, const Stream& stream, float mean, float stddev, std::span<float> out,
                   std::uint32_t first_block = 0);

/// -mean ln u, u = (word / 2 | 1) / 2^31 held below 1: exponential draws, between 5.9e-8 mean and 21.5 mean. mean is
/// finite and positive; Error{usage} otherwise.
void philox_exponential(const Execution& execution, const Stream& stream, float mean, std::span<float> out,
                        std::uint32_t first_block = 0);

/// sqrt(u): draws of Beta(2, 1), the law of the larger of two uniforms, on (0, 1).
void philox_beta21(const Execution& execution, const Stream& stream, std::span<float> out,
                   std::uint32_t first_block = 0);

/// Draws of Beta(alpha, beta), of density x^(alpha - 1) (1 - x)^(beta - 1) / B(alpha, beta) on (0, 1): G / (G + H) of
/// two gamma draws by Marsaglia and Tsang's rejection (ACM TOMS 2000). Element i is made of blocks first_block + 8 i to
/// first_block + 8 i + 7 of the stream: seven attempts for both, and a last one for shapes below 1. Draws too close to
/// 0 or 1 for a normal float32 are the nearest one. alpha and beta lie in [0.001, 10000]; Error{usage} otherwise, and
/// when the blocks run past 2^32. philox_beta21 is some 25 times as fast where it will do.
void philox_beta(const Execution& execution, const Stream& stream, float alpha, float beta, std::span<float> out,
                 std::uint32_t first_block = 0);

// Rows whose entries depend on each other; entry j of row r comes from word j % 4 of block r B + j / 4 of the stream.

/// Each row of out (R x d) uniform on the simplex: exponentials over their sum; B = ceil(d / 4). A row's entries are
/// positive and sum to 1 within d eps.
void philox_simplex(const Execution& execution, const Stream& stream, TensorView out);

/// Rows w = scale (z - shrink mean(z)) of out (R x N), z independent standard normals; B = ceil(N / 4) + 1. With
/// `beta_entry`, one entry of each row (any with equal chance, to N / 2^32) is a Beta(2, 1) draw instead, the others
/// being what they are without. scale and shrink are finite; Error{usage} otherwise.
struct CorrelatedRows {
  float scale = 1.0F;
  float shrink = 0.0F;
  bool beta_entry = false;
};
void philox_correlated_rows(const Execution& execution, const Stream& stream, const CorrelatedRows& law,
                            TensorView out);

}  // namespace kindling::kernels
