// Input gradient, weight gradient and the fused optimiser steps against plain float64 loops.
#include <cmath>
#include <limits>

#include "kernels/dense.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;

struct Shape {
  std::int64_t batch, fan_in, fan_out;
};
// The last ones: many units, and sums over samples or units so long that they are added up in blocks.
const Shape shapes[] = {{1, 1, 1},    {2, 3, 5},    {100, 129, 10}, {3, 16, 17},   {17, 15, 7},   {9, 17, 31},
                        {32, 32, 10}, {33, 31, 11}, {130, 33, 12},  {257, 47, 13}, {37, 11, 129}, {64, 65, 63},
                        {300, 10, 3}, {5, 49, 100}, {45, 37, 141},  {530, 17, 21}, {7, 21, 1601}};
// For the kernels of few samples, and one sample more: features that fill stripes, vectors, and neither; more stripes
// and rows than one task takes.
const Shape few_shapes[] = {{1, 1, 1},   {1, 7, 3},     {2, 8, 1},     {3, 111, 21},  {4, 112, 2},  {1, 113, 23},
                            {2, 225, 5}, {4, 131, 100}, {5, 131, 100}, {1, 784, 100}, {4, 17, 129}, {1, 1801, 9}};

double random_walk_bound(std::int64_t terms, double magnitude) {
  return (4 * std::sqrt(static_cast<double>(terms)) + 4) * epsilon * magnitude;
}

double slope_at(const Activation& activation, double y) {
  switch (activation.kind) {
    case ActivationKind::identity: return 1;
    case ActivationKind::relu: return y > 0 ? 1 : 0;
    case ActivationKind::leaky_relu: return y > 0 ? 1 : activation.negative_slope;
    case ActivationKind::tanh: return 1 - y * y;
    case ActivationKind::sigmoid: return y * (1 - y);
  }
  return 0;
}

void check_input_gradient(const Shape& s, const Activation& below, std::int64_t gap) {
  CAPTURE(s.batch, s.fan_in, s.fan_out, gap, to_string(below));
  const std::int64_t in_stride = s.fan_in + gap, out_stride = s.fan_out + gap;
  const auto dz = test_normals(s.batch * out_stride, 1), w = test_normals(s.fan_out * in_stride, 2);
  auto x = test_normals(s.batch * in_stride, 3);
  const bool smooth = below.kind == ActivationKind::tanh || below.kind == ActivationKind::sigmoid;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (smooth)
      x[i] = 1 / (1 + std::exp(-x[i]));
    else if (i % 7 == 0)
      x[i] = 0;  // the kink
  }
  Guarded<float> dx(s.batch, s.fan_in, gap);
  dx.fill(std::numeric_limits<float>::quiet_NaN());
  kernels::dense_input_gradient(test_execution(), ConstTensorView(dz.data(), s.batch, s.fan_out, out_stride),
                                ConstTensorView(w.data(), s.fan_out, s.fan_in, in_stride),
                                ConstTensorView(x.data(), s.batch, s.fan_in, in_stride), below, dx.view());
  dx.check();
  for (std::int64_t n = 0; n < s.batch; ++n) {
    for (std::int64_t k = 0; k < s.fan_in; ++k) {
      double sum = 0, magnitude = 0;
      for (std::int64_t m = 0; m < s.fan_out; ++m) {
        const double term = static_cast<double>(dz[n * out_stride + m]) * static_cast<double>(w[m * in_stride + k]);
        sum += term;
        magnitude += std::abs(term);
      }
      const double slope = slope_at(below, x[n * in_stride + k]);
      // 1 - x^2 and x (1 - x) are rounded relative to terms of size 1.
      const double bound = random_walk_bound(s.fan_out, magnitude) * std::abs(slope) + 4 * epsilon * std::abs(sum);
      if (!(std::abs(dx(n, k) - slope * sum) <= bound)) {
        FAIL("at sample " << n << ", feature " << k << ": expected " << slope * sum << " within " << bound << ", found "
                          << dx(n, k));
      }
    }
  }
}

