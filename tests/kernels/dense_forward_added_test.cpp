// Y = f(X W^T + A) with rows of A that repeat, against plain float64 loops.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/dense.h"
#include "support/expect_error.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;

struct Shape {
  std::int64_t batch, period, fan_in, fan_out, gap;
};
const Shape shapes[] = {{1, 1, 1, 1, 0},      {2, 1, 3, 5, 1},    {6, 3, 17, 16, 0},    {7, 3, 10, 33, 0},
                        {22, 11, 33, 31, 2},  {24, 12, 1, 47, 0}, {74, 37, 129, 11, 0}, {128, 64, 63, 65, 3},
                        {10, 4, 1601, 21, 0}, {5, 9, 20, 34, 0}};

}  // namespace

TEST_CASE("dense_forward_added", "[dense_forward_added]") {
  for (const Shape& s : shapes) {
    for (const Activation& f : {Activation{ActivationKind::identity}, Activation{ActivationKind::leaky_relu, 0.2F}}) {
      CAPTURE(s.batch, s.period, s.fan_in, s.fan_out, s.gap, to_string(f));
      const std::int64_t in_stride = s.fan_in + s.gap, out_stride = s.fan_out + s.gap;
      const auto x = test_normals(s.batch * in_stride, 1), w = test_normals(s.fan_out * in_stride, 2),
                 added = test_normals(s.period * out_stride, 3);
      Tensor one({s.batch, s.fan_out});
      for (const int threads : {1, 4}) {
        Guarded<float> y(s.batch, s.fan_out, s.gap);
        y.fill(std::numeric_limits<float>::quiet_NaN());
        kernels::dense_forward_added(test_execution(threads), ConstTensorView(x.data(), s.batch, s.fan_in, in_stride),
                                     ConstTensorView(w.data(), s.fan_out, s.fan_in, in_stride),
                                     ConstTensorView(added.data(), s.period, s.fan_out, out_stride), f, y.view());
        y.check();
        for (std::int64_t n = 0; n < s.batch; ++n) {
          for (std::int64_t m = 0; m < s.fan_out; ++m) {
            double z = added[static_cast<std::size_t>(n % s.period * out_stride + m)], magnitude = std::abs(z);
            for (std::int64_t k = 0; k < s.fan_in; ++k) {
              const double term = static_cast<double>(x[static_cast<std::size_t>(n * in_stride + k)]) *
                                  static_cast<double>(w[static_cast<std::size_t>(m * in_stride + k)]);
              z += term;
              magnitude += std::abs(term);
            }
            const double expected = z > 0 ? z : static_cast<double>(negative_slope(f)) * z;
            // Rounding errors of the additions behave like a random walk.
            const double bound = (4 * std::sqrt(static_cast<double>(s.fan_in)) + 4) * epsilon * magnitude;
            if (!(std::abs(y(n, m) - expected) <= bound))
              FAIL("at sample " << n << ", unit " << m << ": expected " << expected << ", found " << y(n, m));
            if (threads == 1) one.view()(n, m) = y(n, m);
            if (threads == 4 && one.view()(n, m) != y(n, m)) FAIL("threads change a bit");
          }
        }
      }
    }
  }
}

TEST_CASE("dense_forward_added refuses what does not fit", "[dense_forward_added]") {
  const std::vector<float> x(6, 1.0F), w(6, 1.0F), added(4);
  Guarded<float> y(2, 2);
  const ConstTensorView xv(x.data(), {2, 3}), wv(w.data(), {2, 3});
  const auto call = [&](const ConstTensorView& a, const Activation& f) {
    return [&, a, f] { kernels::dense_forward_added(test_execution(), xv, wv, a, f, y.view()); };
  };
  expect_error(ErrorCode::usage, {"dense_forward_added", "added"}, call({added.data(), {4, 1}}, {}));
  expect_error(ErrorCode::usage, {"dense_forward_added", "rows of added"}, call({added.data(), 0, 2, 2}, {}));
  expect_error(ErrorCode::usage, {"tanh"}, call({added.data(), {2, 2}}, {ActivationKind::tanh}));
  // An empty batch changes nothing.
  kernels::dense_forward_added(test_execution(), ConstTensorView(x.data(), 0, 3, 3), wv,
                               ConstTensorView(added.data(), {2, 2}), {}, TensorView(y.data(), 0, 2, 2));
  y.check();
}

TEST_CASE("dense_forward_added without inputs is f of what is added", "[dense_forward_added]") {
  const float none[1] = {};
  const std::vector<float> added{1, -2, 3, -4};
  Guarded<float> y(3, 2);
  kernels::dense_forward_added(test_execution(), ConstTensorView(none, {3, 0}), ConstTensorView(none, {2, 0}),
                               ConstTensorView(added.data(), {2, 2}), {ActivationKind::relu}, y.view());
  y.check();
  for (std::int64_t n = 0; n < 3; ++n)
    for (std::int64_t m = 0; m < 2; ++m)
      CHECK(y(n, m) == std::max(added[static_cast<std::size_t>(n % 2 * 2 + m)], 0.0F));
}
