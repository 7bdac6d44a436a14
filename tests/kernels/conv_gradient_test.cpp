// The convolution's gradients against plain float64 loops, and against central differences of the float64 forward pass.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/conv.h"
#include "support/conv_reference.h"
#include "support/expect_error.h"
#include "support/kernel_test.h"
#include "support/winograd_reference.h"

using namespace kindling;
using namespace kindling::test;
using kernels::ConvShape;

namespace {

double derivative_at(const Activation& activation, double y) {
  switch (activation.kind) {
    case ActivationKind::identity: return 1;
    case ActivationKind::relu: return y > 0 ? 1 : 0;
    case ActivationKind::leaky_relu: return y > 0 ? 1 : activation.negative_slope;
    case ActivationKind::tanh: return 1 - y * y;
    case ActivationKind::sigmoid: return y * (1 - y);
  }
  return 0;
}

void expect_close(double found, double expected, double bound, std::int64_t row, std::int64_t element) {
  if (std::abs(found - expected) <= bound) return;
  FAIL("at row " << row << ", element " << element << ": expected " << expected << " within " << bound << ", found "
                 << found);
}

// Data of one layer, rows `gap` elements further apart than they are long.
struct Problem {
  ConvShape s;
  std::int64_t batch, gap;
  std::vector<float> x, w, dz;