struct Problem {
  Shape s;
  std::int64_t gap;
  std::vector<float> x, dz;
  std::vector<double> dw, dw_magnitude, db, db_magnitude;

  Problem(const Shape& shape, std::int64_t row_gap) : s(shape), gap(row_gap) {
    const std::int64_t in_stride = s.fan_in + gap, out_stride = s.fan_out + gap;
    x = test_normals(s.batch * in_stride, 1);
    dz = test_normals(s.batch * out_stride, 2);
    dw.assign(static_cast<std::size_t>(s.fan_out * s.fan_in), 0);
    dw_magnitude = dw;
    db.assign(static_cast<std::size_t>(s.fan_out), 0);
    db_magnitude = db;
    for (std::int64_t n = 0; n < s.batch; ++n) {
      for (std::int64_t m = 0; m < s.fan_out; ++m) {
        const double d = dz[n * out_stride + m];
        db[m] += d;
        db_magnitude[m] += std::abs(d);
        for (std::int64_t k = 0; k < s.fan_in; ++k) {
          dw[m * s.fan_in + k] += d * x[n * in_stride + k];
          dw_magnitude[m * s.fan_in + k] += std::abs(d * x[n * in_stride + k]);
        }
      }
    }
  }
  [[nodiscard]] ConstTensorView x_view() const { return {x.data(), s.batch, s.fan_in, s.fan_in + gap}; }
  [[nodiscard]] ConstTensorView dz_view() const { return {dz.data(), s.batch, s.fan_out, s.fan_out + gap}; }
};

// One array of parameters or optimiser state, weights and biases, with canaries.
struct Parameters {
  Guarded<float> weight, bias;
  std::vector<float> weight_before, bias_before;
  std::int64_t cols;

  Parameters(const Problem& p, std::uint32_t unit, bool positive = false)
      : weight(p.s.fan_out, p.s.fan_in, p.gap),
        bias(p.s.fan_out),
        weight_before(test_normals(p.s.fan_out * p.s.fan_in, unit)),
        bias_before(test_normals(p.s.fan_out, unit + 1)),
        cols(p.s.fan_in) {
    for (std::int64_t m = 0; m < p.s.fan_out; ++m) {
      if (positive) bias_before[m] = std::abs(bias_before[m]);
      bias(0, m) = bias_before[m];
      for (std::int64_t k = 0; k < cols; ++k) {
        if (positive) weight_before[m * cols + k] = std::abs(weight_before[m * cols + k]);
        weight(m, k) = weight_before[m * cols + k];
      }
    }
  }
  kernels::DenseParameters view() { return {weight.view(), bias.flat()}; }
  void check() {
    weight.check();
    bias.check();
  }
};

// Compares every weight and bias with expected(old index into state, gradient, is_weight), whose derivative with
// respect to the gradient is at most `sensitivity`.
template <class Expected>
void compare(const Problem& p, Parameters& found, const char* what, double sensitivity, Expected expected) {
  CAPTURE(what, p.s.batch, p.s.fan_in, p.s.fan_out, p.gap);
  found.check();
  const auto verify = [&](double actual, double value, double bound, std::int64_t m, std::int64_t k) {
    if (!(std::abs(actual - value) <= bound)) {
      FAIL("at unit " << m << ", feature " << k << ": expected " << value << " within " << bound << ", found "
                      << actual);
    }
  };
  for (std::int64_t m = 0; m < p.s.fan_out; ++m) {
    const double bias = expected(-1, m, p.db[m]);
    verify(found.bias(0, m), bias,
           sensitivity * random_walk_bound(p.s.batch, p.db_magnitude[m]) + 8 * epsilon * (1 + std::abs(bias)), m, -1);
    for (std::int64_t k = 0; k < p.s.fan_in; ++k) {
      const std::int64_t i = m * p.s.fan_in + k;
      const double weight = expected(i, m, p.dw[i]);
      verify(found.weight(m, k), weight,
             sensitivity * random_walk_bound(p.s.batch, p.dw_magnitude[i]) + 8 * epsilon * (4 + std::abs(weight)), m,
             k);
    }
  }
}

