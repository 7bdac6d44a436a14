// Steps of the Jacobian sweeps against plain float64 loops.
#include "kernels/jacobian.h"

#include <cmath>
#include <limits>

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
// Around tiles of 4 to 10 rows and one to two vectors of 4 to 16 lanes; the last ones have long sums.
const Shape shapes[] = {{1, 1, 1, 1},     {1, 2, 3, 5},     {3, 10, 129, 16}, {2, 3, 17, 31},
                        {17, 1, 15, 7},   {5, 7, 33, 32},   {12, 10, 64, 65}, {13, 10, 63, 33},
                        {129, 2, 48, 20}, {4, 5, 11, 1601}, {3, 2, 1601, 9},  {40, 10, 31, 40}};

double random_walk_bound(std::int64_t terms, double magnitude) {
  return (4 * std::sqrt(static_cast<double>(terms)) + 4) * epsilon * magnitude;
}

double derivative(const Activation& activation, double y) {
  switch (activation.kind) {
    case ActivationKind::identity: return 1;
    case ActivationKind::relu: return y > 0 ? 1 : 0;
    case ActivationKind::leaky_relu: return y > 0 ? 1 : activation.negative_slope;
    case ActivationKind::tanh: return 1 - y * y;
    case ActivationKind::sigmoid: return y * (1 - y);
  }
  return 0;
}

std::vector<float> outputs_of(const Activation& activation, std::int64_t size, std::uint32_t unit) {
  auto y = test_normals(size, unit);
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (activation.kind == ActivationKind::tanh) y[i] = std::tanh(y[i]);
    if (activation.kind == ActivationKind::sigmoid) y[i] = 1 / (1 + std::exp(-y[i]));
    if (activation.kind == ActivationKind::relu) y[i] = std::max(y[i], 0.0F);
    if (i % 11 == 3 && activation.kind != ActivationKind::sigmoid) y[i] = 0;  // the kink
  }
  return y;
}

// `what` names a row and column in the message.
void expect_near(double found, double expected, double bound, std::int64_t row, std::int64_t col) {
  if (!(std::abs(found - expected) <= bound)) {
    FAIL("at row " << row << ", column " << col << ": expected " << expected << " within " << bound << ", found "
                   << found);
  }
}

struct Sum {
  double value = 0, magnitude = 0;
  void add(double term) {
    value += term;
    magnitude += std::abs(term);
  }
};

enum class Step { product, transposed, adjoint };

// One step in either direction; the operands' rows are `gap` elements longer than their contents.
void check_step(Step step, const Shape& s, const Activation& activation, std::int64_t gap) {
  CAPTURE(static_cast<int>(step), s.samples, s.rows_per_sample, s.fan_in, s.fan_out, gap, to_string(activation));
  const bool down = step == Step::product;
  const std::int64_t rows = s.samples * s.rows_per_sample, from = down ? s.fan_out : s.fan_in,
                     to = down ? s.fan_in : s.fan_out;
  const auto v = test_normals(rows * (from + gap), 1), w = test_normals(s.fan_out * (s.fan_in + gap), 2),
             y = outputs_of(activation, s.samples * (to + gap), 3), joined = test_normals(rows * (to + gap), 4),
             scale = test_normals(rows, 5);
  const ConstTensorView vv(v.data(), rows, from, from + gap), wv(w.data(), s.fan_out, s.fan_in, s.fan_in + gap),
      yv(y.data(), s.samples, to, to + gap), jv(joined.data(), rows, to, to + gap);
  Guarded<float> result(rows, to, gap);
  result.fill(not_a_number);
  const kernels::Derivative at{yv, activation};
  if (down) kernels::jacobian_product(test_execution(), vv, wv, at, result.view());
  if (step == Step::transposed) kernels::jacobian_transposed(test_execution(), vv, wv, at, result.view());
  if (step == Step::adjoint) kernels::jacobian_adjoint(test_execution(), vv, wv, jv, scale, at, result.view());
  result.check();
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < to; ++c) {
      Sum sum;
      for (std::int64_t i = 0; i < from; ++i) sum.add(double{vv(r, i)} * double{down ? wv(i, c) : wv(c, i)});
      if (step == Step::adjoint) sum.add(double{scale[r]} * double{jv(r, c)});
      const double slope = derivative(activation, yv(r / s.rows_per_sample, c));
      expect_near(result(r, c), slope * sum.value,
                  random_walk_bound(from + 1, sum.magnitude) * std::abs(slope) + 4 * epsilon * std::abs(sum.value), r,
                  c);
    }
  }
}