  Problem(const ConvShape& shape, std::int64_t samples, std::int64_t row_gap)
      : s(shape),
        batch(samples),
        gap(row_gap),
        x(test_normals(batch * (s.in_features() + gap), 1)),
        w(test_normals(s.channels_out * (s.fan_in() + gap), 2)),
        dz(test_normals(batch * (s.out_features() + gap), 3)) {}
  [[nodiscard]] ConstTensorView x_view() const { return {x.data(), batch, s.in_features(), s.in_features() + gap}; }
  [[nodiscard]] ConstTensorView w_view() const { return {w.data(), s.channels_out, s.fan_in(), s.fan_in() + gap}; }
  [[nodiscard]] ConstTensorView dz_view() const { return {dz.data(), batch, s.out_features(), s.out_features() + gap}; }
  [[nodiscard]] double x_at(std::int64_t n, std::int64_t i) const { return x_view()(n, i); }
  [[nodiscard]] double w_at(std::int64_t i) const { return w_view()(i / s.fan_in(), i % s.fan_in()); }
  [[nodiscard]] double dz_at(std::int64_t n, std::int64_t i) const { return dz_view()(n, i); }
};

#define CAPTURE_PROBLEM(p)                                                                             \
  CAPTURE(p.batch, p.gap, p.s.height, p.s.width, p.s.channels_in, p.s.channels_out, p.s.kernel_height, \
          p.s.kernel_width, p.s.stride, p.s.padding)

// What errors of Winograd's filtering are relative to, at element i of dX and at weight i.
double filtered_input_magnitude(const Problem& p, std::int64_t n, std::int64_t i) {
  const ConvShape& s = p.s;
  const std::int64_t c = i % s.channels_in, x = i / s.channels_in % s.width, y = i / s.channels_in / s.width;
  const auto pixel = [&](std::int64_t row, std::int64_t col, std::int64_t o) {
    const std::int64_t oy = row - 2 + s.padding, ox = col - 2 + s.padding;
    const bool inside = oy >= 0 && ox >= 0 && oy < s.out_height() && ox < s.out_width();
    return inside ? p.dz_at(n, (oy * s.out_width() + ox) * s.channels_out + o) : 0.0;
  };
  return filtered_magnitude(s.channels_out, y, x, pixel, [&](auto o, auto ky, auto kx) {
    return p.w_at(((o * s.channels_in + c) * 3 + 2 - ky) * 3 + 2 - kx);
  });
}
double filtered_weight_magnitude(const Problem& p, std::int64_t i) {
  const ConvShape& s = p.s;
  const std::int64_t o = i / s.fan_in(), c = i % s.fan_in() / 9;
  const auto pixel = [&](std::int64_t n, std::int64_t row, std::int64_t col) {
    const std::int64_t iy = row - s.padding, ix = col - s.padding;
    const bool inside = iy >= 0 && ix >= 0 && iy < s.height && ix < s.width;
    return inside ? p.x_at(n, (iy * s.width + ix) * s.channels_in + c) : 0.0;
  };
  const auto gradient = [&](std::int64_t n, std::int64_t row, std::int64_t col) {
    const bool inside = row < s.out_height() && col < s.out_width();
    return inside ? p.dz_at(n, (row * s.out_width() + col) * s.channels_out + o) : 0.0;
  };
  return filtered_gradient_magnitude(p.batch, s.out_height(), s.out_width(), i % 9 / 3, i % 3, pixel, gradient);
}

void check_input_gradient(const ConvShape& s, std::int64_t batch, const Activation& below, std::int64_t gap) {
  Problem p(s, batch, gap);
  CAPTURE_PROBLEM(p);
  CAPTURE(to_string(below));
  const bool smooth = below.kind == ActivationKind::tanh || below.kind == ActivationKind::sigmoid;
  for (std::size_t i = 0; i < p.x.size(); ++i) {
    if (smooth)
      p.x[i] = 1 / (1 + std::exp(-p.x[i]));
    else if (i % 7 == 0)
      p.x[i] = 0;  // the kink
  }
  Guarded<float> dx(batch, s.in_features(), gap);
  dx.fill(std::numeric_limits<float>::quiet_NaN());
  kernels::conv2d_input_gradient(test_execution(), p.dz_view(), p.w_view(), p.x_view(), below, s, dx.view());
  dx.check();
  const bool winograd = kernels::by_winograd(*test_execution().target, kernels::ConvPass::input_gradient, s, batch);
  for (std::int64_t n = 0; n < batch; ++n) {
    Sums sum(s.in_features());
    for_each_term(s, [&](const ConvTerm& t) { sum.add(t.input, p.dz_at(n, t.output) * p.w_at(t.weight)); });
    const std::int64_t terms =
        winograd ? s.channels_out + winograd_roundings : s.channels_out * s.kernel_height * s.kernel_width;
    for (std::int64_t i = 0; i < s.in_features(); ++i) {
      const double slope = derivative_at(below, p.x_at(n, i));
      // 1 - x^2 and x (1 - x) are rounded relative to terms of size 1.
      double bound =
          random_walk_bound(terms, sum.magnitude[i]) * std::abs(slope) + 4 * 0x1p-24 * std::abs(sum.value[i]);
      if (winograd && std::abs(dx(n, i) - slope * sum.value[i]) > bound)
        bound += random_walk_bound(terms, filtered_input_magnitude(p, n, i)) * std::abs(slope);
      expect_close(dx(n, i), slope * sum.value[i], bound, n, i);
    }
  }
}

void check_all_input_gradients(const Activation& below) {
  for (const ConvShape& s : conv_shapes()) check_input_gradient(s, 3, below, 0);
  check_input_gradient({6, 5, 18, 5, 3, 3, 1, 1}, 4, below, 3);
}

void check_weight_gradient(const Problem& p) {
  CAPTURE_PROBLEM(p);
  const ConvShape& s = p.s;
  Guarded<float> dw(s.channels_out, s.fan_in(), p.gap), db(s.channels_out);
  dw.fill(std::numeric_limits<float>::quiet_NaN());
  db.fill(std::numeric_limits<float>::quiet_NaN());
  kernels::conv2d_weight_gradient(test_execution(), p.x_view(), p.dz_view(), s, dw.view(), db.flat());
  dw.check();
  db.check();
  Sums weights(s.channels_out * s.fan_in()), biases(s.channels_out);
  for (std::int64_t n = 0; n < p.batch; ++n) {
    for_each_term(s, [&](const ConvTerm& t) { weights.add(t.weight, p.x_at(n, t.input) * p.dz_at(n, t.output)); });
    for (std::int64_t i = 0; i < s.out_features(); ++i) biases.add(i % s.channels_out, p.dz_at(n, i));
  }
  std::int64_t terms = p.batch * s.out_height() * s.out_width();
  const bool winograd = kernels::by_winograd(*test_execution().target, kernels::ConvPass::weight_gradient, s, p.batch);
  if (winograd) terms += winograd_roundings;
  for (std::int64_t i = 0; i < s.channels_out * s.fan_in(); ++i) {
    const std::int64_t o = i / s.fan_in(), e = i % s.fan_in();
    double bound = random_walk_bound(terms, weights.magnitude[i]);
    if (winograd && std::abs(dw(o, e) - weights.value[i]) > bound)
      bound += random_walk_bound(terms, filtered_weight_magnitude(p, i));
    expect_close(dw(o, e), weights.value[i], bound, o, e);
  }
  for (std::int64_t o = 0; o < s.channels_out; ++o) {
    expect_close(db(0, o), biases.value[o], random_walk_bound(terms, biases.magnitude[o]), o, -1);
  }
}

void check_threads(const Problem& p) {
  std::vector<Tensor> dw, db;
  for (const int threads : {1, 2, 4}) {
    dw.emplace_back(std::vector<std::int64_t>{p.s.channels_out, p.s.fan_in()});
    db.emplace_back(std::vector<std::int64_t>{p.s.channels_out});
    kernels::conv2d_weight_gradient(test_execution(threads), p.x_view(), p.dz_view(), p.s, dw.back(), db.back().flat());
    CHECK(std::equal(dw[0].flat().begin(), dw[0].flat().end(), dw.back().flat().begin()));
    CHECK(std::equal(db[0].flat().begin(), db[0].flat().end(), db.back().flat().begin()));
  }
}

// sum(Z dZ) in float64, Z = X * W + b: its derivatives are what the kernels compute.
double objective(const Problem& p, const std::vector<double>& x, const std::vector<double>& w,
                 const std::vector<double>& b) {
  const ConvShape& s = p.s;
  double total = 0;
  for (std::int64_t n = 0; n < p.batch; ++n) {
    for_each_term(
        s, [&](const ConvTerm& t) { total += x[n * s.in_features() + t.input] * w[t.weight] * p.dz_at(n, t.output); });
    for (std::int64_t i = 0; i < s.out_features(); ++i) total += b[i % s.channels_out] * p.dz_at(n, i);
  }
  return total;
}

// Every derivative by a step of 1e-6 to either side.
template <class Found>
void check_differences(const Problem& p, std::vector<double>& parameters, const std::function<double()>& value,
                       Found found) {
  CAPTURE_PROBLEM(p);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const double old = parameters[i], step = 1e-6;
    parameters[i] = old + step;
    const double above = value();
    parameters[i] = old - step;
    const double expected = (above - value()) / (2 * step);
    parameters[i] = old;
    expect_close(found(static_cast<std::int64_t>(i)), expected, 1e-3 * std::abs(expected) + 1e-5, 0,
                 static_cast<std::int64_t>(i));
  }
}

