#pragma once

#include <kindling/error.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace kindling {

/// A matrix or a higher-rank array that somebody else owns: row-major, last index contiguous, rank 1 to 4. Only the
/// outermost dimension may be strided (`row_stride`, in elements), so that a block of rows or columns of a matrix is
/// a view as well.
template <class T>
class BasicTensorView {
 public:
  static constexpr int max_rank = 4;

  BasicTensorView() = default;
  BasicTensorView(T* data, std::initializer_list<std::int64_t> shape)
      : BasicTensorView(data, std::span(shape.begin(), shape.size())) {}
  BasicTensorView(T* data, std::span<const std::int64_t> shape) : data_(data), rank_(static_cast<int>(shape.size())) {
    if (rank_ < 1 || rank_ > max_rank) {
      throw Error(ErrorCode::usage, "a tensor view has rank 1 to 4, found " + std::to_string(rank_));
    }
    row_stride_ = 1;
    for (int i = 0; i < rank_; ++i) {
      shape_[static_cast<std::size_t>(i)] = shape[static_cast<std::size_t>(i)];
      if (i > 0) row_stride_ *= shape_[static_cast<std::size_t>(i)];
    }
  }
  /// A matrix whose rows are `row_stride` elements apart.
  BasicTensorView(T* data, std::int64_t rows, std::int64_t cols, std::int64_t row_stride)
      : data_(data), rank_(2), shape_{rows, cols, 1, 1}, row_stride_(row_stride) {}
  /// A view of mutable data is a view of constant data.
  template <class U>
  requires(std::is_const_v<T>&& std::is_same_v<std::remove_const_t<T>, U>)
      BasicTensorView(const BasicTensorView<U>& other)  // NOLINT(google-explicit-constructor)
      : data_(other.data()), rank_(other.rank()), shape_(other.extents()), row_stride_(other.row_stride()) {}

  [[nodiscard]] T* data() const { return data_; }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] std::int64_t extent(int i) const { return shape_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] const std::array<std::int64_t, max_rank>& extents() const { return shape_; }
  [[nodiscard]] std::span<const std::int64_t> shape() const { return {shape_.data(), static_cast<std::size_t>(rank_)}; }
  [[nodiscard]] std::int64_t row_stride() const { return row_stride_; }
  [[nodiscard]] std::int64_t rows() const { return shape_[0]; }
  /// Elements of one row: the product of all extents but the first.
  [[nodiscard]] std::int64_t cols() const {
    std::int64_t n = 1;
    for (int i = 1; i < rank_; ++i) n *= shape_[static_cast<std::size_t>(i)];
    return n;
  }
  [[nodiscard]] std::int64_t size() const { return rank_ == 0 ? 0 : rows() * cols(); }
  [[nodiscard]] bool contiguous() const { return row_stride_ == cols() || rows() <= 1; }
  [[nodiscard]] T* row(std::int64_t r) const { return data_ + r * row_stride_; }
  [[nodiscard]] T& operator()(std::int64_t r, std::int64_t c) const { return data_[r * row_stride_ + c]; }
  /// Rows [first, first + count), same rank.
  [[nodiscard]] BasicTensorView rows(std::int64_t first, std::int64_t count) const {
    if (first < 0 || count < 0 || first + count > rows()) {
      throw Error(ErrorCode::usage, "rows " + std::to_string(first) + ".." + std::to_string(first + count) +
                                        " of a tensor with " + std::to_string(rows()) + " rows");
    }
    BasicTensorView v = *this;
    v.data_ = row(first);
    v.shape_[0] = count;
    return v;
  }
  /// The same rows with every row flattened to one dimension.
  [[nodiscard]] BasicTensorView matrix() const { return {data_, rows(), cols(), row_stride_}; }
  /// All elements; the view must be contiguous.
  [[nodiscard]] std::span<T> flat() const {
    if (!contiguous()) throw Error(ErrorCode::usage, "a strided view has no flat span");
    return {data_, static_cast<std::size_t>(size())};
  }

 private:
  T* data_ = nullptr;
  int rank_ = 0;
  std::array<std::int64_t, max_rank> shape_{0, 1, 1, 1};
  std::int64_t row_stride_ = 0;
};

using TensorView = BasicTensorView<float>;
using ConstTensorView = BasicTensorView<const float>;

/// "2x3x4"
std::string shape_string(std::span<const std::int64_t> shape);

/// An owned float32 array, row-major, contiguous, 64-byte aligned, zero-filled. Move-only; copy with clone().
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(std::vector<std::int64_t> shape);
  Tensor(Tensor&&) noexcept = default;
  Tensor& operator=(Tensor&&) noexcept = default;

  [[nodiscard]] Tensor clone() const;
  [[nodiscard]] const std::vector<std::int64_t>& shape() const { return shape_; }
  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] float* data() { return data_.get(); }
  [[nodiscard]] const float* data() const { return data_.get(); }
  [[nodiscard]] std::span<float> flat() { return {data_.get(), static_cast<std::size_t>(size_)}; }
  [[nodiscard]] std::span<const float> flat() const { return {data_.get(), static_cast<std::size_t>(size_)}; }
  [[nodiscard]] TensorView view() { return {data_.get(), shape_}; }
  [[nodiscard]] ConstTensorView view() const { return {data_.get(), shape_}; }
  operator TensorView() { return view(); }             // NOLINT(google-explicit-constructor)
  operator ConstTensorView() const { return view(); }  // NOLINT(google-explicit-constructor)

 private:
  struct Free {
    void operator()(float* p) const;
  };
  std::vector<std::int64_t> shape_;
  std::int64_t size_ = 0;
  std::unique_ptr<float[], Free> data_;
};

}  // namespace kindling
