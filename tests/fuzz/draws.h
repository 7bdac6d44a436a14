// What the kernels draw from Philox streams, in float64 from the host's own blocks.
#pragma once

#include <kindling/random.h>

#include "fuzz/fuzz.h"
#include "support/philox_reference.h"

namespace kindling::fuzz {

inline Stream draw_stream(Case& c) {
  return {.seed = static_cast<std::uint64_t>(c.below(std::int64_t{1} << 62)),
          .purpose = Purpose{static_cast<std::uint32_t>(c.below(1000))},
          .unit = static_cast<std::uint32_t>(c.below(std::int64_t{1} << 32)),
          .step = static_cast<std::uint32_t>(c.below(std::int64_t{1} << 32))};
}

/// Element i of a block's four standard normals, and how far off the kernels' polynomials may be.
inline Bounded normal_of(const std::array<std::uint32_t, 4>& words, std::size_t i) {
  const test::NormalDraw draw = test::normal_of(words, i);
  return {draw.value, test::normal_error * draw.radius};
}

inline Bounded exponential_of(std::uint32_t word) {
  const double value = test::exponential_of(word);
  return {value, (test::exponential_error + 3 * eps) * value};
}

}  // namespace kindling::fuzz
