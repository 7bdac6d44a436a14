// Arguments of the kernels over pairs of samples: checks that gram.h promises, and buffers of rank 3.
#pragma once

#include "kernels/expect.h"

namespace kindling::kernels {

/// Largest magnitude of a coordinate: squares, and sums of millions of them, stay finite.
inline constexpr float largest_coordinate = 1e15F;

/// Problems, rows and coordinates of a matrix (one problem) or a tensor of rank 3.
struct Problems {
  std::int64_t count = 0, rows = 0, depth = 0, problem_stride = 0, row_stride = 0;
};

/// Checks rank and strides, and that there is a coordinate.
Problems problems_of(std::string_view kernel, std::string_view name, const ConstTensorView& view);

/// Every coordinate is finite and not too large.
void expect_coordinates(std::string_view kernel, std::string_view name, const ConstTensorView& view);

/// Memory that an argument covers.
struct Extent {
  std::string_view name;
  const void* data;
  std::size_t bytes;
};
template <class T>
Extent extent_of(std::string_view name, std::span<T> s) {
  return {name, s.data(), s.size_bytes()};
}
Extent extent_of(std::string_view name, const ConstTensorView& view);

/// No output meets an input or another output.
void expect_apart(std::string_view kernel, std::span<const Extent> outputs, std::span<const Extent> inputs);

/// (d, n, P) for kernels.
template <class T>
Buffer problems_buffer(Buffer::Use use, const BasicTensorView<T>& view, const Problems& p) {
  return Buffer(use, view.data(), {p.depth, p.rows, p.count}, {1, p.row_stride, p.problem_stride});
}

}  // namespace kindling::kernels