const ConvShape winograd_shapes[] = {{8, 8, 64, 64, 3, 3, 1, 1},
                                     {7, 9, 65, 67, 3, 3, 1, 1},
                                     {6, 6, 96, 70, 3, 3, 1, 0},
                                     {5, 6, 79, 64, 3, 3, 1, 2},
                                     {12, 3, 64, 80, 3, 3, 1, 1}};
void check_winograd_input_gradients(const Activation& below) {
  for (const ConvShape& s : winograd_shapes) check_input_gradient(s, 4, below, s.padding);
  if (!test_execution().target->gpu) check_input_gradient({7, 7, 31, 17, 3, 3, 1, 1}, 5, below, 0);
}

const ConvShape small_shapes[] = {{4, 5, 2, 9, 3, 3, 1, 1}, {5, 5, 3, 4, 3, 2, 2, 1}, {3, 3, 2, 3, 2, 2, 1, 2}};

}  // namespace

TEST_CASE("conv2d_input_gradient by Winograd's filtering", "[conv2d_winograd_input_gradient]") {
  check_winograd_input_gradients({ActivationKind::identity});
  check_winograd_input_gradients({ActivationKind::leaky_relu, 0.3F});
}

TEST_CASE("conv2d_input_gradient by Winograd's filtering: tanh", "[conv2d_winograd_input_gradient_tanh]") {
  check_winograd_input_gradients({ActivationKind::tanh});
}

TEST_CASE("conv2d_input_gradient by Winograd's filtering: sigmoid", "[conv2d_winograd_input_gradient_sigmoid]") {
  check_winograd_input_gradients({ActivationKind::sigmoid});
}

