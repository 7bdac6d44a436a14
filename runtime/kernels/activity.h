// How often units are active.
#pragma once

#include <kindling/tensor.h>

#include <cstdint>
#include <span>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// counts[m] = number of samples n with y(n, m) > 0; y (N x M), rows may be strided; counts (M). A NaN is not active.
/// No samples: all counts are zero. Throws Error{usage} when the shapes do not fit.
void active_counts(const Execution& execution, ConstTensorView y, std::span<std::int32_t> counts);

}  // namespace kindling::kernels
