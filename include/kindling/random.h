#pragma once

#include <kindling/context.h>
#include <kindling/tensor.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace kindling {

/// What random numbers are for. Part of every stream, so that no two purposes ever share numbers.
enum class Purpose : std::uint32_t {
  weights = 1,
  biases = 2,
  candidates = 3,
  shuffle = 4,
  split = 5,
  synthetic = 6,
  search = 7,
  subset = 8,
  dropout = 9,
  perturbation = 10,
  test = 255
};

/// One stream of random numbers: element `index` of a stream is a pure function of (seed, purpose, unit, step, index),
/// the same on every target and for any thread count. Philox 4x32-10 (Salmon et al., SC 2011) with key = seed and
/// counter = (index / 4, step, unit, purpose).
struct Stream {
  std::uint64_t seed = 0;
  Purpose purpose = Purpose::test;
  std::uint32_t unit = 0;  ///< layer, class or task number
  std::uint32_t step = 0;  ///< epoch, round or iteration
};

/// The four words of block `block` of a stream.
std::array<std::uint32_t, 4> philox_block(const Stream& stream, std::uint32_t block);

/// Sequential reader of a stream on the host, for decisions of few numbers (shuffles, searches).
class PhiloxReader {
 public:
  explicit PhiloxReader(const Stream& stream) : stream_(stream) {}
  std::uint32_t word();
  /// Uniform on the open interval (0, 1), 24 bits: (word / 256 + 0.5) / 2^24, as the kernels draw it.
  double uniform();
  /// Uniform on 0 .. n-1 without bias; n >= 1.
  std::uint64_t below(std::uint64_t n);
  /// Standard normal (Box-Muller).
  double normal();

 private:
  Stream stream_;
  std::array<std::uint32_t, 4> words_{};
  std::uint32_t block_ = 0;
  int used_ = 4;
};

/// A random permutation of 0 .. n-1 (Fisher-Yates).
std::vector<std::int64_t> random_permutation(const Stream& stream, std::int64_t n);

/// Fills `out` with mean + std * normal draws; element i is element i of the stream. Runs on the kernels.
void fill_normal(const Stream& stream, float mean, float stddev, std::span<float> out, const Context& context);
/// Fills `out` with uniform draws on (low, high). Runs on the kernels.
void fill_uniform(const Stream& stream, float low, float high, std::span<float> out, const Context& context);

}  // namespace kindling
