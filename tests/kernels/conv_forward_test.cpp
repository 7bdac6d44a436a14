// Y = f(X * W + b) against plain float64 loops.
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

double reference_activation(const Activation& activation, double z) {
  switch (activation.kind) {
    case ActivationKind::identity: return z;
    case ActivationKind::relu: return z > 0 ? z : 0;
    case ActivationKind::leaky_relu: return z > 0 ? z : static_cast<double>(activation.negative_slope) * z;
    case ActivationKind::tanh: return std::tanh(z);
    case ActivationKind::sigmoid: return 1 / (1 + std::exp(-z));
  }
  return 0;
}

// Winograd's filtering at element i of a sample, whose pixels and weights are given.
double filtered_bound(const ConvShape& s, std::int64_t i, const std::function<double(std::int64_t)>& x,
                      const std::function<double(std::int64_t, std::int64_t)>& w) {
  const std::int64_t o = i % s.channels_out, ox = i / s.channels_out % s.out_width(),
                     oy = i / s.channels_out / s.out_width();
  const auto pixel = [&](std::int64_t row, std::int64_t col, std::int64_t c) {
    const std::int64_t iy = row - s.padding, ix = col - s.padding;
    return iy < 0 || ix < 0 || iy >= s.height || ix >= s.width ? 0.0 : x((iy * s.width + ix) * s.channels_in + c);
  };
  const auto weight = [&](auto c, auto ky, auto kx) { return w(o, (c * 3 + ky) * 3 + kx); };
  return random_walk_bound(s.channels_in + winograd_roundings,
                           filtered_magnitude(s.channels_in, oy, ox, pixel, weight));
}

void check_shape(const ConvShape& s, std::int64_t batch, const Activation& activation, std::int64_t gap,
                 double scale = 1) {
  CAPTURE(batch, s.height, s.width, s.channels_in, s.channels_out, s.kernel_height, s.kernel_width, s.stride, s.padding,
          gap, to_string(activation));
  const std::int64_t x_stride = s.in_features() + gap, w_stride = s.fan_in() + gap;
  const auto x = test_normals(batch * x_stride, 1);
  const auto w = test_normals(s.channels_out * w_stride, 2, scale / std::sqrt(static_cast<double>(s.fan_in())));
  const auto bias = test_normals(s.channels_out, 3);
  Guarded<float> y(batch, s.out_features(), gap);
  y.fill(std::numeric_limits<float>::quiet_NaN());
  kernels::conv2d_forward(test_execution(), ConstTensorView(x.data(), batch, s.in_features(), x_stride),
                          ConstTensorView(w.data(), s.channels_out, s.fan_in(), w_stride), bias, activation, s,
                          y.view());
  y.check();
  const bool winograd = kernels::by_winograd(*test_execution().target, kernels::ConvPass::forward, s, batch);
  for (std::int64_t n = 0; n < batch; ++n) {
    Sums z(s.out_features());
    for (std::int64_t i = 0; i < s.out_features(); ++i) z.add(i, bias[i % s.channels_out]);
    for_each_term(s, [&](const ConvTerm& t) {
      const std::int64_t weight = t.weight / s.fan_in() * w_stride + t.weight % s.fan_in();
      z.add(t.output, static_cast<double>(x[n * x_stride + t.input]) * static_cast<double>(w[weight]));
    });
    for (std::int64_t i = 0; i < s.out_features(); ++i) {
      // 1-Lipschitz activations do not amplify errors; the two smooth ones are within 4 ulp of their argument's value.
      const double expected = reference_activation(activation, z.value[i]);
      double bound = random_walk_bound(winograd ? s.channels_in + winograd_roundings : s.fan_in() + 1, z.magnitude[i]) +
                     8 * 0x1p-24 * std::abs(expected);
      if (winograd && std::abs(y(n, i) - expected) > bound) {
        bound += filtered_bound(
            s, i, [&](auto e) { return x[n * x_stride + e]; }, [&](auto o, auto e) { return w[o * w_stride + e]; });
      }
      if (!(std::abs(y(n, i) - expected) <= bound)) {
        FAIL("at sample " << n << ", element " << i << ": expected " << expected << " within " << bound << ", found "
                          << y(n, i));
      }
    }
  }
}

