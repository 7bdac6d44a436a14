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
  critic = 20,      ///< weights of a critic of mutual information
  pairs = 21,       ///< which samples make up its batches
  noise = 22,       ///< what is added to a layer's outputs before their information is estimated
  probe = 30,       ///< inputs that a method or a simulation sends through a network
  population = 31,  ///< draws of infinite-width population dynamics
  teacher = 32,     ///< weights of a teacher network
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

/// Fills `out` with exponential draws of the given mean (finite, positive). Runs on the kernels.
void fill_exponential(const Stream& stream, float mean, std::span<float> out, const Context& context);
/// Fills `out` with draws of Beta(2, 1), density 2x on (0, 1). Runs on the kernels.
void fill_beta21(const Stream& stream, std::span<float> out, const Context& context);
/// Fills `out` with draws of Beta(alpha, beta), both from 0.001 to 10000. Runs on the kernels.
void fill_beta(const Stream& stream, float alpha, float beta, std::span<float> out, const Context& context);
/// Makes every row of `out` (R x d) a uniform draw from the simplex: positive entries of sum 1. Runs on the kernels.
void fill_simplex(const Stream& stream, TensorView out, const Context& context);

/// Rows of N entries, each row N(0, A) with A = (sigma^2 / fan_in)(I - k / (1 + k) 11^T / N): the anti-correlated law
/// of "Anti-correlated and asymmetric initialization", eq. 1; with `beta_entry` its RAI and RAAI laws (appendix G).
struct CorrelatedLaw {
  double k = 100;            ///< strength, above -1: 0 is independent, negative correlates positively
  double sigma_squared = 2;  ///< sigma^2 > 0
  bool beta_entry = false;   ///< one entry of each row, at random, is a Beta(2, 1) draw instead
};
/// weight (M x fan_in) gets the rows. Without `bias` N = fan_in; with it (M entries) the bias is one more entry of each
/// row, N = fan_in + 1. sigma^2 is divided by fan_in in both cases. Error{usage} names an option outside its range and
/// a bias of another size. Runs on the kernels.
void fill_correlated_rows(const Stream& stream, const CorrelatedLaw& law, TensorView weight, std::span<float> bias,
                          const Context& context);

}  // namespace kindling
