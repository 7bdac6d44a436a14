// Norms, dot products and quadratic forms of rows against plain float64 loops.
#include <cmath>
#include <limits>

#include "kernels/jacobian.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  std::int64_t rows, cols;
};
const Shape shapes[] = {{1, 1},   {1, 7},   {2, 8},   {3, 9},    {5, 15},    {6, 16},   {7, 17}, {10, 31},
                        {11, 32}, {13, 33}, {100, 3}, {121, 65}, {241, 130}, {3, 1000}, {64, 48}};

double random_walk_bound(std::int64_t terms, double magnitude) {
  return (4 * std::sqrt(static_cast<double>(terms)) + 4) * epsilon * magnitude;
}

void expect_near(double found, double expected, double bound, std::int64_t row) {
  if (!(std::abs(found - expected) <= bound)) {
    FAIL("at row " << row << ": expected " << expected << " within " << bound << ", found " << found);
  }
}

void check_forms(const Shape& s, std::int64_t gap, int threads = 2) {
  CAPTURE(s.rows, s.cols, gap);
  const std::int64_t stride = s.cols + gap;
  const auto v = test_normals(s.rows * stride, 1);
  auto g = test_normals(s.cols * stride, 2);
  for (std::int64_t j = 0; j < s.cols; ++j)
    for (std::int64_t k = 0; k < j; ++k) g[j * stride + k] = g[k * stride + j];
  Guarded<float> forms(s.rows);
  forms.fill(not_a_number);
  kernels::quadratic_forms(test_execution(threads), ConstTensorView(v.data(), s.rows, s.cols, stride),
                           ConstTensorView(g.data(), s.cols, s.cols, stride), forms.flat());
  forms.check();
  for (std::int64_t r = 0; r < s.rows; ++r) {
    double sum = 0, magnitude = 0;
    for (std::int64_t j = 0; j < s.cols; ++j) {
      for (std::int64_t k = 0; k < s.cols; ++k) {
        const double term = double{v[r * stride + j]} * double{g[j * stride + k]} * double{v[r * stride + k]};
        sum += term;
        magnitude += std::abs(term);
      }
    }
    // Both sums, over j and over k, have as many terms as there are columns.
    expect_near(forms(0, r), sum, random_walk_bound(2 * s.cols, magnitude), r);
  }
}

}  // namespace

TEST_CASE("row_norms", "[row_norms]") {
  for (const std::int64_t gap : {0, 3}) {
    for (const Shape& s : shapes) {
      CAPTURE(s.rows, s.cols, gap);
      const auto x = test_normals(s.rows * (s.cols + gap), 1);
      Guarded<float> norms(s.rows);
      norms.fill(not_a_number);
      kernels::row_norms(test_execution(), ConstTensorView(x.data(), s.rows, s.cols, s.cols + gap), norms.flat());
      norms.check();
      for (std::int64_t r = 0; r < s.rows; ++r) {
        double sum = 0;
        for (std::int64_t k = 0; k < s.cols; ++k) {
          sum += double{x[r * (s.cols + gap) + k]} * double{x[r * (s.cols + gap) + k]};
        }
        expect_near(norms(0, r), std::sqrt(sum), random_walk_bound(s.cols, std::sqrt(sum)), r);
      }
    }
  }
  SECTION("nothing has norm 0, and a NaN shows") {
    Tensor none({3, 0}), one({2, 2});
    one.data()[3] = not_a_number;
    std::vector<float> norms(3, 1.0F), two(2);
    kernels::row_norms(test_execution(), none, norms);
    CHECK(norms == std::vector<float>(3, 0.0F));
    kernels::row_norms(test_execution(), one, two);
    CHECK(two[0] == 0.0F);
    CHECK(std::isnan(two[1]));
  }
}

TEST_CASE("row_dots", "[row_dots]") {
  for (const std::int64_t gap : {0, 3}) {
    for (const Shape& s : shapes) {
      CAPTURE(s.rows, s.cols, gap);
      const auto x = test_normals(s.rows * (s.cols + gap), 1), y = test_normals(s.rows * (s.cols + gap), 2);
      Guarded<float> dots(s.rows);
      dots.fill(not_a_number);
      kernels::row_dots(test_execution(), ConstTensorView(x.data(), s.rows, s.cols, s.cols + gap),
                        ConstTensorView(y.data(), s.rows, s.cols, s.cols + gap), dots.flat());
      dots.check();
      for (std::int64_t r = 0; r < s.rows; ++r) {
        double sum = 0, magnitude = 0;
        for (std::int64_t k = 0; k < s.cols; ++k) {
          const double term = double{x[r * (s.cols + gap) + k]} * double{y[r * (s.cols + gap) + k]};
          sum += term;
          magnitude += std::abs(term);
        }
        expect_near(dots(0, r), sum, random_walk_bound(s.cols, magnitude), r);
      }
    }
  }
}

TEST_CASE("scale_rows", "[scale_rows]") {
  for (const Shape& s : shapes) {
    CAPTURE(s.rows, s.cols);
    auto x = test_normals(s.rows * (s.cols + 2), 1);
    const auto scale = test_normals(s.rows, 2);
    Guarded<float> y(s.rows, s.cols, 1);
    kernels::scale_rows(test_execution(), ConstTensorView(x.data(), s.rows, s.cols, s.cols + 2), scale, y.view());
    y.check();
    for (std::int64_t r = 0; r < s.rows; ++r)
      for (std::int64_t k = 0; k < s.cols; ++k) CHECK(y(r, k) == scale[r] * x[r * (s.cols + 2) + k]);
    kernels::scale_rows(test_execution(), y.view(), scale, y.view());  // in place
    CHECK(y(0, 0) == scale[0] * (scale[0] * x[0]));
  }
}

TEST_CASE("quadratic_forms", "[quadratic_forms]") {
  for (const Shape& s : shapes) {
    if (s.cols < 200) check_forms(s, 0);
  }
  check_forms({37, 43}, 3);
  check_forms({5, 301}, 0);
  SECTION("threads do not change a bit") {
    const auto v = test_normals(500 * 90, 1), g = test_normals(90 * 90, 2);
    std::vector<float> one(500), four(500);
    const ConstTensorView vv(v.data(), {500, 90}), gv(g.data(), {90, 90});
    kernels::quadratic_forms(test_execution(1), vv, gv, one);
    kernels::quadratic_forms(test_execution(4), vv, gv, four);
    CHECK(one == four);
  }
  SECTION("a NaN shows, also in the last columns") {
    Tensor v({2, 5}), g({5, 5});
    for (int i = 0; i < 5; ++i) g.data()[6 * i] = 1;
    v.data()[9] = not_a_number;
    std::vector<float> forms(2);
    kernels::quadratic_forms(test_execution(), v, g, forms);
    CHECK(forms[0] == 0.0F);
    CHECK(std::isnan(forms[1]));
  }
}
