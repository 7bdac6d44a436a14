#include <kindling/random.h>

#include "kernels/random.h"

namespace kindling {

void fill_normal(const Stream& stream, float mean, float stddev, std::span<float> out, const Context& context) {
  kernels::philox_normal(kernels::execution(context), stream, mean, stddev, out);
}

void fill_uniform(const Stream& stream, float low, float high, std::span<float> out, const Context& context) {
  kernels::philox_uniform(kernels::execution(context), stream, low, high, out);
}

}  // namespace kindling