double before(const Parameters& p, std::int64_t i, std::int64_t m) {
  return i < 0 ? p.bias_before[m] : p.weight_before[i];
}

template <class Check>
void for_all_problems(Check check) {
  for (const Shape& s : shapes) check(Problem(s, 0));
  check(Problem({21, 35, 12}, 3));
  check(Problem({1000, 18, 9}, 0));
}

template <class Check>
void for_few_samples(Check check) {
  for (const Shape& s : few_shapes) check(Problem(s, 0));
  check(Problem({3, 123, 31}, 3));
}

void check_few_input_gradients(const Activation& below) {
  for (const Shape& s : few_shapes) check_input_gradient(s, below, 0);
  check_input_gradient({3, 123, 34}, below, 3);
}

void check_all_input_gradients(const Activation& below) {
  for (const Shape& s : shapes) check_input_gradient(s, below, 0);
  check_input_gradient({33, 45, 34}, below, 3);
}

}  // namespace

TEST_CASE("dense_input_gradient: piecewise-linear activation below", "[dense_input_gradient]") {
  check_all_input_gradients({ActivationKind::relu});
  check_input_gradient({64, 65, 63}, {ActivationKind::identity}, 0);
  check_input_gradient({19, 20, 21}, {ActivationKind::leaky_relu, 0.3F}, 1);
  SECTION("a NaN in either operand stays visible") {
    const std::vector<float> dz = {1.0F, std::numeric_limits<float>::quiet_NaN()}, w = {1.0F},
                             x = {std::numeric_limits<float>::quiet_NaN(), 1.0F};
    Guarded<float> dx(2, 1);
    kernels::dense_input_gradient(test_execution(), ConstTensorView(dz.data(), {2, 1}),
                                  ConstTensorView(w.data(), {1, 1}), ConstTensorView(x.data(), {2, 1}),
                                  {ActivationKind::relu}, dx.view());
    CHECK(std::isnan(dx(0, 0)));
    CHECK(std::isnan(dx(1, 0)));
  }
}

TEST_CASE("dense_input_gradient_tanh", "[dense_input_gradient_tanh]") {
  check_all_input_gradients({ActivationKind::tanh});
}

TEST_CASE("dense_input_gradient_sigmoid", "[dense_input_gradient_sigmoid]") {
  check_all_input_gradients({ActivationKind::sigmoid});
}

TEST_CASE("dense_input_gradient_few", "[dense_input_gradient_few]") {
  check_few_input_gradients({ActivationKind::leaky_relu, 0.3F});
  SECTION("threads do not change a bit, a NaN stays visible") {
    const auto w = test_normals(90 * 700, 2), x = test_normals(3 * 700, 3);
    auto dz = test_normals(3 * 90, 1);
    Tensor one({3, 700}), four({3, 700});
    const auto run = [&](int threads, TensorView dx) {
      kernels::dense_input_gradient(test_execution(threads), ConstTensorView(dz.data(), {3, 90}),
                                    ConstTensorView(w.data(), {90, 700}), ConstTensorView(x.data(), {3, 700}), {}, dx);
    };
    run(1, one);
    run(4, four);
    CHECK(std::equal(one.flat().begin(), one.flat().end(), four.flat().begin()));
    dz[90 + 50] = std::numeric_limits<float>::quiet_NaN();
    run(2, four);
    for (std::size_t k = 0; k < 700; ++k) {
      CHECK(std::isfinite(four.flat()[k]));
      CHECK(std::isnan(four.flat()[700 + k]));
    }
  }
}

TEST_CASE("dense_input_gradient_few_tanh", "[dense_input_gradient_few_tanh]") {
  check_few_input_gradients({ActivationKind::tanh});
}

TEST_CASE("dense_input_gradient_few_sigmoid", "[dense_input_gradient_few_sigmoid]") {
  check_few_input_gradients({ActivationKind::sigmoid});
}

