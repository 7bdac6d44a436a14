// Whether two arrays share memory, exactly: column blocks of one matrix interleave without sharing an element.
#pragma once

#include <kindling/tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "HalideRuntime.h"

namespace kindling::kernels {

/// The bytes of an array: extents and strides in elements, dimension 0 innermost.
struct Memory {
  const std::byte* data = nullptr;
  std::int64_t element_bytes = 1;
  int rank = 0;
  std::array<std::int64_t, 8> extent{}, stride{};

  Memory() = default;
  explicit Memory(const halide_buffer_t& buffer);
  template <class T>
  explicit Memory(std::span<T> values)
      : Memory(values.data(), sizeof(T), {static_cast<std::int64_t>(values.size()), 1}, {1, 1}) {}
  template <class T>
  explicit Memory(const BasicTensorView<T>& v)
      : Memory(v.data(), sizeof(T), {v.cols(), v.rank() <= 1 ? 1 : v.rows()}, {1, v.row_stride()}) {
    if (v.rank() <= 1) extent[0] = v.size();
    forget_unused_strides();
  }
  [[nodiscard]] bool empty() const;
  bool operator==(const Memory&) const = default;

 private:
  Memory(const void* memory, std::size_t bytes, std::array<std::int64_t, 2> extents,
         std::array<std::int64_t, 2> strides)
      : data(static_cast<const std::byte*>(memory)),
        element_bytes(static_cast<std::int64_t>(bytes)),
        rank(2),
        extent{extents[0], extents[1]},
        stride{strides[0], strides[1]} {
    forget_unused_strides();
  }
  // A single row is the same memory whatever its stride.
  void forget_unused_strides() {
    for (std::size_t d = 0; d < extent.size(); ++d) stride[d] = extent[d] > 1 ? stride[d] : 0;
  }
};

/// From an array's first byte to behind its last, whatever lies between: enough to tell most arrays apart, and cheap.
struct MemoryRange {
  const std::byte *begin, *end;  // not initialized: a call has room for many more arrays than it is given

  MemoryRange() = default;
  explicit MemoryRange(const halide_buffer_t& buffer);
  explicit MemoryRange(const Memory& memory);
};

/// Whether the ranges have no byte in common. (An empty range inside another is not told apart.)
bool apart(const MemoryRange& a, const MemoryRange& b);

/// Whether some byte belongs to both. Where an array's dimensions do not nest (rows that run into each other), its
/// whole range counts.
bool overlap(const Memory& a, const Memory& b);

}  // namespace kindling::kernels
