// Perturbed dense layers: their noise is philox_normal's bit for bit, and the products are those of a float64 loop.
#include "kernels/perturbed.h"

#include <cmath>
#include <limits>

#include "kernels/random.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;
const kernels::Perturbation perturbation{
    {.seed = 0x1122334455667788U, .purpose = Purpose::perturbation, .unit = 1, .step = 4}, 0.3F, 0.2F};

struct Shape {
  std::int64_t samples, batch, fan_in, fan_out, gap;
};
// Around a panel of 8 to 64 columns, a tile of 4 to 10 rows, and blocks of four.
const Shape shapes[] = {{1, 1, 1, 1, 0},    {3, 2, 5, 3, 1},    {2, 7, 16, 17, 0},  {2, 5, 33, 31, 3},
                        {4, 13, 63, 64, 0}, {1, 50, 65, 10, 0}, {2, 3, 7, 129, 2},  {0, 4, 4, 4, 0},
                        {2, 0, 4, 4, 0},    {2, 3, 4, 0, 0},    {2, 11, 128, 32, 0}};

// W + E_s and b + e_s as philox_normal draws them: sample by sample, row by row of M x (K rounded up to blocks).
struct Drawn {
  std::vector<float> weights, biases;
  Drawn(const Shape& s, std::int64_t sample, const std::vector<float>& w, std::int64_t stride,
        const std::vector<float>& bias, float weight_stddev, float bias_stddev) {
    const std::int64_t row_blocks = (s.fan_in + 3) / 4;
    const std::int64_t base = sample * kernels::perturbation_blocks(s.fan_in, s.fan_out);
    std::vector<float> noise(static_cast<std::size_t>(4 * row_blocks * s.fan_out));
    const auto fill = [&](float stddev, std::int64_t block) {
      kernels::philox_normal(test_execution(), perturbation.stream, 0.0F, stddev, noise,
                             static_cast<std::uint32_t>(block));
    };
    fill(weight_stddev, base);
    for (std::int64_t m = 0; m < s.fan_out; ++m) {
      for (std::int64_t k = 0; k < s.fan_in; ++k) weights.push_back(w[m * stride + k] + noise[4 * row_blocks * m + k]);
    }
    noise.resize(static_cast<std::size_t>(s.fan_out));
    fill(bias_stddev, base + s.fan_out * row_blocks);
    for (std::int64_t m = 0; m < s.fan_out; ++m) biases.push_back(bias[m] + noise[m]);
  }
};

// On a device multiply and add may be fused, in W + E_s too: a few units in the last place of what was added.
double noise_rounding() { return test_execution().target->gpu ? 16 * epsilon : 0; }

double bound_of(std::int64_t terms, double magnitude) {
  return (4 * std::sqrt(static_cast<double>(terms)) + 4) * epsilon * magnitude;
}

double value_of(const Activation& a, double z) {
  switch (a.kind) {
    case ActivationKind::identity: return z;
    case ActivationKind::relu: return std::max(z, 0.0);
    case ActivationKind::leaky_relu: return z > 0 ? z : a.negative_slope * z;
    case ActivationKind::tanh: return std::tanh(z);
    case ActivationKind::sigmoid: return 1 / (1 + std::exp(-z));
  }
  return 0;
}
double slope_at(const Activation& a, double y) {
  switch (a.kind) {
    case ActivationKind::identity: return 1;
    case ActivationKind::relu: return y > 0 ? 1 : 0;
    case ActivationKind::leaky_relu: return y > 0 ? 1 : a.negative_slope;
    case ActivationKind::tanh: return 1 - y * y;
    case ActivationKind::sigmoid: return y * (1 - y);
  }
  return 0;
}

void check_forward(const Shape& s, const Activation& activation, bool shared) {
  CAPTURE(s.samples, s.batch, s.fan_in, s.fan_out, s.gap, shared, to_string(activation));
  const std::int64_t stride = s.fan_in + s.gap, size = s.batch * s.fan_in;
  const auto x = test_normals(std::max<std::int64_t>(1, (shared ? 1 : s.samples) * (size + s.gap)), 1);
  const auto w = test_normals(s.fan_out * stride, 2, 0.5), bias = test_normals(s.fan_out, 3);
  Guarded<float> y(s.samples, s.batch * s.fan_out);
  std::vector<float> packed;
  for (std::int64_t i = 0; i < s.samples * size; ++i)
    packed.push_back(x[i % (shared ? std::max<std::int64_t>(size, 1) : x.size())]);
  const ConstTensorView view = shared ? ConstTensorView(packed.data(), {s.batch, s.fan_in})
                                      : ConstTensorView(packed.data(), {s.samples, s.batch, s.fan_in});
  kernels::perturbed_dense_forward(test_execution(), perturbation, view,
                                   ConstTensorView(w.data(), s.fan_out, s.fan_in, stride), bias, activation,
                                   TensorView(y.data(), {s.samples, s.batch, s.fan_out}));
  y.check();
  for (std::int64_t i = 0; i < s.samples; ++i) {
    const Drawn drawn(s, i, w, stride, bias, perturbation.weight_stddev, perturbation.bias_stddev);
    for (std::int64_t n = 0; n < s.batch; ++n) {
      for (std::int64_t m = 0; m < s.fan_out; ++m) {
        double z = drawn.biases[m], magnitude = std::abs(z);
        for (std::int64_t k = 0; k < s.fan_in; ++k) {
          const double term =
              static_cast<double>(packed[(i * s.batch + n) * s.fan_in + k]) * drawn.weights[m * s.fan_in + k];
          z += term, magnitude += std::abs(term);
        }
        const double noise = noise_rounding() * (magnitude + 8 * static_cast<double>(s.fan_in));
        const double expected = value_of(activation, z), found = y(i, n * s.fan_out + m);
        if (!(std::abs(found - expected) <= bound_of(s.fan_in, magnitude) + noise + 8 * epsilon)) {
          FAIL("at sample " << i << ", row " << n << ", unit " << m << ": expected " << expected << ", found "
                            << found);
        }
      }
    }
  }
}