namespace {
void check_gradient(const Problem& p) {
  Parameters gradient(p, 5);
  kernels::dense_weight_gradient(test_execution(), p.x_view(), p.dz_view(), gradient.weight.view(),
                                 gradient.bias.flat());
  compare(p, gradient, "gradient", 1, [&](std::int64_t, std::int64_t, double g) { return g; });
}
}  // namespace

TEST_CASE("dense_weight_gradient_few", "[dense_weight_gradient_few]") { for_few_samples(check_gradient); }

TEST_CASE("dense_weight_gradient", "[dense_weight_gradient]") {
  for_all_problems(check_gradient);
  SECTION("a long sum, several blocks of rows and of columns") {
    const Problem p({460, 290, 230}, 1);
    Parameters gradient(p, 5);
    kernels::dense_weight_gradient(test_execution(), p.x_view(), p.dz_view(), gradient.weight.view(),
                                   gradient.bias.flat());
    compare(p, gradient, "gradient", 1, [&](std::int64_t, std::int64_t, double g) { return g; });
  }
  SECTION("no samples give a gradient of zero") {
    Tensor x({0, 3}), dz({0, 2}), dw({2, 3}), db({2});
    std::fill(dw.flat().begin(), dw.flat().end(), 5.0F);
    kernels::dense_weight_gradient(test_execution(), x, dz, dw, db.flat());
    for (const float g : dw.flat()) CHECK(g == 0.0F);
  }
  SECTION("threads do not change a bit") {
    const Problem p({500, 70, 45}, 0);
    Parameters one(p, 5), four(p, 5);
    kernels::dense_weight_gradient(test_execution(1), p.x_view(), p.dz_view(), one.weight.view(), one.bias.flat());
    kernels::dense_weight_gradient(test_execution(4), p.x_view(), p.dz_view(), four.weight.view(), four.bias.flat());
    CHECK(std::equal(one.weight.flat().begin(), one.weight.flat().end(), four.weight.flat().begin()));
    CHECK(std::equal(one.bias.flat().begin(), one.bias.flat().end(), four.bias.flat().begin()));
  }
}

namespace {
void check_sgd(const Problem& p) {
  Parameters value(p, 5);
  const kernels::SgdStep step{.learning_rate = 0.05F, .weight_decay = 0.3F};
  kernels::dense_weight_sgd(test_execution(), p.x_view(), p.dz_view(), value.view(), step);
  compare(p, value, "value", 0.05, [&](std::int64_t i, std::int64_t m, double g) {
    const double old = before(value, i, m);
    return old - 0.05 * (g + (i < 0 ? 0.0 : 0.3) * old);
  });
}
}  // namespace

TEST_CASE("dense_weight_sgd_few", "[dense_weight_sgd_few]") {
  for_few_samples(check_sgd);
  SECTION("threads do not change a bit") {
    const Problem p({2, 333, 145}, 0);
    Parameters one(p, 5), four(p, 5);
    kernels::dense_weight_sgd(test_execution(1), p.x_view(), p.dz_view(), one.view(), {});
    kernels::dense_weight_sgd(test_execution(4), p.x_view(), p.dz_view(), four.view(), {});
    CHECK(std::equal(one.weight.flat().begin(), one.weight.flat().end(), four.weight.flat().begin()));
    CHECK(std::equal(one.bias.flat().begin(), one.bias.flat().end(), four.bias.flat().begin()));
  }
}

TEST_CASE("dense_weight_sgd", "[dense_weight_sgd]") { for_all_problems(check_sgd); }

namespace {
void check_momentum(const Problem& p) {
  Parameters value(p, 5), velocity(p, 7);
  const kernels::MomentumStep step{.learning_rate = 0.05F, .momentum = 0.8F, .weight_decay = 0.3F};
  kernels::dense_weight_momentum(test_execution(), p.x_view(), p.dz_view(), value.view(), velocity.view(), step);
  const auto new_velocity = [&](std::int64_t i, std::int64_t m, double g) {
    return 0.8 * before(velocity, i, m) + g + (i < 0 ? 0.0 : 0.3) * before(value, i, m);
  };
  compare(p, velocity, "velocity", 1, new_velocity);
  compare(p, value, "value", 0.05,
          [&](std::int64_t i, std::int64_t m, double g) { return before(value, i, m) - 0.05 * new_velocity(i, m, g); });
}
}  // namespace

