// Checks of a kernel wrapper's arguments. What does not fit becomes Error{usage}: kernel, argument, expected, found.
#pragma once

#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/tensor.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "kernels/dispatch.h"
#include "kernels/overlap.h"

namespace kindling::kernels {

[[noreturn]] inline void refuse(std::string_view kernel, const std::string& what) {
  throw Error(ErrorCode::usage, fmt::format("{}: {}", kernel, what));
}

/// Kernels index with 32 bits: extents and counts lie in 0..2^31-1.
inline constexpr std::int64_t most_extent = std::numeric_limits<std::int32_t>::max();

/// A count that becomes an extent or an index, such as a number of classes.
inline void expect_count(std::string_view kernel, std::string_view name, std::int64_t count, std::int64_t least) {
  if (count < least || count > most_extent)
    refuse(kernel, fmt::format("expected {} in {}..2^31-1, found {}", name, least, count));
}

/// A view of rank >= 1 whose rows do not overlap, of extents that kernels can index.
template <class T>
void expect_rows(std::string_view kernel, std::string_view name, const BasicTensorView<T>& view) {
  if (view.rank() < 1) refuse(kernel, fmt::format("expected {}, found a view of nothing", name));
  for (const std::int64_t extent : view.shape()) {
    if (extent < 0 || extent > most_extent) {
      refuse(kernel, fmt::format("expected {} of extents in 0..2^31-1, found {}", name, shape_string(view.shape())));
    }
  }
  if (view.rows() > 1 && view.row_stride() < view.cols()) {
    refuse(kernel, fmt::format("{}'s rows of {} elements lie only {} apart", name, view.cols(), view.row_stride()));
  }
}

template <class T>
void expect_shape(std::string_view kernel, std::string_view name, const BasicTensorView<T>& view, std::int64_t rows,
                  std::int64_t cols) {
  expect_rows(kernel, name, view);
  if (view.rows() != rows || view.cols() != cols) {
    refuse(kernel, fmt::format("expected {} of {} x {}, found {}", name, rows, cols, shape_string(view.shape())));
  }
}

template <class T>
void expect_size(std::string_view kernel, std::string_view name, std::span<T> values, std::int64_t size) {
  if (static_cast<std::int64_t>(values.size()) != size) {
    refuse(kernel, fmt::format("expected {} of {} elements, found {}", name, size, values.size()));
  }
}

inline void expect_labels(std::string_view kernel, std::span<const std::int32_t> labels, std::int64_t classes) {
  // One comparison for all, since there may be little else to do for a label. A negative one is a large one.
  std::uint32_t largest = 0;
  for (const std::int32_t label : labels) largest = std::max(largest, static_cast<std::uint32_t>(label));
  if (largest < classes) return;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= classes) {
      refuse(kernel, fmt::format("expected labels in 0..{}, found {} at sample {}", classes - 1, labels[i], i));
    }
  }
}

/// An argument with the name that messages give it.
struct NamedMemory {
  std::string_view name;
  Memory memory;

  template <class T>
  NamedMemory(std::string_view argument, std::span<T> values) : name(argument), memory(values) {}
  template <class T>
  NamedMemory(std::string_view argument, const BasicTensorView<T>& view) : name(argument), memory(view) {}
};

/// No output overlaps another output or an input. Kernel calls check their own arguments; this is for wrappers that
/// make several calls or write something themselves, so that all is checked before anything is written.
inline void expect_apart(std::string_view kernel, std::initializer_list<NamedMemory> outputs,
                         std::initializer_list<NamedMemory> inputs) {
  const auto check = [&](const NamedMemory& a, const NamedMemory& b) {
    if (overlap(a.memory, b.memory)) refuse(kernel, fmt::format("{} overlaps {}, which it must not", a.name, b.name));
  };
  for (const NamedMemory* output = outputs.begin(); output != outputs.end(); ++output) {
    for (const NamedMemory* other = output + 1; other != outputs.end(); ++other) check(*output, *other);
    for (const NamedMemory& input : inputs) check(*output, input);
  }
}

/// A matrix as a buffer of rank 2, whatever the rank of its rows; a contiguous one, if asked for, as a single long row.
template <class T>
Buffer buffer_of(Buffer::Use use, const BasicTensorView<T>& v, bool as_one_row = false) {
  if (as_one_row) return Buffer(use, v.data(), {v.size(), 1}, {1, v.size()});
  return Buffer(use, v.data(), {v.cols(), v.rows()}, {1, v.rank() <= 1 ? v.size() : v.row_stride()});
}

}  // namespace kindling::kernels
