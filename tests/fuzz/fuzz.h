// What a kernel's fuzz function works with: random shapes, guarded arrays, comparison with a bound, seeded mutations.
#pragma once

#include <kindling/activation.h>
#include <kindling/random.h>
#include <kindling/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "kernels/dispatch.h"

namespace kindling::fuzz {

inline constexpr double eps = 0x1p-24;

/// A difference that a kernel must not show; the message says where.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A sum, and that of its terms' magnitudes, which its rounding error is measured by.
struct Sum {
  double value = 0, magnitude = 0;
  void add(double term) { value += term, magnitude += std::abs(term); }
};
/// Error of a float32 sum of n products, in any order, with or without fused multiply-add. An infinity is exact.
inline double sum_bound(std::int64_t terms, const Sum& sum) {
  return std::isinf(sum.value) ? 0.0 : (static_cast<double>(terms) + 4) * eps * sum.magnitude;
}
/// What float32 may come to: a value and how far off it may be.
struct Bounded {
  double value = 0, bound = 0;
};

/// Errors that are put in on purpose, to prove that they are found. The first three leave a part of every output as it
/// was before the call: the columns behind the last full vector of 8, the rows behind the last full block of 16, the
/// last element alone. The others change an argument: the mask's comparison, the bias, the last term of a sum.
enum class Mutation { none, dropped_tail, skipped_block, last_element, wrong_mask, stale_bias, dropped_term };

class Case;

/// rows x cols elements with a random gap between rows, at a random offset from alignment, canaries all around.
template <class T>
class Array {
 public:
  Array(Case& c, std::int64_t rows, std::int64_t cols);
  Array(Case& c, std::int64_t size) : Array(c, 1, size) { stride_ = cols_; }
  /// rows x cols elements without gaps.
  static Array adjacent(Case& c, std::int64_t rows, std::int64_t cols) {
    Array a(c, rows * cols);
    a.rows_ = rows;
    a.cols_ = a.stride_ = cols;
    return a;
  }

  T* data() { return memory_.data() + margin + offset_; }
  T& operator()(std::int64_t r, std::int64_t k) { return data()[r * stride_ + k]; }
  T& operator[](std::int64_t k) { return data()[k]; }
  BasicTensorView<T> view() { return {data(), rows_, cols_, stride_}; }
  BasicTensorView<const T> in() { return view(); }
  std::span<T> flat() { return {data(), static_cast<std::size_t>(stride_ == cols_ ? rows_ * cols_ : cols_)}; }
  std::span<const T> cflat() { return flat(); }
  [[nodiscard]] std::int64_t rows() const { return rows_; }
  [[nodiscard]] std::int64_t cols() const { return cols_; }
  template <class Draw>
  Array& fill(const Draw& draw) {
    for (std::int64_t r = 0; r < rows_; ++r)
      for (std::int64_t k = 0; k < cols_; ++k) (*this)(r, k) = static_cast<T>(draw());
    return *this;
  }
  /// Values of a bounded range: NaN, never an infinity, may be put in.
  bool bounded = false;
  /// Fails when a byte outside the elements changed.
  void check_canaries();
  [[nodiscard]] const std::vector<T>& memory() const { return memory_; }
  /// Puts back what a mutated kernel would not have written.
  void restore(const std::vector<T>& before, Mutation mutation);

 private:
  static constexpr std::int64_t margin = 40;
  static constexpr T canary = static_cast<T>(77);
  std::int64_t rows_, cols_, stride_, offset_;
  std::vector<T> memory_;
};

/// One case: its random numbers, where it runs, what has been compared.
class Case {
 public:
  Case(const kernels::Target& target, std::uint64_t seed, std::uint32_t number, Mutation m);

