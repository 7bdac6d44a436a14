#include <kindling/tensor.h>

#include <algorithm>
#include <cstdlib>
#include <new>

namespace kindling {

std::string shape_string(std::span<const std::int64_t> shape) {
  std::string text;
  for (const std::int64_t extent : shape) text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text.empty() ? "scalar" : text;
}

void Tensor::Free::operator()(float* p) const { std::free(p); }

Tensor::Tensor(std::vector<std::int64_t> shape) : shape_(std::move(shape)) {
  if (shape_.empty() || shape_.size() > ConstTensorView::max_rank) {
    throw Error(ErrorCode::usage, "a tensor has rank 1 to 4, found " + std::to_string(shape_.size()));
  }
  size_ = 1;
  for (const std::int64_t extent : shape_) {
    if (extent < 0) throw Error(ErrorCode::usage, "a tensor of negative extent: " + shape_string(shape_));
    if (__builtin_mul_overflow(size_, extent, &size_)) {
      throw Error(ErrorCode::usage, "a tensor too large to address: " + shape_string(shape_));
    }
  }
  constexpr std::size_t alignment = 64;
  const std::size_t bytes = (static_cast<std::size_t>(size_) * sizeof(float) + alignment) / alignment * alignment;
  data_.reset(static_cast<float*>(std::aligned_alloc(alignment, bytes)));
  if (data_ == nullptr) throw std::bad_alloc();
  std::fill_n(data_.get(), size_, 0.0F);
}

Tensor Tensor::clone() const {
  Tensor copy;
  if (shape_.empty()) return copy;
  copy = Tensor(shape_);
  std::copy_n(data(), size_, copy.data());
  return copy;
}

}  // namespace kindling
