// What every kernel test needs: the target under test, guarded output buffers, a source of test numbers.
#pragma once

#include <kindling/random.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <vector>

#include "kernels/dispatch.h"
#include "support/catch.h"

namespace kindling::test {

/// The target that KINDLING_TARGET names (or the default one) with `threads` threads.
inline kernels::Execution test_execution(int threads = 2) { return {&kernels::default_target(), threads}; }

/// A buffer with canaries on both sides of its rows (also between strided rows); check() fails the test when one
/// changed.
template <class T>
class Guarded {
 public:
  static constexpr std::int64_t margin = 64;

  /// rows x cols, rows `cols + gap` elements apart.
  Guarded(std::int64_t rows, std::int64_t cols, std::int64_t gap = 0)
      : rows_(rows),
        cols_(cols),
        stride_(cols + gap),
        memory_(static_cast<std::size_t>(2 * margin + rows * (cols + gap)), canary()) {}
  explicit Guarded(std::int64_t size) : Guarded(1, size) {}

  T* data() { return memory_.data() + margin; }
  std::span<T> flat() { return {data(), static_cast<std::size_t>(rows_ * cols_)}; }
  BasicTensorView<T> view() { return {data(), rows_, cols_, stride_}; }
  T& operator()(std::int64_t r, std::int64_t c) { return data()[r * stride_ + c]; }
  void fill(T value) {
    for (std::int64_t r = 0; r < rows_; ++r)
      for (std::int64_t c = 0; c < cols_; ++c) (*this)(r, c) = value;
  }
  void check() {
    const T expected = canary();
    for (std::int64_t i = -margin; i < rows_ * stride_ + margin; ++i) {
      const bool inside = i >= 0 && i < rows_ * stride_ && i % stride_ < cols_;
      if (!inside && data()[i] != expected) FAIL("a kernel wrote outside its output, at element " << i);
    }
  }

 private:
  static T canary() { return static_cast<T>(77); }
  std::int64_t rows_, cols_, stride_;
  std::vector<T> memory_;
};

/// Normal test data, the same on every machine.
inline std::vector<float> test_normals(std::int64_t size, std::uint32_t unit, double stddev = 1.0, double mean = 0.0) {
  PhiloxReader reader({.seed = 20240229, .purpose = Purpose::test, .unit = unit});
  std::vector<float> values(static_cast<std::size_t>(size));
  for (float& v : values) v = static_cast<float>(mean + stddev * reader.normal());
  return values;
}

}  // namespace kindling::test
