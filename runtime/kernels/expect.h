// Checks of a kernel wrapper's arguments. What does not fit becomes Error{usage}: kernel, argument, expected, found.
#pragma once

#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kernels/dispatch.h"

namespace kindling::kernels {

[[noreturn]] inline void refuse(std::string_view kernel, const std::string& what) {
  throw Error(ErrorCode::usage, fmt::format("{}: {}", kernel, what));
}

/// A view of rank >= 1 whose rows do not overlap.
template <class T>
void expect_rows(std::string_view kernel, std::string_view name, const BasicTensorView<T>& view) {
  if (view.rank() < 1) refuse(kernel, fmt::format("expected {}, found a view of nothing", name));
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
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= classes) {
      refuse(kernel, fmt::format("expected labels in 0..{}, found {} at sample {}", classes - 1, labels[i], i));
    }
  }
}

/// A matrix as a buffer of rank 2, whatever the rank of its rows; a contiguous one, if asked for, as a single long row.
template <class T>
Buffer buffer_of(Buffer::Use use, const BasicTensorView<T>& v, bool as_one_row = false) {
  if (as_one_row) return Buffer(use, v.data(), {v.size(), 1}, {1, v.size()});
  return Buffer(use, v.data(), {v.cols(), v.rows()}, {1, v.rank() <= 1 ? v.size() : v.row_stride()});
}

}  // namespace kindling::kernels
