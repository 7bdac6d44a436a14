// What every kernel refuses before it computes anything: outputs that overlap, numbers that are not finite, extents and
// strides beyond the kernels' indices, elements without memory.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <vector>

#include "kernels/campaign.h"
#include "kernels/dense.h"
#include "kernels/loss.h"
#include "kernels/optimizer.h"
#include "kernels/overlap.h"
#include "kernels/scatter.h"
#include "support/expect_error.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;
using kernels::Memory;

namespace {

constexpr float untouched = -7.0F;

// The floats of a view, one by one.
std::set<const float*> elements(const TensorView& v) {
  std::set<const float*> found;
  for (std::int64_t r = 0; r < v.rows(); ++r)
    for (std::int64_t c = 0; c < v.cols(); ++c) found.insert(&v(r, c));
  return found;
}

bool share(const TensorView& a, const TensorView& b) {
  const auto x = elements(a), y = elements(b);
  return std::any_of(x.begin(), x.end(), [&](const float* p) { return y.contains(p); });
}

}  // namespace

TEST_CASE("overlap of views is exact", "[kernel_checks]") {
  std::vector<float> memory(400);
  PhiloxReader reader({.seed = 11});
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(reader.below(static_cast<std::uint64_t>(n)));
  };
  const auto view = [&] {
    const std::int64_t rows = below(6), cols = below(8), stride = cols + below(12);
    return TensorView(memory.data() + below(300), rows, cols, stride);
  };
  int shared = 0;
  for (int i = 0; i < 20000; ++i) {
    const TensorView a = view(), b = view();
    const bool expected = share(a, b);
    shared += expected ? 1 : 0;
    REQUIRE(kernels::overlap(Memory(a), Memory(b)) == expected);
    REQUIRE(kernels::overlap(Memory(b), Memory(a)) == expected);
  }
  CHECK(shared > 1000);
  CHECK(shared < 19000);

  // Left and right half of one matrix; parts of arrays of other element sizes.
  const TensorView left(memory.data(), 10, 8, 20), right(memory.data() + 8, 10, 12, 20);
  CHECK_FALSE(kernels::overlap(Memory(left), Memory(right)));
  CHECK(kernels::overlap(Memory(left), Memory(TensorView(memory.data() + 7, 10, 12, 20))));
  const std::span<double> doubles(reinterpret_cast<double*>(memory.data()), 4);
  CHECK(kernels::overlap(Memory(doubles), Memory(std::span(memory).subspan(7, 1))));
  CHECK_FALSE(kernels::overlap(Memory(doubles), Memory(std::span(memory).subspan(8, 1))));
  CHECK_FALSE(kernels::overlap(Memory(TensorView()), Memory(left)));
  CHECK_FALSE(kernels::overlap(Memory(std::span<float>()), Memory(left)));
}

TEST_CASE("outputs that overlap are refused and stay as they are", "[kernel_checks]") {
  const auto e = test_execution();
  std::vector<float> memory(600, untouched);
  const std::vector<float> w(12 * 10, 1.0F), bias(12, 0.5F);
  std::fill_n(memory.begin(), 100, 1.0F);
  const ConstTensorView x(memory.data(), {10, 10}), weights(w.data(), {12, 10});
  expect_error(ErrorCode::usage, {"dense_forward", "'y' overlaps 'x'"}, [&] {
    kernels::dense_forward(e, x, weights, bias, {}, TensorView(memory.data() + 99, {10, 12}));
  });
  CHECK(memory[100] == untouched);
  CHECK(memory[99] == 1.0F);

  // Column blocks of one matrix: the inputs on the left, the outputs on the right.
  std::vector<float> matrix(10 * 22, 1.0F);
  kernels::dense_forward(e, ConstTensorView(matrix.data(), 10, 10, 22), weights, bias, {},
                         TensorView(matrix.data() + 10, 10, 12, 22));
  for (std::int64_t i = 0; i < 10 * 22; ++i) REQUIRE(matrix[i] == (i % 22 < 10 ? 1.0F : 10.5F));

  SECTION("in place is allowed where it is documented, and only element for element") {
    const std::vector<float> zero(10), two(10, 2.0F);
    std::vector<float> values(111, 3.0F);
    const auto at = [&](std::int64_t offset) { return TensorView(values.data() + offset, {10, 10}); };
    kernels::standardize(e, at(0), zero, two, at(0));
    CHECK(values[99] == 6.0F);
    expect_error(ErrorCode::usage, {"standardize", "overlaps"},
                 [&] { kernels::standardize(e, at(0), zero, two, at(1)); });
    kernels::activation_gradient(e, at(0), {ActivationKind::relu}, at(0), at(0));
    expect_error(ErrorCode::usage, {"activation_gradient", "overlaps"},
                 [&] { kernels::activation_gradient(e, at(0), {}, at(0), at(10)); });
    // One row: its stride means nothing.
    const TensorView row(values.data(), 1, 10, 10), same(values.data(), 1, 10, 50);
    kernels::standardize(e, row, zero, two, same);
    CHECK(values[0] == 12.0F);
  }
  SECTION("two outputs of one call") {
    std::vector<float> p(64, 1.0F);
    const std::vector<float> g(32, 1.0F);
    expect_error(ErrorCode::usage, {"momentum_step", "overlaps"},
                 [&] { kernels::momentum_step(e, g, {}, std::span(p).first(32), std::span(p).subspan(31, 32)); });
    expect_error(ErrorCode::usage, {"dense_weight_gradient", "gradient weights overlaps gradient biases"}, [&] {
      kernels::dense_weight_gradient(e, ConstTensorView(p.data(), {0, 4}), ConstTensorView(p.data(), {0, 3}),
                                     TensorView(p.data(), {3, 4}), std::span(p).first(3));
    });
    CHECK(p == std::vector<float>(64, 1.0F));
  }
  SECTION("a wrapper of several calls checks the whole before the first") {
    constexpr std::int64_t samples = 32 * kernels::moment_group_rows + 5;
    std::vector<double> sums(200, 0.25);
    std::vector<std::int32_t> labels(samples, 0);
    // The last sample of x lies where the sums are.
    const auto* last = reinterpret_cast<const float*>(sums.data() + 60);
    const ConstTensorView all(last - (samples - 1), {samples, 1});
    const std::vector<float> one(1, 1.0F);
    expect_error(ErrorCode::usage, {"dense_moments", "sum overlaps x"}, [&] {
      kernels::dense_moments(e, all, ConstTensorView(one.data(), {1, 1}), one, {}, labels, one, 100,
                             std::span(sums).first(100), std::span(sums).subspan(100));
    });
    CHECK(sums == std::vector<double>(200, 0.25));
  }
}