TEST_CASE("dense_weight_momentum_few", "[dense_weight_momentum_few]") { for_few_samples(check_momentum); }

TEST_CASE("dense_weight_momentum", "[dense_weight_momentum]") { for_all_problems(check_momentum); }

namespace {
void check_adam(const Problem& p) {
  Parameters value(p, 5), mean(p, 7), square(p, 9, true);
  const kernels::AdamStep step{.learning_rate = 0.01F, .weight_decay = 0.1F, .step = 3};
  kernels::dense_weight_adam(test_execution(), p.x_view(), p.dz_view(), value.view(), mean.view(), square.view(), step);
  const auto gradient = [&](std::int64_t i, std::int64_t m, double g) {
    return g + (i < 0 ? 0.0 : 0.1) * before(value, i, m);
  };
  const auto new_mean = [&](std::int64_t i, std::int64_t m, double g) {
    return 0.9 * before(mean, i, m) + 0.1 * gradient(i, m, g);
  };
  const auto new_square = [&](std::int64_t i, std::int64_t m, double g) {
    return 0.999 * before(square, i, m) + 0.001 * gradient(i, m, g) * gradient(i, m, g);
  };
  compare(p, mean, "first moment", 0.1, new_mean);
  // d(0.001 g^2)/dg = 0.002 |g|; the largest gradient of these problems is far below 500.
  compare(p, square, "second moment", 1, new_square);
  // The quotient's derivative with respect to g is at most 0.1 / sqrt(v) / (1 - 0.9^3) for the mean, and through the
  // root at most as much again; v before the step is rarely tiny, hence the smaller learning rate's room.
  compare(p, value, "value", 1, [&](std::int64_t i, std::int64_t m, double g) {
    const double scale = std::sqrt(new_square(i, m, g)) / std::sqrt(1 - std::pow(0.999, 3)) + 1e-8;
    return before(value, i, m) - 0.01 / (1 - std::pow(0.9, 3)) * new_mean(i, m, g) / scale;
  });
}
}  // namespace

TEST_CASE("dense_weight_adam_few", "[dense_weight_adam_few]") { for_few_samples(check_adam); }

TEST_CASE("dense_weight_adam", "[dense_weight_adam]") {
  for_all_problems(check_adam);
  SECTION("the step number counts from one") {
    const Problem p({4, 3, 2}, 0);
    Parameters value(p, 5), mean(p, 7), square(p, 9, true);
    CHECK_THROWS_WITH(kernels::dense_weight_adam(test_execution(), p.x_view(), p.dz_view(), value.view(), mean.view(),
                                                 square.view(), {.step = 0}),
                      Catch::Contains("step number from 1 on, found 0"));
  }
}

TEST_CASE("dense_input_gradient of a layer without outputs is 0, and NaN where X is",
          "[dense_input_gradient][dense_input_gradient_few]") {
  const float none[1] = {};
  for (const std::int64_t n : {2, 30}) {
    std::vector<float> x(static_cast<std::size_t>(3 * n), 1.0F);
    x[4] = std::numeric_limits<float>::quiet_NaN();
    Guarded<float> dx(n, 3);
    kernels::dense_input_gradient(test_execution(), ConstTensorView(none, {n, 0}), ConstTensorView(none, {0, 3}),
                                  ConstTensorView(x.data(), {n, 3}), {ActivationKind::relu}, dx.view());
    dx.check();
    for (std::int64_t i = 0; i < 3 * n; ++i) CHECK((i == 4 ? std::isnan(dx(i / 3, i % 3)) : dx(i / 3, i % 3) == 0.0F));
  }
}
