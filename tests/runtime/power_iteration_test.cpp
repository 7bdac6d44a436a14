// Power iteration against Eigen's singular values.
#include "nn/power_iteration.h"

#include <Eigen/SVD>
#include <cmath>

#include "support/expect_error.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

double slope(const Activation& f, double y) {
  if (f.kind == ActivationKind::tanh) return 1 - y * y;
  return y > 0 ? 1 : 0;
}

void check(std::int64_t samples, std::int64_t fan_out, std::int64_t fan_in, const Activation& f) {
  CAPTURE(samples, fan_out, fan_in, to_string(f));
  const auto w = test_normals(fan_out * fan_in, 1, 1 / std::sqrt(static_cast<double>(fan_in)));
  auto y = test_normals(samples * fan_out, 2);
  for (float& v : y) v = f.kind == ActivationKind::tanh ? std::tanh(v) : std::max(v, 0.0F);
  if (samples > 2) std::fill_n(y.begin(), fan_out, f.kind == ActivationKind::tanh ? 1.0F : 0.0F);  // J = 0
  const kernels::Derivative at{ConstTensorView(y.data(), {samples, fan_out}), f};
  const auto found = largest_singular_values(ConstTensorView(w.data(), {fan_out, fan_in}), at,
                                             {.max_iterations = 2000, .tolerance = 1e-7}, {.threads = 2});
  const auto again = largest_singular_values(ConstTensorView(w.data(), {fan_out, fan_in}), at,
                                             {.max_iterations = 2000, .tolerance = 1e-7}, {.threads = 1});
  CHECK(found.value == again.value);
  for (std::int64_t n = 0; n < samples; ++n) {
    Eigen::MatrixXd j(fan_out, fan_in);
    for (std::int64_t m = 0; m < fan_out; ++m)
      for (std::int64_t k = 0; k < fan_in; ++k) j(m, k) = slope(f, y[n * fan_out + m]) * double{w[m * fan_in + k]};
    const double expected = Eigen::JacobiSVD<Eigen::MatrixXd>(j).singularValues()(0);
    CHECK(found.value[n] <= expected * (1 + 1e-5));
    CHECK(found.value[n] >= expected * (1 - 1e-3));
  }
}

}  // namespace

TEST_CASE("largest singular values of diag f' W", "[power_iteration]") {
  check(7, 20, 31, {ActivationKind::relu});
  check(5, 17, 9, {ActivationKind::tanh});
  check(1, 1, 1, {ActivationKind::tanh});
  check(3, 40, 3, {ActivationKind::relu});
}

TEST_CASE("power iteration reports what has not converged and refuses what does not fit", "[power_iteration]") {
  const auto w = test_normals(30 * 30, 1);
  const std::vector<float> ones(4 * 30, 1.0F);
  const kernels::Derivative at{ConstTensorView(ones.data(), {4, 30}), {ActivationKind::relu}};
  const ConstTensorView wv(w.data(), {30, 30});
  const auto stopped = largest_singular_values(wv, at, {.max_iterations = 3, .tolerance = 0}, {.threads = 1});
  CHECK(stopped.iterations == 3);
  CHECK(stopped.unconverged == 4);
  CHECK(largest_singular_values(wv, at, {.tolerance = 1e-2}, {.threads = 1}).unconverged == 0);
  expect_error(ErrorCode::usage, {"largest_singular_values", "0"},
               [&] { (void)largest_singular_values(wv, at, {.max_iterations = 0}, {}); });
}