TEST_CASE("conv2d_weight_gradient by Winograd's filtering", "[conv2d_winograd_weight_gradient]") {
  for (const ConvShape& s : winograd_shapes) check_weight_gradient({s, 4, s.padding});
  if (!test_execution().target->gpu) {
    check_weight_gradient({{7, 7, 33, 47, 3, 3, 1, 1}, 70, 0});  // several groups of tiles
    check_weight_gradient({{8, 8, 32, 32, 3, 3, 1, 0}, 33, 1});
  }
  check_threads({{8, 8, 64, 64, 3, 3, 1, 1}, 40, 0});
}

TEST_CASE("conv2d_input_gradient: piecewise-linear activation below", "[conv2d_input_gradient]") {
  check_all_input_gradients({ActivationKind::relu});
  check_input_gradient({8, 8, 16, 3, 3, 3, 1, 1}, 1, {ActivationKind::identity}, 0);
  check_input_gradient({7, 9, 6, 11, 3, 3, 2, 0}, 4, {ActivationKind::leaky_relu, 0.3F}, 1);
  check_input_gradient({8, 8, 100, 150, 3, 3, 1, 1}, 2, {ActivationKind::identity}, 0);

  SECTION("central differences") {
    for (const ConvShape& s : small_shapes) {
      const Problem p(s, 2, 0);
      std::vector<double> x(p.x.begin(), p.x.end());
      const std::vector<double> w(p.w.begin(), p.w.end()), b(static_cast<std::size_t>(s.channels_out));
      Tensor dx({p.batch, s.in_features()});
      kernels::conv2d_input_gradient(test_execution(), p.dz_view(), p.w_view(), p.x_view(), {ActivationKind::identity},
                                     s, dx);
      check_differences(
          p, x, [&] { return objective(p, x, w, b); }, [&](std::int64_t i) { return dx.data()[i]; });
    }
  }
  SECTION("a NaN in any operand stays visible") {
    const ConvShape s{2, 2, 1, 1, 1, 1, 1, 0};
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> dz = {1, nan, 1, 1}, w = {1}, x = {nan, 1, 1, 0};
    Tensor dx({1, 4});
    const auto run = [&](const std::vector<float>& weights) {
      kernels::conv2d_input_gradient(test_execution(), ConstTensorView(dz.data(), {1, 4}),
                                     ConstTensorView(weights.data(), {1, 1}), ConstTensorView(x.data(), {1, 4}),
                                     {ActivationKind::relu}, s, dx);
    };
    run(w);
    CHECK(std::isnan(dx.data()[0]));
    CHECK(std::isnan(dx.data()[1]));
    CHECK(dx.data()[2] == 1.0F);
    CHECK(dx.data()[3] == 0.0F);
    run({nan});
    CHECK(std::isnan(dx.data()[2]));
  }
  SECTION("threads do not change a bit") {
    const Problem p({9, 9, 21, 7, 3, 3, 1, 1}, 11, 0);
    std::vector<Tensor> dx;
    for (const int threads : {1, 2, 4}) {
      dx.emplace_back(std::vector<std::int64_t>{11, p.s.in_features()});
      kernels::conv2d_input_gradient(test_execution(threads), p.dz_view(), p.w_view(), p.x_view(), {}, p.s, dx.back());
      CHECK(std::equal(dx[0].flat().begin(), dx[0].flat().end(), dx.back().flat().begin()));
    }
  }
  SECTION("an empty batch is no work, what does not fit an error that says so") {
    const Problem p({4, 4, 2, 3, 3, 3, 1, 1}, 2, 0);
    const ConstTensorView none(p.x.data(), {0, 32}), no_dz(p.dz.data(), {0, 48});
    Tensor empty({0, 32}), dx({2, 32}), narrow({2, 31});
    const Activation relu;
    CHECK_NOTHROW(kernels::conv2d_input_gradient(test_execution(), no_dz, p.w_view(), none, relu, p.s, empty));
    expect_error(ErrorCode::usage, {"conv2d_input_gradient", "expected dx of 2 x 32, found 2x31"}, [&] {
      kernels::conv2d_input_gradient(test_execution(), p.dz_view(), p.w_view(), p.x_view(), relu, p.s, narrow);
    });
    expect_error(ErrorCode::usage, {"expected dz of 2 x 12, found 2x48"}, [&] {
      ConvShape unpadded = p.s;
      unpadded.padding = 0;
      kernels::conv2d_input_gradient(test_execution(), p.dz_view(), p.w_view(), p.x_view(), relu, unpadded, dx);
    });
    expect_error(ErrorCode::usage, {"expected dx and x apart"},
                 [&] { kernels::conv2d_input_gradient(test_execution(), p.dz_view(), p.w_view(), dx, relu, p.s, dx); });
  }
}