  kernels::Execution execution;
  Mutation mutation;
  std::int64_t compared = 0, nonzero = 0;
  bool spoilt = false;  ///< an input is NaN or infinite, or a wrapper refused one

  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(n))); }
  bool chance(double p) { return random_.uniform() < p; }
  double uniform(double low, double high) { return low + (high - low) * random_.uniform(); }
  float scalar(double low, double high) { return static_cast<float>(uniform(low, high)); }
  /// Standard normal, exactly 0 once in sixteen times.
  double normal() { return below(16) == 0 ? 0.0 : random_.normal(); }
  /// In a quarter of the cases from 0 (or `least`) to 2; else from 2 to `most`, often one beside a multiple of 8. On a
  /// device at most 40.
  std::int64_t extent(std::int64_t most, std::int64_t least = 0);
  /// As extent(), with a sum of many terms, up to `rare`, once in twelve times; halved until times * extent fits.
  std::int64_t long_extent(std::int64_t most, std::int64_t rare, std::int64_t times, std::int64_t least = 0);

  Array<float> normals(std::int64_t rows, std::int64_t cols, double scale = 1.0, double mean = 0.0) {
    Array<float> a(*this, rows, cols);
    a.fill([&] { return mean + scale * normal(); });
    return a;
  }
  Array<float> normals(std::int64_t size) {
    Array<float> a(*this, size);
    a.fill([&] { return normal(); });
    return a;
  }
  Array<std::int32_t> indices(std::int64_t size, std::int64_t below_this) {
    Array<std::int32_t> a(*this, size);
    a.fill([&] { return below(below_this); });
    return a;
  }
  /// An output: not a number until it is written (integers: -1).
  template <class T>
  Array<T> output(std::int64_t rows, std::int64_t cols) {
    return poisoned(Array<T>(*this, rows, cols));
  }
  template <class T>
  Array<T> output(std::int64_t size) {
    return poisoned(Array<T>(*this, size));
  }

  /// In one case of eight: one element of one of these inputs becomes NaN or, one time in three, an infinity.
  template <class... A>
  void spoil(A&... inputs) {
    spoil_with(bad_value(), inputs...);
  }
  /// Only NaN.
  template <class... A>
  void spoil_nan(A&... inputs) {
    spoil_with(std::nan(""), inputs...);
  }
  /// A scalar argument, in one case of eight not a finite number.
  float spoil(float scalar) {
    spoilt = spoilt || bad_;
    return bad_ ? static_cast<float>(bad_value()) : scalar;
  }
  /// After spoil(): true when the wrapper must refuse the call by an Error{usage} that names it, as it then did before
  /// it wrote anything to `outputs`.
  template <class Call, class... T>
  bool refused(std::string_view wrapper, const Call& call, Array<T>&... outputs) {
    if (!spoilt) return false;
#if defined(__wasm__)
    return true;  // an exception would end the program
#endif
    const auto before = std::make_tuple(std::vector<T>(outputs.memory())...);
    expect_refusal(wrapper, call);
    if (!same_bits(before, outputs...)) throw Failure("a refused call wrote something");
    return true;
  }

  /// Runs the kernel; what it writes to `outputs` suffers the mutation, and their canaries are checked.
  template <class Call, class... T>
  void run(const Call& call, Array<T>&... outputs) {
    run_with(call, std::vector<T>(outputs.memory())..., outputs...);
  }
  /// found must be within bound of expected; a NaN only where one is expected, and an infinity exactly (or, where
  /// bound is NaN, any number that is not finite).
  void expect(double found, double expected, double bound, std::string_view what, std::int64_t row = 0,
              std::int64_t col = 0);
  void expect(double found, const Bounded& expected, std::string_view what, std::int64_t row = 0,
              std::int64_t col = 0) {
    expect(found, expected.value, expected.bound, what, row, col);
  }

 private:
  [[nodiscard]] double bad_value() const {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    return bad_value_ == 0 ? infinity : bad_value_ == 1 ? -infinity : std::nan("");
  }
  // Where NaN may be a result, an output starts from something else.
  template <class T>
  [[nodiscard]] Array<T> poisoned(Array<T> a) const {
    const T poison = !std::numeric_limits<T>::has_quiet_NaN ? static_cast<T>(-1)
                     : bad_                                 ? static_cast<T>(-1e30)
                                                            : std::numeric_limits<T>::quiet_NaN();
    a.fill([&] { return poison; });
    return a;
  }
  template <class Call, class A>
  void run_with(const Call& call, const std::vector<A>& before, Array<A>& a) {
    call();
    a.check_canaries();
    a.restore(before, mutation);
  }
  template <class Call, class A, class B>
  void run_with(const Call& call, const std::vector<A>& a0, const std::vector<B>& b0, Array<A>& a, Array<B>& b) {
    run_with([&] { run_with(call, b0, b); }, a0, a);
  }
  template <class Call, class A, class B, class C>
  void run_with(const Call& call, const std::vector<A>& a0, const std::vector<B>& b0, const std::vector<C>& c0,
                Array<A>& a, Array<B>& b, Array<C>& c) {
    run_with([&] { run_with(call, b0, c0, b, c); }, a0, a);
  }

  template <class... A>
  void spoil_with(double value, A&... inputs) {
    if (!bad_) return;
    std::int64_t chosen = below(sizeof...(inputs));
    const auto visit = [&](auto& a) {
      if (chosen-- != 0 || a.rows() * a.cols() == 0) return;
      const std::int64_t row = below(a.rows()), col = below(a.cols());
      a(row, col) = static_cast<std::decay_t<decltype(a(0, 0))>>(a.bounded ? std::nan("") : value);
      spoilt = true;
    };
    (visit(inputs), ...);
  }
  static void expect_refusal(std::string_view wrapper, const std::function<void()>& call);
  template <class Before, class... T>
  static bool same_bits(const Before& before, Array<T>&... now) {
    return std::apply(
        [&](const auto&... b) {
          return ((std::memcmp(b.data(), now.memory().data(), b.size() * sizeof(b[0])) == 0) && ...);
        },
        before);
  }

  PhiloxReader random_;
  bool small_, bad_;
  std::int64_t bad_value_;
};