void check_steps(Step step, const Activation& activation) {
  for (const Shape& s : shapes) check_step(step, s, activation, 0);
  check_step(step, {7, 5, 35, 34}, activation, 3);
}

void check_top(const Activation& activation) {
  for (const std::int64_t gap : {0, 3}) {
    for (const auto& s : shapes) {
      CAPTURE(s.samples, s.rows_per_sample, s.fan_in, gap, to_string(activation));
      const std::int64_t width = s.fan_in, outputs = s.rows_per_sample;
      const auto w = test_normals(outputs * (width + gap), 1), y = outputs_of(activation, s.samples * (width + gap), 2);
      const ConstTensorView wv(w.data(), outputs, width, width + gap), yv(y.data(), s.samples, width, width + gap);
      Guarded<float> result(s.samples * outputs, width, gap);
      result.fill(not_a_number);
      kernels::jacobian_top(test_execution(), wv, {yv, activation}, result.view());
      result.check();
      for (std::int64_t r = 0; r < s.samples * outputs; ++r) {
        for (std::int64_t k = 0; k < width; ++k) {
          const double weight = wv(r % outputs, k);
          expect_near(result(r, k), derivative(activation, yv(r / outputs, k)) * weight, 4 * epsilon * std::abs(weight),
                      r, k);
        }
      }
    }
  }
}

void check_join(const Activation& activation) {
  for (const std::int64_t gap : {0, 3}) {
    for (const Shape& s : shapes) {
      CAPTURE(s.samples, s.rows_per_sample, s.fan_in, gap, to_string(activation));
      const std::int64_t rows = s.samples * s.rows_per_sample, width = s.fan_in, stride = width + gap;
      const auto p = test_normals(rows * stride, 1), q = test_normals(rows * stride, 2), a = test_normals(rows, 3),
                 b = test_normals(rows, 4), y = outputs_of(activation, s.samples * stride, 5);
      const ConstTensorView pv(p.data(), rows, width, stride), qv(q.data(), rows, width, stride),
          yv(y.data(), s.samples, width, stride);
      Guarded<float> result(rows, width, gap);
      result.fill(not_a_number);
      kernels::jacobian_join(test_execution(), pv, a, qv, b, {yv, activation}, result.view());
      result.check();
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t k = 0; k < width; ++k) {
          Sum sum;
          sum.add(double{a[r]} * double{pv(r, k)});
          sum.add(double{b[r]} * double{qv(r, k)});
          expect_near(result(r, k), derivative(activation, yv(r / s.rows_per_sample, k)) * sum.value,
                      6 * epsilon * sum.magnitude, r, k);
        }
      }
    }
  }
}

