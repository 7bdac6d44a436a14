#include "kernels/buffer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace kindling::kernels {

Buffer::Buffer(Use use, void* data, halide_type_t type, std::size_t element_size,
               std::initializer_list<std::int64_t> extents, std::initializer_list<std::int64_t> strides)
    : use_(use) {
  // A null host pointer would turn the call into a bounds query; an empty buffer is never read.
  alignas(64) static float nothing[16] = {};
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  const bool empty = std::find(extents.begin(), extents.end(), 0) != extents.end();
  std::size_t i = 0;
  std::int64_t last = 0;
  for (const std::int64_t extent : extents) {
    const std::int64_t stride = strides.begin()[i];
    if (extent < 0 || extent > most || stride < 0 || stride > most) {
      problem_ = fmt::format("extents and strides lie in 0..2^31-1, found extent {} and stride {} in dimension {}",
                             extent, stride, i);
      return;
    }
    if (extent > 0) last += std::min((extent - 1) * stride, std::int64_t{1} << 50);
    dims_[i] = halide_dimension_t(0, static_cast<std::int32_t>(extent), static_cast<std::int32_t>(stride));
    ++i;
  }
  const std::int64_t bytes = (last + 1) * static_cast<std::int64_t>(element_size);
  if (!empty && bytes > most) {
    problem_ = fmt::format("a buffer spans less than 2^31 bytes, found {}; use smaller batches", bytes);
  } else if (!empty && data == nullptr) {
    problem_ = "it has elements but no memory";
  }
  buffer_.host = static_cast<std::uint8_t*>(data != nullptr ? data : static_cast<void*>(nothing));
  buffer_.type = type;
  buffer_.dimensions = static_cast<std::int32_t>(i);
  buffer_.dim = dims_.data();
  if (use == Use::in || use == Use::inout) buffer_.set_host_dirty();
}

}  // namespace kindling::kernels
