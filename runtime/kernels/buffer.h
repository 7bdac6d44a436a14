// What a kernel is handed: Halide's description of memory that the caller owns.
#pragma once

#include <kindling/tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>

#include "HalideRuntime.h"

namespace kindling::kernels {

/// A Halide buffer over memory that the caller keeps alive during the call.
class Buffer {
 public:
  /// out_in_place: an output that may be one of the inputs, element for element. No other output overlaps anything.
  enum class Use { in, out, inout, out_in_place };
  template <class T>
  Buffer(Use use, T* data, std::initializer_list<std::int64_t> extents, std::initializer_list<std::int64_t> strides)
      : Buffer(use, const_cast<void*>(static_cast<const void*>(data)), halide_type_of<std::remove_const_t<T>>(),
               sizeof(T), extents, strides) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  halide_buffer_t* raw() { return &buffer_; }
  [[nodiscard]] Use use() const { return use_; }
  /// What keeps a kernel from taking this buffer; empty when nothing does.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  Buffer(Use use, void* data, halide_type_t type, std::size_t element_size, std::initializer_list<std::int64_t> extents,
         std::initializer_list<std::int64_t> strides);
  halide_buffer_t buffer_{};
  std::array<halide_dimension_t, 5> dims_{};
  Use use_;
  std::string problem_;
};

// Buffers in Halide's order: dimension 0 is the contiguous one, so a row-major (N x K) view becomes (K, N).
template <class T>
Buffer in(const BasicTensorView<T>& v) {
  if (v.rank() <= 1) return Buffer(Buffer::Use::in, v.data(), {v.size()}, {1});
  return Buffer(Buffer::Use::in, v.data(), {v.cols(), v.rows()}, {1, v.row_stride()});
}
template <class T>
Buffer in(std::span<T> v) {
  return Buffer(Buffer::Use::in, v.data(), {static_cast<std::int64_t>(v.size())}, {1});
}
inline Buffer out(const TensorView& v) {
  if (v.rank() <= 1) return Buffer(Buffer::Use::out, v.data(), {v.size()}, {1});
  return Buffer(Buffer::Use::out, v.data(), {v.cols(), v.rows()}, {1, v.row_stride()});
}
template <class T>
Buffer out(std::span<T> v) {
  return Buffer(Buffer::Use::out, v.data(), {static_cast<std::int64_t>(v.size())}, {1});
}
inline Buffer inout(const TensorView& v) {
  if (v.rank() <= 1) return Buffer(Buffer::Use::inout, v.data(), {v.size()}, {1});
  return Buffer(Buffer::Use::inout, v.data(), {v.cols(), v.rows()}, {1, v.row_stride()});
}
inline Buffer inout(std::span<float> v) {
  return Buffer(Buffer::Use::inout, v.data(), {static_cast<std::int64_t>(v.size())}, {1});
}

}  // namespace kindling::kernels