void check_curvature(const Activation& activation) {
  for (const std::int64_t gap : {0, 3}) {
    for (const Shape& s : shapes) {
      CAPTURE(s.samples, s.rows_per_sample, s.fan_in, gap, to_string(activation));
      const std::int64_t rows = s.samples * s.rows_per_sample, width = s.fan_in, stride = width + gap;
      const auto a = test_normals(rows * stride, 1), q = test_normals(rows * stride, 2),
                 y = outputs_of(activation, s.samples * stride, 3);
      const ConstTensorView av(a.data(), rows, width, stride), qv(q.data(), rows, width, stride),
          yv(y.data(), s.samples, width, stride);
      Guarded<float> result(s.samples, width, gap);
      result.fill(not_a_number);
      kernels::jacobian_curvature(test_execution(), av, qv, {yv, activation}, result.view());
      result.check();
      for (std::int64_t n = 0; n < s.samples; ++n) {
        for (std::int64_t k = 0; k < width; ++k) {
          Sum sum;
          for (std::int64_t i = 0; i < s.rows_per_sample; ++i) {
            sum.add(double{av(n * s.rows_per_sample + i, k)} * double{qv(n * s.rows_per_sample + i, k)});
          }
          const double z = yv(n, k), quotient = activation.kind == ActivationKind::tanh ? -2 * z : 1 - 2 * z;
          expect_near(result(n, k), quotient * sum.value,
                      (random_walk_bound(s.rows_per_sample, sum.magnitude) + 4 * epsilon * sum.magnitude), n, k);
        }
      }
    }
  }
}

const Activation relu{ActivationKind::relu}, leaky{ActivationKind::leaky_relu, 0.3F}, tanh_of{ActivationKind::tanh},
    sigmoid_of{ActivationKind::sigmoid};

}  // namespace

TEST_CASE("jacobian_top", "[jacobian_top]") {
  check_top(relu);
  check_top(leaky);
}
TEST_CASE("jacobian_top_tanh", "[jacobian_top_tanh]") { check_top(tanh_of); }
TEST_CASE("jacobian_top_sigmoid", "[jacobian_top_sigmoid]") { check_top(sigmoid_of); }

TEST_CASE("jacobian_product", "[jacobian_product]") {
  check_steps(Step::product, relu);
  check_steps(Step::product, leaky);
  SECTION("without a derivative") {
    const auto v = test_normals(21 * 35, 1), w = test_normals(35 * 19, 2);
    Guarded<float> s(21, 19);
    const ConstTensorView vv(v.data(), {21, 35}), wv(w.data(), {35, 19});
    kernels::jacobian_product(test_execution(), vv, wv, s.view());
    for (std::int64_t r = 0; r < 21; ++r) {
      for (std::int64_t k = 0; k < 19; ++k) {
        Sum sum;
        for (std::int64_t m = 0; m < 35; ++m) sum.add(double{vv(r, m)} * double{wv(m, k)});
        expect_near(s(r, k), sum.value, random_walk_bound(35, sum.magnitude), r, k);
      }
    }
  }
  SECTION("a NaN in any operand stays visible") {
    const std::vector<float> v = {1, 1, not_a_number}, w = {1}, y = {not_a_number, 1, 1};
    Guarded<float> s(3, 1);
    kernels::jacobian_product(test_execution(), ConstTensorView(v.data(), {3, 1}), ConstTensorView(w.data(), {1, 1}),
                              {ConstTensorView(y.data(), {3, 1}), relu}, s.view());
    CHECK(std::isnan(s(0, 0)));
    CHECK(s(1, 0) == 1.0F);
    CHECK(std::isnan(s(2, 0)));
  }
  SECTION("threads do not change a bit") {
    const auto v = test_normals(600 * 70, 1), w = test_normals(70 * 90, 2), y = outputs_of(relu, 60 * 90, 3);
    Guarded<float> one(600, 90), four(600, 90);
    for (const auto& [threads, s] : {std::pair{1, &one}, std::pair{4, &four}}) {
      kernels::jacobian_product(test_execution(threads), ConstTensorView(v.data(), {600, 70}),
                                ConstTensorView(w.data(), {70, 90}), {ConstTensorView(y.data(), {60, 90}), relu},
                                s->view());
    }
    CHECK(std::equal(one.flat().begin(), one.flat().end(), four.flat().begin()));
  }
  SECTION("no rows, and shapes that do not fit") {
    Tensor v({0, 3}), w({3, 2}), y({0, 2}), s({0, 2}), five({5, 3}), two({2, 2}), out({5, 2});
    CHECK_NOTHROW(kernels::jacobian_product(test_execution(), v, w, {y, relu}, s));
    expect_error(ErrorCode::usage, {"jacobian_product", "2 samples", "5 rows"}, [&] {
      kernels::jacobian_product(test_execution(), five, w, {two, relu}, out);
    });
    expect_error(ErrorCode::usage, {"jacobian_product", "expected s of 5 x 2"}, [&] {
      kernels::jacobian_product(test_execution(), five, w, {two, relu}, two);
    });
  }
}
TEST_CASE("jacobian_product_tanh", "[jacobian_product_tanh]") { check_steps(Step::product, tanh_of); }
TEST_CASE("jacobian_product_sigmoid", "[jacobian_product_sigmoid]") { check_steps(Step::product, sigmoid_of); }

