// Dropout (Srivastava et al., JMLR 2014). The mask is a function of a random stream and the element's place, drawn
// again in the backward pass and never stored; the same on every target and for any number of threads.
#pragma once

#include <kindling/random.h>
#include <kindling/tensor.h>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// y = x * m, m = 0 with probability `rate` and 1 / (1 - rate) otherwise: element (n, k) of N x K is dropped where word
/// k % 4 of block n * ceil(K / 4) + k / 4 of the stream is below rate * 2^32. The backward pass is the same call on the
/// gradient. y may be x; rows may be strided. NaN stays NaN, dropped or not. Throws Error{usage} for a rate outside
/// [0, 1), for shapes that differ and for more than 2^32 blocks.
void dropout(const Execution& execution, ConstTensorView x, const Stream& stream, double rate, TensorView y);

}  // namespace kindling::kernels