void check_gradient(const Shape& s, const Activation& below) {
  CAPTURE(s.samples, s.batch, s.fan_in, s.fan_out, s.gap, to_string(below));
  const std::int64_t stride = s.fan_in + s.gap;
  const auto dz = test_normals(s.samples * s.batch * s.fan_out, 1), w = test_normals(s.fan_out * stride, 2, 0.5);
  auto x = test_normals(s.samples * s.batch * s.fan_in, 3, 0.4);
  for (std::size_t i = 0; i < x.size(); i += 7) x[i] = 0;  // the kink
  Guarded<float> dx(s.samples, s.batch * s.fan_in);
  kernels::perturbed_input_gradient(
      test_execution(), perturbation, ConstTensorView(dz.data(), {s.samples, s.batch, s.fan_out}),
      ConstTensorView(w.data(), s.fan_out, s.fan_in, stride), ConstTensorView(x.data(), {s.samples, s.batch, s.fan_in}),
      below, TensorView(dx.data(), {s.samples, s.batch, s.fan_in}));
  dx.check();
  const std::vector<float> bias(static_cast<std::size_t>(s.fan_out));
  for (std::int64_t i = 0; i < s.samples; ++i) {
    const Drawn drawn(s, i, w, stride, bias, perturbation.weight_stddev, 0);
    for (std::int64_t n = 0; n < s.batch; ++n) {
      for (std::int64_t k = 0; k < s.fan_in; ++k) {
        double sum = 0, magnitude = 0;
        for (std::int64_t m = 0; m < s.fan_out; ++m) {
          const double term =
              static_cast<double>(dz[(i * s.batch + n) * s.fan_out + m]) * drawn.weights[m * s.fan_in + k];
          sum += term, magnitude += std::abs(term);
        }
        const double slope = slope_at(below, x[(i * s.batch + n) * s.fan_in + k]), found = dx(i, n * s.fan_in + k);
        const double bound = bound_of(s.fan_out, magnitude) * std::abs(slope) + 4 * epsilon * std::abs(sum) +
                             noise_rounding() * (magnitude + 8 * static_cast<double>(s.fan_out));
        if (!(std::abs(found - slope * sum) <= bound)) {
          FAIL("at sample " << i << ", row " << n << ", feature " << k << ": expected " << slope * sum << ", found "
                            << found);
        }
      }
    }
  }
}

void check_all_forward(const Activation& activation) {
  for (const Shape& s : shapes) {
    check_forward(s, activation, false);
    check_forward(s, activation, true);
  }
}
void check_all_gradients(const Activation& below) {
  for (const Shape& s : shapes) check_gradient(s, below);
}

std::vector<float> identity(std::int64_t samples, std::int64_t size) {
  std::vector<float> x(static_cast<std::size_t>(samples * size * size));
  for (std::int64_t i = 0; i < samples * size; ++i) x[i * size + i % size] = 1;
  return x;
}

}  // namespace

TEST_CASE("perturbed_dense_forward against float64", "[perturbed_dense_forward]") {
  check_all_forward({ActivationKind::identity});
  check_all_forward({ActivationKind::relu});
}
TEST_CASE("perturbed_dense_forward, tanh", "[perturbed_dense_forward_tanh]") {
  check_all_forward({ActivationKind::tanh});
}
TEST_CASE("perturbed_dense_forward, sigmoid", "[perturbed_dense_forward_sigmoid]") {
  check_all_forward({ActivationKind::sigmoid});
}
TEST_CASE("perturbed_input_gradient against float64", "[perturbed_input_gradient]") {
  check_all_gradients({ActivationKind::identity});
  check_all_gradients({ActivationKind::relu});
}
TEST_CASE("perturbed_input_gradient, tanh", "[perturbed_input_gradient_tanh]") {
  check_all_gradients({ActivationKind::tanh});
}
TEST_CASE("perturbed_input_gradient, sigmoid", "[perturbed_input_gradient_sigmoid]") {
  check_all_gradients({ActivationKind::sigmoid});
}