TEST_CASE("numbers that are not finite are refused by name", "[kernel_checks]") {
  const auto e = test_execution();
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> x(20, 1.0F), bias(2);
  std::vector<float> y(20, untouched), loss(10, untouched), gradient(20, untouched);
  std::vector<std::int32_t> labels(10), prediction(10);
  const ConstTensorView matrix(x.data(), {10, 2});
  for (const float bad : {nan, infinity, -infinity}) {
    expect_error(ErrorCode::usage, {"dense_forward", "'slope'", "finite"}, [&] {
      kernels::dense_forward(e, matrix, ConstTensorView(x.data(), {2, 2}), bias, {ActivationKind::leaky_relu, bad},
                             TensorView(y.data(), {10, 2}));
    });
    expect_error(ErrorCode::usage, {"softmax_cross_entropy", "'scale'", "finite"}, [&] {
      kernels::softmax_cross_entropy(e, matrix, labels, bad, loss, TensorView(gradient.data(), {10, 2}), prediction);
    });
    expect_error(ErrorCode::usage, {"sgd_step", "'learning_rate'"},
                 [&] { kernels::sgd_step(e, x, {.learning_rate = bad}, y); });
    expect_error(ErrorCode::usage, {"momentum_step", "'momentum'"},
                 [&] { kernels::momentum_step(e, x, {.momentum = bad}, y, gradient); });
    expect_error(ErrorCode::usage, {"'weight_decay'"}, [&] {
      kernels::dense_weight_sgd(e, matrix, matrix, {TensorView(y.data(), {2, 2}), std::span(loss).first(2)},
                                {.weight_decay = bad});
    });
  }
  for (const auto* untouched_values : {&y, &loss, &gradient})
    CHECK(std::all_of(untouched_values->begin(), untouched_values->end(), [](float v) { return v == untouched; }));
}

TEST_CASE("extents beyond the kernels' indices are refused by name", "[kernel_checks]") {
  const auto e = test_execution();
  std::vector<float> some(64, untouched);
  constexpr std::int64_t too_many = std::int64_t{1} << 31;
  const auto standardize = [&](const TensorView& x) {
    kernels::standardize(e, x, std::span(some).first(1), std::span(some).first(1), x);
  };
  // Only the descriptions are large: nothing is read before the refusal.
  expect_error(ErrorCode::usage, {"standardize", "x of extents in 0..2^31-1", "2147483648x1"}, [&] {
    standardize({some.data(), {too_many, 1}});
  });
  expect_error(ErrorCode::usage, {"standardize", "extents in 0..2^31-1"}, [&] { standardize({some.data(), {-1, 1}}); });
  expect_error(ErrorCode::usage, {"standardize", "'x'", "stride 2147483648"}, [&] {
    standardize({some.data(), 2, 1, too_many});
  });
  expect_error(ErrorCode::usage, {"standardize", "'x'", "less than 2^31 bytes, found 2147483652"}, [&] {
    standardize({some.data(), 2, 1, too_many / 4});
  });
  expect_error(ErrorCode::usage, {"standardize", "'x'", "no memory"}, [&] { standardize({nullptr, {3, 1}}); });
  expect_error(ErrorCode::usage, {"class_scatter", "classes in 1..2^31-1"}, [&] {
    kernels::class_scatter(e, ConstTensorView(some.data(), {2, 2}), std::vector<std::int32_t>(2),
                           std::span(some).first(2), std::int64_t{1} << 62, {}, {});
  });
  expect_error(ErrorCode::usage, {"campaign_norms", "less than 2^31 bytes"}, [&] {
    kernels::campaign_norms(e, ConstTensorView(some.data(), {64, 1 << 24}), some);
  });
  CHECK(some == std::vector<float>(64, untouched));
}
