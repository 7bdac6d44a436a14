// Jacobian steps along lists of active units against plain float64 loops.
#include <cmath>
#include <limits>

#include "kernels/jacobian.h"
#include "support/expect_error.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  std::int64_t samples, rows_per_sample, fan_in, fan_out;
};
// Around tiles of 4 to 10 rows and one to two vectors of 4 to 16 lanes, and blocks of samples.
const Shape shapes[] = {{1, 1, 1, 1},   {1, 2, 3, 5},    {3, 10, 129, 16}, {2, 3, 17, 31},
                        {17, 1, 15, 7}, {5, 7, 33, 32},  {8, 10, 64, 65},  {9, 11, 63, 33},
                        {7, 2, 48, 20}, {4, 5, 11, 601}, {33, 10, 31, 40}, {2, 21, 16, 8}};

double random_walk_bound(std::int64_t terms, double magnitude) {
  return (4 * std::sqrt(static_cast<double>(terms)) + 4) * epsilon * magnitude;
}

// Activations of which the first sample has none, the second all.
std::vector<float> activations(std::int64_t samples, std::int64_t width, std::uint32_t unit) {
  auto y = test_normals(samples * width, unit);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::int64_t n = static_cast<std::int64_t>(i) / width;
    y[i] = n == 0 ? 0 : n == 1 ? std::abs(y[i]) + 1 : std::max(y[i], 0.0F);
  }
  return y;
}

struct Lists {
  std::vector<std::int32_t> index, count;
  Lists(const ConstTensorView& y)
      : index(static_cast<std::size_t>(y.size())), count(static_cast<std::size_t>(y.rows())) {
    kernels::active_units(test_execution(), y, index, count);
  }
  [[nodiscard]] kernels::ActiveUnits view() const { return {index, count}; }
};

// Rows of the samples, 0 where the sample's unit is not active.
std::vector<float> masked_rows(const Shape& s, std::int64_t gap, const std::vector<float>& y, std::uint32_t unit) {
  auto v = test_normals(s.samples * s.rows_per_sample * (s.fan_out + gap), unit);
  for (std::int64_t r = 0; r < s.samples * s.rows_per_sample; ++r)
    for (std::int64_t m = 0; m < s.fan_out; ++m)
      if (!(y[r / s.rows_per_sample * s.fan_out + m] > 0)) v[r * (s.fan_out + gap) + m] = 0;
  return v;
}

void check_product(const Shape& s, const Activation& activation, std::int64_t gap) {
  CAPTURE(s.samples, s.rows_per_sample, s.fan_in, s.fan_out, gap, to_string(activation));
  const std::int64_t rows = s.samples * s.rows_per_sample;
  const auto above = activations(s.samples, s.fan_out, 1), below = activations(s.samples, s.fan_in, 2);
  const auto v = masked_rows(s, gap, above, 3), w = test_normals(s.fan_out * (s.fan_in + gap), 4);
  const Lists lists(ConstTensorView(above.data(), {s.samples, s.fan_out}));
  const ConstTensorView vv(v.data(), rows, s.fan_out, s.fan_out + gap),
      wv(w.data(), s.fan_out, s.fan_in, s.fan_in + gap), yv(below.data(), {s.samples, s.fan_in});
  Guarded<float> result(rows, s.fan_in, gap);
  result.fill(not_a_number);
  kernels::jacobian_masked_product(test_execution(), vv, lists.view(), wv, {yv, activation}, result.view());
  result.check();
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t k = 0; k < s.fan_in; ++k) {
      double sum = 0, magnitude = 0;
      for (std::int64_t m = 0; m < s.fan_out; ++m) {
        const double term = double{vv(r, m)} * double{wv(m, k)};
        sum += term;
        magnitude += std::abs(term);
      }
      const double slope = yv(r / s.rows_per_sample, k) > 0 ? 1 : negative_slope(activation);
      const double bound = random_walk_bound(s.fan_out, magnitude) + 2 * epsilon * std::abs(sum);
      if (!(std::abs(result(r, k) - slope * sum) <= bound)) {
        FAIL("at row " << r << ", column " << k << ": expected " << slope * sum << " within " << bound << ", found "
                       << result(r, k));
      }
    }
  }
}