void check_all(const Activation& activation) {
  for (const ConvShape& s : conv_shapes()) check_shape(s, 3, activation, 0);
  check_shape({6, 5, 5, 18, 3, 3, 1, 1}, 2, activation, 3);
  check_shape({6, 5, 5, 18, 3, 3, 1, 1}, 19, activation, 0, 20.0);  // far into saturation
}

// Odd and even sizes, borders of 0 to 2 pixels, channels around vectors, panels and the fewest that are filtered.
void check_winograd(const Activation& activation) {
  for (const ConvShape& s : {ConvShape{8, 8, 64, 64, 3, 3, 1, 1},
                             {7, 9, 65, 67, 3, 3, 1, 1},
                             {6, 6, 70, 96, 3, 3, 1, 0},
                             {5, 6, 64, 79, 3, 3, 1, 2},
                             {12, 3, 80, 64, 3, 3, 1, 1},
                             {4, 4, 97, 100, 3, 3, 1, 2}})
    check_shape(s, 4, activation, s.padding);
  if (test_execution().target->gpu) return;
  for (const ConvShape& s : {ConvShape{8, 8, 16, 16, 3, 3, 1, 1},
                             {7, 7, 17, 31, 3, 3, 1, 1},
                             {9, 8, 33, 16, 3, 3, 1, 1},
                             {6, 6, 24, 48, 3, 3, 1, 1}})
    check_shape(s, 5, activation, 0);
}

void check_threads(const ConvShape& s) {
  const auto x = test_normals(11 * s.in_features(), 1), w = test_normals(s.channels_out * s.fan_in(), 2);
  const auto bias = test_normals(s.channels_out, 3);
  std::vector<Tensor> y;
  for (const int threads : {1, 2, 4}) {
    y.emplace_back(std::vector<std::int64_t>{11, s.out_features()});
    kernels::conv2d_forward(test_execution(threads), ConstTensorView(x.data(), {11, s.in_features()}),
                            ConstTensorView(w.data(), {s.channels_out, s.fan_in()}), bias, {}, s, y.back());
    CHECK(std::equal(y[0].flat().begin(), y[0].flat().end(), y.back().flat().begin()));
  }
}

struct Small {
  ConvShape s{4, 4, 2, 3, 3, 3, 1, 1};
  Tensor x{{2, 32}}, w{{3, 18}}, b{{3}}, y{{2, 48}};
  void run() { kernels::conv2d_forward(test_execution(), x, w, b.flat(), {}, s, y); }
};

}  // namespace

TEST_CASE("conv2d_forward by Winograd's filtering", "[conv2d_winograd_forward]") {
  check_winograd({ActivationKind::relu});
  check_winograd({ActivationKind::leaky_relu, 0.2F});
  SECTION("threads do not change a bit") { check_threads({9, 9, 65, 70, 3, 3, 1, 1}); }
  SECTION("a NaN in the image or in the weights stays visible") {
    const ConvShape s{8, 8, 64, 64, 3, 3, 1, 1};
    Tensor x({2, s.in_features()}), w({64, s.fan_in()}), b({64}), y({2, s.out_features()});
    x.data()[0] = std::numeric_limits<float>::quiet_NaN();
    kernels::conv2d_forward(test_execution(), x, w, b.flat(), {}, s, y);
    for (const std::int64_t pixel : {0, 1, 8, 9}) CHECK(std::isnan(y.data()[pixel * 64]));
    CHECK(y.data()[4 * 64] == 0.0F);
    x.data()[0] = 0;
    w.data()[s.fan_in()] = std::numeric_limits<float>::quiet_NaN();
    kernels::conv2d_forward(test_execution(), x, w, b.flat(), {}, s, y);
    CHECK(y.data()[0] == 0.0F);
    CHECK(std::isnan(y.data()[1]));
  }
}

TEST_CASE("conv2d_forward by Winograd's filtering: tanh", "[conv2d_winograd_forward_tanh]") {
  check_winograd({ActivationKind::tanh});
}

TEST_CASE("conv2d_forward by Winograd's filtering: sigmoid", "[conv2d_winograd_forward_sigmoid]") {
  check_winograd({ActivationKind::sigmoid});
}