TEST_CASE("forward and backward draw the noise of philox_normal, bit for bit",
          "[perturbed_dense_forward][perturbed_input_gradient]") {
  // Products with the identity are the perturbations themselves; adding 0 turns -0 into 0 on both sides.
  const Shape s{3, 0, 37, 41, 0};
  const std::vector<float> w(static_cast<std::size_t>(s.fan_out * s.fan_in)), bias(static_cast<std::size_t>(s.fan_out));
  const kernels::Perturbation weights_only{perturbation.stream, 0.3F, 0.0F};
  const auto rows = identity(1, s.fan_in), columns = identity(s.samples, s.fan_out);
  std::vector<float> forward(static_cast<std::size_t>(s.samples * s.fan_in * s.fan_out)), backward(forward.size());
  const ConstTensorView weights(w.data(), {s.fan_out, s.fan_in});
  kernels::perturbed_dense_forward(test_execution(), weights_only, ConstTensorView(rows.data(), {s.fan_in, s.fan_in}),
                                   weights, bias, {ActivationKind::identity},
                                   TensorView(forward.data(), {s.samples, s.fan_in, s.fan_out}));
  const std::vector<float> ones(backward.size(), 1.0F);
  kernels::perturbed_input_gradient(
      test_execution(), weights_only, ConstTensorView(columns.data(), {s.samples, s.fan_out, s.fan_out}), weights,
      ConstTensorView(ones.data(), {s.samples, s.fan_out, s.fan_in}), {ActivationKind::identity},
      TensorView(backward.data(), {s.samples, s.fan_out, s.fan_in}));
  for (std::int64_t i = 0; i < s.samples; ++i) {
    const Drawn drawn(s, i, w, s.fan_in, bias, 0.3F, 0);
    for (std::int64_t m = 0; m < s.fan_out; ++m) {
      for (std::int64_t k = 0; k < s.fan_in; ++k) {
        const float noise = drawn.weights[m * s.fan_in + k];
        REQUIRE(forward[(i * s.fan_in + k) * s.fan_out + m] == noise);
        REQUIRE(backward[(i * s.fan_out + m) * s.fan_in + k] == noise);
      }
    }
  }
}

TEST_CASE("a NaN shows in the input gradient of a layer without outputs", "[perturbed_input_gradient]") {
  const std::vector<float> x{1, std::numeric_limits<float>::quiet_NaN(), 3, -1};
  std::vector<float> dx(4, 7.0F);
  kernels::perturbed_input_gradient(test_execution(), {.weight_stddev = 1}, ConstTensorView(x.data(), {2, 1, 0}),
                                    ConstTensorView(x.data(), {0, 2}), ConstTensorView(x.data(), {2, 1, 2}),
                                    {ActivationKind::relu}, TensorView(dx.data(), {2, 1, 2}));
  CHECK(dx[0] == 0.0F);
  CHECK(std::isnan(dx[1]));
  CHECK(dx[2] == 0.0F);
  CHECK(dx[3] == 0.0F);
}

TEST_CASE("perturbed layers: the same bits for any number of threads, and what is refused",
          "[perturbed_dense_forward][perturbed_input_gradient]") {
  const std::int64_t samples = 5, batch = 17, fan_in = 70, fan_out = 90;
  const auto x = test_normals(samples * batch * fan_in, 1), w = test_normals(fan_out * fan_in, 2);
  const auto dz = test_normals(samples * batch * fan_out, 3), bias = test_normals(fan_out, 4);
  const ConstTensorView xs(x.data(), {samples, batch, fan_in}), weights(w.data(), {fan_out, fan_in});
  const auto both = [&](int threads) {
    std::vector<float> out(static_cast<std::size_t>(samples * batch * (fan_out + fan_in)));
    kernels::perturbed_dense_forward(test_execution(threads), perturbation, xs, weights, bias, {ActivationKind::relu},
                                     TensorView(out.data(), {samples, batch, fan_out}));
    kernels::perturbed_input_gradient(
        test_execution(threads), perturbation, ConstTensorView(dz.data(), {samples, batch, fan_out}), weights, xs,
        {ActivationKind::relu}, TensorView(out.data() + samples * batch * fan_out, {samples, batch, fan_in}));
    return out;
  };
  const auto one = both(1);
  CHECK(one == both(2));
  CHECK(one == both(4));
  std::vector<float> y(static_cast<std::size_t>(samples * batch * fan_out));
  const TensorView out(y.data(), {samples, batch, fan_out});
  const auto forward = [&](const kernels::Perturbation& p, ConstTensorView input) {
    kernels::perturbed_dense_forward(test_execution(), p, input, weights, bias, {ActivationKind::relu}, out);
  };
  CHECK_THROWS_WITH(forward({perturbation.stream, -1.0F, 0}, xs), Catch::Contains("found -1"));
  CHECK_THROWS_AS(forward({perturbation.stream, 0, NAN}, xs), Error);
  CHECK_THROWS_WITH(forward(perturbation, ConstTensorView(x.data(), {samples, batch + 1, fan_in})),
                    Catch::Contains("expected x of 5 x 17 x 70, found"));
}