TEST_CASE("conv2d_input_gradient_tanh", "[conv2d_input_gradient_tanh]") {
  check_all_input_gradients({ActivationKind::tanh});
}

TEST_CASE("conv2d_input_gradient_sigmoid", "[conv2d_input_gradient_sigmoid]") {
  check_all_input_gradients({ActivationKind::sigmoid});
}

TEST_CASE("conv2d_weight_gradient", "[conv2d_weight_gradient]") {
  for (const ConvShape& s : conv_shapes()) check_weight_gradient(Problem(s, 3, 0));
  check_weight_gradient(Problem({6, 5, 5, 18, 3, 3, 1, 1}, 2, 3));
  check_weight_gradient(Problem({6, 5, 3, 16, 3, 3, 1, 1}, 37, 0));  // several groups of samples, the last incomplete
  check_weight_gradient(Problem({6, 6, 40, 100, 3, 3, 1, 1}, 3, 0));

  SECTION("central differences") {
    for (const ConvShape& s : small_shapes) {
      const Problem p(s, 2, 0);
      const std::vector<double> x(p.x.begin(), p.x.end());
      std::vector<double> w(p.w.begin(), p.w.end()), b(static_cast<std::size_t>(s.channels_out));
      Tensor dw({s.channels_out, s.fan_in()}), db({s.channels_out});
      kernels::conv2d_weight_gradient(test_execution(), p.x_view(), p.dz_view(), s, dw, db.flat());
      const auto value = [&] { return objective(p, x, w, b); };
      check_differences(p, w, value, [&](std::int64_t i) { return dw.data()[i]; });
      check_differences(p, b, value, [&](std::int64_t i) { return db.data()[i]; });
    }
  }
  SECTION("a NaN stays visible, in its own channels") {
    Problem p({4, 4, 2, 3, 3, 3, 1, 1}, 2, 0);
    p.dz[4] = std::numeric_limits<float>::quiet_NaN();
    Tensor dw({3, 18}), db({3});
    kernels::conv2d_weight_gradient(test_execution(), p.x_view(), p.dz_view(), p.s, dw, db.flat());
    CHECK(std::isnan(db.data()[1]));
    CHECK(std::isnan(dw.data()[18]));
    CHECK(std::isfinite(db.data()[0]));
    CHECK(std::isfinite(dw.data()[0]));
  }
  SECTION("no samples give a gradient of zero") {
    const ConvShape s{4, 4, 2, 3, 3, 3, 1, 1};
    Tensor x({0, 32}), dz({0, 48}), dw({3, 18}), db({3});
    std::fill(dw.flat().begin(), dw.flat().end(), 5.0F);
    std::fill(db.flat().begin(), db.flat().end(), 5.0F);
    kernels::conv2d_weight_gradient(test_execution(), x, dz, s, dw, db.flat());
    for (const float g : dw.flat()) CHECK(g == 0.0F);
    for (const float g : db.flat()) CHECK(g == 0.0F);
  }
  SECTION("threads do not change a bit") { check_threads({{9, 9, 7, 21, 3, 3, 1, 1}, 50, 0}); }
  SECTION("what does not fit is an error that says so") {
    const Problem p({4, 4, 2, 3, 3, 3, 1, 1}, 2, 0);
    Tensor dw({3, 18}), flat({3, 17}), db({3}), many({4});
    expect_error(ErrorCode::usage, {"conv2d_weight_gradient", "expected dw of 3 x 18, found 3x17"}, [&] {
      kernels::conv2d_weight_gradient(test_execution(), p.x_view(), p.dz_view(), p.s, flat, db.flat());
    });
    expect_error(ErrorCode::usage, {"expected db of 3 elements, found 4"}, [&] {
      kernels::conv2d_weight_gradient(test_execution(), p.x_view(), p.dz_view(), p.s, dw, many.flat());
    });
    expect_error(ErrorCode::usage, {"expected db and dz apart"}, [&] {
      Tensor dz({2, 48});
      kernels::conv2d_weight_gradient(test_execution(), p.x_view(), dz, p.s, dw, dz.flat().first(3));
    });
  }
}
