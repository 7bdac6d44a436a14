// Y = f(X W^T + b) against plain float64 loops.
#include <algorithm>
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
// One, primes, one less and one more than register tiles of 4, 6, 8 and 10 rows and panels of 8 to 48 columns; a few
// samples of many features, and sums so long that they are added up in blocks.
const Shape shapes[] = {{1, 1, 1},     {1, 129, 100}, {2, 3, 5},    {3, 17, 16},  {7, 8, 15},    {9, 31, 17},
                        {10, 32, 32},  {11, 33, 31},  {12, 1, 33},  {13, 64, 47}, {37, 129, 11}, {64, 63, 65},
                        {161, 20, 10}, {100, 32, 3},  {5, 300, 49}, {16, 700, 9}, {23, 1601, 21}};

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

// Rows `gap` elements further apart than they are long.
std::vector<float> strided(std::int64_t rows, std::int64_t cols, std::int64_t gap, std::uint32_t unit, double stddev) {
  return test_normals(rows * (cols + gap), unit, stddev);
}

void check_shape(const Shape& s, const Activation& activation, std::int64_t gap, double weight_scale = 1) {
  CAPTURE(s.batch, s.fan_in, s.fan_out, gap, to_string(activation));
  const auto x = strided(s.batch, s.fan_in, gap, 1, 1.0);
  const auto w = strided(s.fan_out, s.fan_in, gap, 2, weight_scale / std::sqrt(static_cast<double>(s.fan_in)));
  const auto bias = test_normals(s.fan_out, 3);
  Guarded<float> y(s.batch, s.fan_out, gap);
  y.fill(std::numeric_limits<float>::quiet_NaN());
  const std::int64_t stride = s.fan_in + gap;
  kernels::dense_forward(test_execution(), ConstTensorView(x.data(), s.batch, s.fan_in, stride),
                         ConstTensorView(w.data(), s.fan_out, s.fan_in, stride), bias, activation, y.view());
  y.check();
  for (std::int64_t n = 0; n < s.batch; ++n) {
    for (std::int64_t m = 0; m < s.fan_out; ++m) {
      double z = bias[m], magnitude = std::abs(z);
      for (std::int64_t k = 0; k < s.fan_in; ++k) {
        const double term = static_cast<double>(x[n * stride + k]) * static_cast<double>(w[m * stride + k]);
        z += term;
        magnitude += std::abs(term);
      }
      // Errors of the additions behave like a random walk; 1-Lipschitz activations do not amplify them. The two smooth
      // ones are within 4 ulp of their own argument's value.
      const double expected = reference_activation(activation, z);
      const double bound =
          (4 * std::sqrt(static_cast<double>(s.fan_in)) + 4) * epsilon * magnitude + 8 * epsilon * std::abs(expected);
      if (!(std::abs(y(n, m) - expected) <= bound)) {
        FAIL("at sample " << n << ", unit " << m << ": expected " << expected << " within " << bound << ", found "
                          << y(n, m));
      }
    }
  }
}

void check_all(const Activation& activation) {
  for (const Shape& s : shapes) check_shape(s, activation, 0);
  check_shape({33, 45, 34}, activation, 3);
  check_shape({10, 128, 32}, activation, 0, 30.0);  // far into saturation
}

void check_bad_numbers(const Activation& activation, double at_minus_infinity, double at_infinity) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {1.0F, std::numeric_limits<float>::quiet_NaN(), infinity, -infinity, -1e30F, 1e30F};
  const std::vector<float> w = {1.0F}, bias = {0.0F};
  Guarded<float> y(6, 1);
  kernels::dense_forward(test_execution(), ConstTensorView(x.data(), {6, 1}), ConstTensorView(w.data(), {1, 1}), bias,
                         activation, y.view());
  CHECK(y(0, 0) == Approx(reference_activation(activation, 1.0)));
  CHECK(std::isnan(y(1, 0)));
  CHECK(y(2, 0) == at_infinity);
  CHECK(y(3, 0) == at_minus_infinity);
  CHECK(y(4, 0) == Approx(reference_activation(activation, -1e30)));
  CHECK(y(5, 0) == Approx(reference_activation(activation, 1e30)));
}

}  // namespace

