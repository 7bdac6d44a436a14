// Philox streams (include/kindling/random.h) filled by the kernels: element i of `out` is element 4 first_block + i of
// the stream, made of word i % 4 of block first_block + i / 4.
//
// The words are the same everywhere. Uniforms and normals are the same bits on every CPU target and for any number of
// threads; on a device, whose compiler may fuse multiply and add, they agree to a few units in the last place.
// Throws Error{usage} when the blocks asked for run past 2^32 (2^34 elements a stream).
#pragma once

#include <kindling/random.h>

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
/// pair, angle from the second, cosine before sine. |normal| <= 5.89; log, sin and cos are polynomials with relative
/// error 1.5e-7. mean and stddev are finite, stddev >= 0; Error{usage} otherwise.
void philox_normal(const Execution& execution, const Stream& stream, float mean, float stddev, std::span<float> out,
                   std::uint32_t first_block = 0);

}  // namespace kindling::kernels
