// Y = f(X * W + b) against plain float64 loops.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/conv.h"
#include "support/conv_reference.h"
#include "support/expect_error.h"
#include "support/kernel_test.h"

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
      const double bound = random_walk_bound(s.fan_in() + 1, z.magnitude[i]) + 8 * 0x1p-24 * std::abs(expected);
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

struct Small {
  ConvShape s{4, 4, 2, 3, 3, 3, 1, 1};
  Tensor x{{2, 32}}, w{{3, 18}}, b{{3}}, y{{2, 48}};
  void run() { kernels::conv2d_forward(test_execution(), x, w, b.flat(), {}, s, y); }
};

}  // namespace

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
  SECTION("threads do not change a bit") {
    const ConvShape s{9, 9, 7, 21, 3, 3, 1, 1};
    const auto x = test_normals(11 * s.in_features(), 1), w = test_normals(21 * s.fan_in(), 2);
    const auto bias = test_normals(21, 3);
    std::vector<Tensor> y;
    for (const int threads : {1, 2, 4}) {
      y.emplace_back(std::vector<std::int64_t>{11, s.out_features()});
      kernels::conv2d_forward(test_execution(threads), ConstTensorView(x.data(), {11, s.in_features()}),
                              ConstTensorView(w.data(), {21, s.fan_in()}), bias, {}, s, y.back());
      CHECK(std::equal(y[0].flat().begin(), y[0].flat().end(), y.back().flat().begin()));
    }
  }
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