TEST_CASE("dense_forward: bias and piecewise-linear activation", "[dense_forward]") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  check_all({ActivationKind::relu});
  check_shape({64, 63, 65}, {ActivationKind::identity}, 0);
  check_shape({37, 29, 11}, {ActivationKind::leaky_relu, 0.2F}, 1);
  check_bad_numbers({ActivationKind::relu}, 0, infinity);
  check_bad_numbers({ActivationKind::identity}, -infinity, infinity);
  check_bad_numbers({ActivationKind::leaky_relu, 0.5F}, -infinity, infinity);

  SECTION("threads do not change a bit") {
    const auto x = test_normals(100 * 70, 1), w = test_normals(90 * 70, 2), bias = test_normals(90, 3);
    Tensor one({100, 90}), four({100, 90});
    const ConstTensorView xv(x.data(), {100, 70}), wv(w.data(), {90, 70});
    kernels::dense_forward(test_execution(1), xv, wv, bias, {}, one);
    kernels::dense_forward(test_execution(4), xv, wv, bias, {}, four);
    CHECK(std::equal(one.flat().begin(), one.flat().end(), four.flat().begin()));
  }
  SECTION("an empty batch is no work, a wrong shape an error that names it") {
    const auto w = test_normals(6, 2), bias = test_normals(2, 3);
    Tensor none({0, 2}), x({0, 3}), y({4, 2}), narrow({4, 5});
    CHECK_NOTHROW(kernels::dense_forward(test_execution(), x, ConstTensorView(w.data(), {2, 3}), bias, {}, none));
    CHECK_THROWS_WITH(kernels::dense_forward(test_execution(), narrow, ConstTensorView(w.data(), {2, 3}), bias, {}, y),
                      Catch::Contains("expected x of 4 x 3, found 4x5"));
  }
}

// Sums and the activation at batches on either side of where the kernel of dot products gives way to tiles; fan-ins
// that fill its steps and that do not, and fan-outs that do and do not divide into its groups.
namespace {
void check_few(const Activation& activation) {
  for (const std::int64_t batch : {1, 2, 3, 15, 16, 17}) {
    for (const std::int64_t fan_in : {40 * batch, 40 * batch + 7, 40 * batch - 1}) {
      for (const std::int64_t fan_out : {1, 6, 13}) check_shape({batch, fan_in, fan_out}, activation, 0);
    }
  }
  check_shape({1, 784, 100}, activation, 0);
  check_shape({2, 131, 47}, activation, 3);
}
}  // namespace

TEST_CASE("dense_forward_few", "[dense_forward_few]") {
  check_few({ActivationKind::leaky_relu, 0.1F});
  // One result for any number of threads, and NaN shows.
  const auto x = test_normals(1601, 1), w = test_normals(300 * 1601, 2), bias = test_normals(300, 3);
  const auto run = [&](int threads, const std::vector<float>& input) {
    std::vector<float> y(300);
    kernels::dense_forward(test_execution(threads), ConstTensorView(input.data(), {1, 1601}),
                           ConstTensorView(w.data(), {300, 1601}), bias, {ActivationKind::identity},
                           TensorView(y.data(), {1, 300}));
    return y;
  };
  const std::vector<float> one = run(1, x);
  CHECK(one == run(2, x));
  CHECK(one == run(4, x));
  for (const std::size_t at : {0U, 777U, 1600U}) {
    auto bad = x;
    bad[at] = std::numeric_limits<float>::quiet_NaN();
    for (const float v : run(2, bad)) CHECK(std::isnan(v));
  }
}

TEST_CASE("dense_forward_few_tanh", "[dense_forward_few_tanh]") { check_few({ActivationKind::tanh}); }

TEST_CASE("dense_forward_few_sigmoid", "[dense_forward_few_sigmoid]") { check_few({ActivationKind::sigmoid}); }

TEST_CASE("dense_forward_tanh", "[dense_forward_tanh]") {
  check_all({ActivationKind::tanh});
  check_bad_numbers({ActivationKind::tanh}, -1, 1);
}

TEST_CASE("dense_forward_sigmoid", "[dense_forward_sigmoid]") {
  check_all({ActivationKind::sigmoid});
  check_bad_numbers({ActivationKind::sigmoid}, 0, 1);
}

TEST_CASE("dense_forward without inputs is f of the biases", "[dense_forward]") {
  const float none[1] = {};
  const std::vector<float> bias{1, -2, 3};
  Guarded<float> y(2, 3);
  kernels::dense_forward(test_execution(), ConstTensorView(none, {2, 0}), ConstTensorView(none, {3, 0}), bias,
                         {ActivationKind::relu}, y.view());
  y.check();
  for (std::int64_t n = 0; n < 2; ++n)
    for (std::int64_t m = 0; m < 3; ++m) CHECK(y(n, m) == std::max(bias[static_cast<std::size_t>(m)], 0.0F));
}