/// Whether an input can be NaN.
enum class Takes { floats, no_floats };

/// Registers the fuzz function of a kernel.
bool fuzz(std::string_view kernel, std::function<void(Case&)> function, Takes takes = Takes::floats);

/// The activations of a compiled form ("", "tanh" or "sigmoid"), float64.
Activation draw_activation(Case& c, std::string_view form);
double apply(const Activation& activation, double z);
/// f' from the output y = f(z); NaN stays NaN.
double derivative(const Activation& activation, double y);
/// Outputs of an activation: within its range, zero where it has a kink.
Array<float> draw_outputs(Case& c, const Activation& activation, std::int64_t rows, std::int64_t cols);
/// y = f(z) of a float32 sum z of `terms` products.
Bounded activated(const Activation& activation, const Sum& z, std::int64_t terms);
/// f'(y) g of a float32 sum g of `terms` products.
Bounded through_derivative(const Activation& activation, double y, const Sum& g, std::int64_t terms);
/// The activation as a mutated kernel would have it: another slope on the negative side.
Activation mutated(const Case& c, Activation activation);

template <class T>
Array<T>::Array(Case& c, std::int64_t rows, std::int64_t cols)
    : rows_(rows),
      cols_(cols),
      stride_(cols + (c.chance(0.5) ? 0 : c.below(6))),
      offset_(c.below(8)),
      memory_(static_cast<std::size_t>(2 * margin + offset_ + rows * stride_), canary) {}

template <class T>
void Array<T>::check_canaries() {
  const auto inside = [&](std::int64_t i) {
    const std::int64_t at = i - margin - offset_;
    return at >= 0 && at < rows_ * stride_ && at % stride_ < cols_;
  };
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(memory_.size()); ++i) {
    if (memory_[static_cast<std::size_t>(i)] != canary && !inside(i))
      throw Failure("wrote outside an output of " + std::to_string(rows_) + " x " + std::to_string(cols_));
  }
}

template <class T>
void Array<T>::restore(const std::vector<T>& before, Mutation mutation) {
  for (std::int64_t r = 0; r < rows_; ++r) {
    for (std::int64_t k = 0; k < cols_; ++k) {
      const bool tail = mutation == Mutation::dropped_tail && k >= cols_ / 8 * 8;
      const bool block =
          mutation == Mutation::skipped_block && (rows_ > 1 ? r >= rows_ / 16 * 16 : k >= cols_ / 16 * 16);
      const bool last = mutation == Mutation::last_element && r == rows_ - 1 && k == cols_ - 1;
      if (tail || block || last) (*this)(r, k) = before[static_cast<std::size_t>(margin + offset_ + r * stride_ + k)];
    }
  }
}

}  // namespace kindling::fuzz