TEST_CASE("jacobian_transposed", "[jacobian_transposed]") {
  check_steps(Step::transposed, relu);
  check_steps(Step::transposed, leaky);
}
TEST_CASE("jacobian_transposed_tanh", "[jacobian_transposed_tanh]") { check_steps(Step::transposed, tanh_of); }
TEST_CASE("jacobian_transposed_sigmoid", "[jacobian_transposed_sigmoid]") { check_steps(Step::transposed, sigmoid_of); }

TEST_CASE("jacobian_adjoint", "[jacobian_adjoint]") {
  check_steps(Step::adjoint, relu);
  check_steps(Step::adjoint, leaky);
  Tensor m({2, 2});
  const std::vector<float> scale(2);
  expect_error(ErrorCode::usage, {"jacobian_adjoint", "piecewise-linear", "tanh"}, [&] {
    kernels::jacobian_adjoint(test_execution(), m, m, m, scale, {m, tanh_of}, Tensor({2, 2}));
  });
}

TEST_CASE("jacobian_join", "[jacobian_join]") {
  check_join(relu);
  check_join(leaky);
}
TEST_CASE("jacobian_join_tanh", "[jacobian_join_tanh]") { check_join(tanh_of); }
TEST_CASE("jacobian_join_sigmoid", "[jacobian_join_sigmoid]") { check_join(sigmoid_of); }

TEST_CASE("jacobian_curvature_tanh", "[jacobian_curvature_tanh]") { check_curvature(tanh_of); }
TEST_CASE("jacobian_curvature_sigmoid", "[jacobian_curvature_sigmoid]") { check_curvature(sigmoid_of); }

TEST_CASE("steps over no inputs and over no outputs", "[jacobian_transposed][jacobian_adjoint][jacobian_product]") {
  const float none[1] = {};
  const std::vector<float> y{1, 0, 2}, s{1, 2, 3, 4, 5, 6}, scale{2, -1};
  const ConstTensorView v(none, {2, 0}), w(none, {3, 0}), joined(s.data(), {2, 3});
  const kernels::Derivative at{ConstTensorView(y.data(), {1, 3}), relu};
  Guarded<float> t(2, 3);
  kernels::jacobian_transposed(test_execution(), v, w, at, t.view());
  t.check();
  for (std::int64_t i = 0; i < 6; ++i) CHECK(t(i / 3, i % 3) == 0.0F);
  t.fill(7.0F);
  kernels::jacobian_product(test_execution(), v, ConstTensorView(none, {0, 3}), at, t.view());
  for (std::int64_t i = 0; i < 6; ++i) CHECK(t(i / 3, i % 3) == 0.0F);
  kernels::jacobian_adjoint(test_execution(), v, w, joined, scale, at, t.view());
  t.check();
  for (std::int64_t r = 0; r < 2; ++r)
    for (std::int64_t m = 0; m < 3; ++m)
      CHECK(t(r, m) == (y[static_cast<std::size_t>(m)] > 0 ? scale[static_cast<std::size_t>(r)] * joined(r, m) : 0.0F));
}
