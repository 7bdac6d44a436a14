#include "kernels/overlap.h"

#include <algorithm>
#include <functional>

namespace kindling::kernels {
namespace {

// An array as runs of adjacent bytes in the order of their addresses.
class Runs {
 public:
  explicit Runs(const Memory& memory) : first_(memory.data), run_(memory.element_bytes) {
    struct Dimension {
      std::int64_t extent, stride;
    };
    std::array<Dimension, 8> dims{};
    std::size_t count = 0;
    // By stride; an insertion each, since there are few.
    for (std::size_t d = 0; d < static_cast<std::size_t>(memory.rank); ++d) {
      if (memory.extent[d] <= 1) continue;
      const Dimension dim{memory.extent[d], memory.stride[d] * memory.element_bytes};
      std::size_t at = count++;
      for (; at > 0 && dims[at - 1].stride > dim.stride; --at) dims[at] = dims[at - 1];
      dims[at] = dim;
    }
    std::int64_t reach = run_;  // bytes from the first to the last of the dimensions so far
    bool nested = true;
    for (std::size_t d = 0; d < count; ++d) {
      nested = nested && dims[d].stride >= reach;
      if (rank_ == 0 && dims[d].stride == run_) {
        run_ *= dims[d].extent;
      } else {
        extent_[rank_] = dims[d].extent;
        stride_[rank_++] = dims[d].stride;
      }
      reach += (dims[d].extent - 1) * dims[d].stride;
    }
    if (!nested) {
      rank_ = 0;
      run_ = reach;
    }
    end_ = first_ + reach;
    begin_ = first_;
  }
  [[nodiscard]] const std::byte* begin() const { return begin_; }
  [[nodiscard]] const std::byte* run_end() const { return begin_ + run_; }
  [[nodiscard]] const std::byte* end() const { return end_; }
  // To the next run; false behind the last.
  bool advance() {
    for (std::size_t d = 0; d < rank_; ++d) {
      if (++position_[d] < extent_[d]) {
        begin_ += stride_[d];
        return true;
      }
      begin_ -= (extent_[d] - 1) * stride_[d];
      position_[d] = 0;
    }
    return false;
  }

 private:
  const std::byte *first_, *begin_ = nullptr, *end_ = nullptr;
  std::int64_t run_;
  std::size_t rank_ = 0;
  std::array<std::int64_t, 8> extent_{}, stride_{}, position_{};
};

// Addresses of different arrays compare by std::less only.
bool before(const std::byte* a, const std::byte* b) { return std::less<>()(a, b); }

}  // namespace

Memory::Memory(const halide_buffer_t& buffer)
    : data(reinterpret_cast<const std::byte*>(buffer.host)),
      element_bytes(buffer.type.bytes()),
      rank(std::min<int>(buffer.dimensions, 8)) {
  for (std::size_t d = 0; d < static_cast<std::size_t>(rank); ++d) {
    extent[d] = buffer.dim[d].extent;
    stride[d] = buffer.dim[d].stride;
  }
  forget_unused_strides();
}

bool Memory::empty() const {
  return std::any_of(extent.begin(), extent.begin() + rank, [](std::int64_t e) { return e <= 0; });
}

bool apart(const MemoryRange& a, const MemoryRange& b) { return !before(a.begin, b.end) || !before(b.begin, a.end); }

MemoryRange::MemoryRange(const halide_buffer_t& buffer)
    : begin(reinterpret_cast<const std::byte*>(buffer.host)), end(begin) {
  std::int64_t last = 0;
  for (int d = 0; d < buffer.dimensions; ++d) {
    if (buffer.dim[d].extent <= 0) return;
    last += (std::int64_t{buffer.dim[d].extent} - 1) * buffer.dim[d].stride;
  }
  end = begin + (last + 1) * buffer.type.bytes();
}

MemoryRange::MemoryRange(const Memory& memory) : begin(memory.data), end(begin) {
  std::int64_t last = 0;
  for (std::size_t d = 0; d < static_cast<std::size_t>(memory.rank); ++d) {
    if (memory.extent[d] <= 0) return;
    last += (memory.extent[d] - 1) * memory.stride[d];
  }
  end = begin + (last + 1) * memory.element_bytes;
}

bool overlap(const Memory& a, const Memory& b) {
  if (apart(MemoryRange(a), MemoryRange(b)) || a.empty() || b.empty()) return false;
  Runs x(a), y(b);
  while (true) {
    if (!before(y.begin(), x.run_end())) {
      if (!x.advance()) return false;
    } else if (!before(x.begin(), y.run_end())) {
      if (!y.advance()) return false;
    } else {
      return true;
    }
  }
}

}  // namespace kindling::kernels