void check_forms(const Shape& s, std::int64_t gap) {
  CAPTURE(s.samples, s.rows_per_sample, s.fan_out, gap);
  const std::int64_t rows = s.samples * s.rows_per_sample, width = s.fan_out, stride = width + gap;
  const auto y = activations(s.samples, width, 1);
  const auto v = masked_rows(s, gap, y, 3);
  auto g = test_normals(width * stride, 4);
  for (std::int64_t j = 0; j < width; ++j)
    for (std::int64_t k = 0; k < j; ++k) g[j * stride + k] = g[k * stride + j];
  const Lists lists(ConstTensorView(y.data(), {s.samples, width}));
  Guarded<float> forms(rows);
  forms.fill(not_a_number);
  kernels::masked_quadratic_forms(test_execution(), ConstTensorView(v.data(), rows, width, stride), lists.view(),
                                  ConstTensorView(g.data(), width, width, stride), forms.flat());
  forms.check();
  for (std::int64_t r = 0; r < rows; ++r) {
    double sum = 0, magnitude = 0;
    for (std::int64_t j = 0; j < width; ++j) {
      for (std::int64_t k = 0; k < width; ++k) {
        const double term = double{v[r * stride + j]} * double{g[j * stride + k]} * double{v[r * stride + k]};
        sum += term;
        magnitude += std::abs(term);
      }
    }
    const double bound = random_walk_bound(2 * width, magnitude);
    if (!(std::abs(forms(0, r) - sum) <= bound)) {
      FAIL("at row " << r << ": expected " << sum << " within " << bound << ", found " << forms(0, r));
    }
  }
}

}  // namespace

TEST_CASE("active_units", "[active_units]") {
  for (const Shape& s : shapes) {
    CAPTURE(s.samples, s.fan_out);
    auto y = activations(s.samples, s.fan_out, 1);
    if (s.samples > 2) y[2 * s.fan_out] = not_a_number;
    const Lists lists(ConstTensorView(y.data(), {s.samples, s.fan_out}));
    for (std::int64_t n = 0; n < s.samples; ++n) {
      std::vector<std::int32_t> expected;
      for (std::int64_t m = 0; m < s.fan_out; ++m)
        if (!(y[n * s.fan_out + m] <= 0)) expected.push_back(static_cast<std::int32_t>(m));
      REQUIRE(lists.count[n] == static_cast<std::int32_t>(expected.size()));
      const auto first = lists.index.begin() + n * s.fan_out;
      CHECK(std::equal(expected.begin(), expected.end(), first));
    }
  }
}

TEST_CASE("jacobian_masked_product", "[jacobian_masked_product]") {
  for (const Shape& s : shapes) check_product(s, {ActivationKind::relu}, 0);
  check_product({9, 11, 63, 33}, {ActivationKind::leaky_relu, 0.3F}, 0);
  check_product({9, 11, 63, 33}, {ActivationKind::identity}, 0);
  check_product({7, 10, 35, 34}, {ActivationKind::relu}, 3);
  SECTION("threads do not change a bit") {
    const Shape s{60, 10, 90, 70};
    const auto above = activations(60, 70, 1), below = activations(60, 90, 2);
    const auto v = masked_rows(s, 0, above, 3), w = test_normals(70 * 90, 4);
    const Lists lists(ConstTensorView(above.data(), {60, 70}));
    Guarded<float> one(600, 90), four(600, 90);
    for (const auto& [threads, result] : {std::pair{1, &one}, std::pair{4, &four}}) {
      kernels::jacobian_masked_product(test_execution(threads), ConstTensorView(v.data(), {600, 70}), lists.view(),
                                       ConstTensorView(w.data(), {70, 90}),
                                       {ConstTensorView(below.data(), {60, 90}), {ActivationKind::relu}},
                                       result->view());
    }
    CHECK(std::equal(one.flat().begin(), one.flat().end(), four.flat().begin()));
  }
  SECTION("smooth activations are refused") {
    Tensor m({2, 2});
    const std::vector<std::int32_t> index(4), count(2);
    expect_error(ErrorCode::usage, {"jacobian_masked_product", "tanh"}, [&] {
      kernels::jacobian_masked_product(test_execution(), m, {index, count}, m, {m, {ActivationKind::tanh}},
                                       Tensor({2, 2}));
    });
  }
  SECTION("lists that do not fit are refused") {
    Tensor m({2, 2}), out({2, 2});
    const std::vector<std::int32_t> index(4), far(2, 3);
    expect_error(ErrorCode::usage, {"jacobian_masked_product", "count", "0..2", "3"}, [&] {
      kernels::jacobian_masked_product(test_execution(), m, {index, far}, m, {m, {ActivationKind::relu}}, out);
    });
  }
}

TEST_CASE("masked_quadratic_forms", "[masked_quadratic_forms]") {
  for (const Shape& s : shapes)
    if (s.fan_out < 200) check_forms(s, 0);
  check_forms({9, 10, 1, 43}, 3);
}