TEST_CASE("which convolutions are filtered", "[conv2d_winograd_forward]") {
  const kernels::Target& target = *test_execution().target;
  const auto filtered = [&](const ConvShape& s, std::int64_t samples) {
    return kernels::by_winograd(target, kernels::ConvPass::forward, s, samples);
  };
  CHECK(filtered({8, 8, 64, 64, 3, 3, 1, 1}, 2));
  CHECK_FALSE(filtered({8, 8, 64, 64, 3, 3, 2, 1}, 2));   // a stride
  CHECK_FALSE(filtered({8, 8, 64, 64, 5, 3, 1, 1}, 2));   // another kernel
  CHECK_FALSE(filtered({8, 8, 64, 3, 3, 3, 1, 1}, 2));    // few channels
  CHECK_FALSE(filtered({8, 8, 64, 64, 3, 3, 1, 1}, 1));   // few tiles
  CHECK_FALSE(filtered({3, 3, 64, 64, 3, 3, 1, 0}, 99));  // one pixel a tile
}

TEST_CASE("conv2d_forward: bias and piecewise-linear activation", "[conv2d_forward]") {
  check_all({ActivationKind::relu});
  check_shape({8, 8, 3, 16, 3, 3, 1, 1}, 1, {ActivationKind::identity}, 0);
  check_shape({7, 9, 6, 11, 3, 3, 2, 0}, 4, {ActivationKind::leaky_relu, 0.2F}, 1);

  SECTION("several panels and blocks of terms") {
    check_shape({8, 8, 150, 100, 3, 3, 1, 1}, 2, {ActivationKind::identity}, 0);
  }
  SECTION("a NaN in the image or in the weights stays visible") {
    Small p;
    p.x.data()[0] = std::numeric_limits<float>::quiet_NaN();
    p.run();
    for (const std::int64_t pixel : {0, 1, 4, 5}) CHECK(std::isnan(p.y.data()[pixel * 3]));
    CHECK(p.y.data()[2 * 3] == 0.0F);
    p.x.data()[0] = 0;
    p.w.data()[18] = std::numeric_limits<float>::quiet_NaN();
    p.run();
    CHECK(p.y.data()[0] == 0.0F);
    CHECK(std::isnan(p.y.data()[1]));
  }
  SECTION("threads do not change a bit") { check_threads({9, 9, 7, 21, 3, 3, 1, 1}); }
  SECTION("an empty batch is no work") {
    const Small p;
    Tensor none({0, 32}), y({0, 48});
    CHECK_NOTHROW(kernels::conv2d_forward(test_execution(), none, p.w, p.b.flat(), {}, p.s, y));
  }
  SECTION("what does not fit is an error that says so") {
    Small p;
    const auto expect = [&](std::initializer_list<std::string> parts) {
      expect_error(ErrorCode::usage, parts, [&] { p.run(); });
    };
    p.s.kernel_height = 7;
    expect({"conv2d_forward", "padded image of 6 x 6", "found 7 x 3"});
    p.s = Small().s;
    p.s.stride = 0;
    expect({"stride of at least 1, found 0"});
    p.s = Small().s;
    p.s.padding = -1;
    expect({"padding of at least 0, found -1"});
    p.s = Small().s;
    p.s.channels_in = 0;
    expect({"number of channels in of at least 1, found 0"});
    p.s = Small().s;
    p.s.width = 1 << 20;
    expect({"extents of at most 32768, found 1048576"});
    p.s = {1 << 14, 1 << 14, 8, 8, 3, 3, 1, 1};
    expect({"less than 2 GiB"});
    p.s = Small().s;
    p.s.padding = 0;
    expect({"expected y of 2 x 12, found 2x48"});
    p.s = Small().s;
    p.s.channels_out = 4;
    expect({"expected w of 4 x 18, found 3x18"});
    p.s = Small().s;
    expect_error(ErrorCode::usage, {"expected y and x apart"}, [&] {
      kernels::conv2d_forward(test_execution(), ConstTensorView(p.y.data(), {2, 32}), p.w, p.b.flat(), {}, p.s, p.y);
    });
  }
}

TEST_CASE("conv2d_forward_tanh", "[conv2d_forward_tanh]") { check_all({ActivationKind::tanh}); }

TEST_CASE("conv2d_forward_sigmoid", "[conv2d_forward_sigmoid]") { check_all({ActivationKind::sigmoid}); }
