// Batch normalisation against formulas in float64, its gradients also against central differences.
#include "kernels/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;

// Samples, positions, channels: around vectors of 4 to 16 lanes and blocks of 128 rows.
struct Shape {
  std::int64_t samples, positions, channels;
};
const Shape shapes[] = {{2, 1, 1},   {3, 1, 17},  {127, 1, 5},   {128, 1, 8}, {129, 1, 33}, {1, 2, 3},
                        {4, 64, 16}, {3, 49, 31}, {257, 1, 100}, {2, 129, 7}, {1000, 1, 2}};

struct Problem {
  Problem(const Shape& shape, double mean, double stddev, std::int64_t gap = 0)
      : s(shape),
        width(s.positions * s.channels),
        stride(width + gap),
        x(test_normals(s.samples * stride, 1)),
        weight(test_normals(s.channels, 2)),
        bias(test_normals(s.channels, 3)) {
    for (float& v : x) v = static_cast<float>(mean + stddev * static_cast<double>(v));
  }
  [[nodiscard]] ConstTensorView view() const { return {x.data(), s.samples, width, stride}; }
  [[nodiscard]] double rows() const { return static_cast<double>(s.samples * s.positions); }
  // Calls visit(value of x) for all values of a channel.
  template <class F>
  void for_each(std::int64_t c, F visit) const {
    for (std::int64_t n = 0; n < s.samples; ++n)
      for (std::int64_t p = 0; p < s.positions; ++p) visit(n, p * s.channels + c);
  }
  [[nodiscard]] double at(std::int64_t n, std::int64_t k) const { return x[static_cast<std::size_t>(n * stride + k)]; }
  [[nodiscard]] std::pair<double, double> moments(std::int64_t c) const {
    double sum = 0, squares = 0;
    for_each(c, [&](auto n, auto k) { sum += at(n, k); });
    const double mean = sum / rows();
    for_each(c, [&](auto n, auto k) { squares += (at(n, k) - mean) * (at(n, k) - mean); });
    return {mean, squares / rows()};
  }
  Shape s;
  std::int64_t width, stride;
  std::vector<float> x, weight, bias;
};

double activated(const Activation& a, double z) {
  if (a.kind == ActivationKind::tanh) return std::tanh(z);
  if (a.kind == ActivationKind::sigmoid) return 1 / (1 + std::exp(-z));
  return z > 0 ? z : static_cast<double>(negative_slope(a)) * z;
}

struct Saved {
  explicit Saved(std::int64_t c)
      : mean(static_cast<std::size_t>(c)),
        inverse_std(mean),
        running_mean(mean.size(), 0.25F),
        running_variance(mean.size(), 2.0F) {}
  kernels::BatchNormSaved saved() { return {mean, inverse_std}; }
  kernels::RunningStatistics running() { return {running_mean, running_variance, 0.1F}; }
  std::vector<float> mean, inverse_std, running_mean, running_variance;
};

void check_forward(const Activation& activation) {
  for (const Shape& s : shapes) {
    // A mean of 1000 standard deviations costs the statistics no digits; what it costs x itself is in x already.
    for (const double mean : {0.3, 1000.0}) {
      const std::int64_t gap = s.positions == 1 ? 3 : 0;
      const Problem p(s, mean, 1.0, gap);
      CAPTURE(s.samples, s.positions, s.channels, mean, to_string(activation));
      Saved saved(s.channels);
      Guarded<float> y(s.samples, p.width, gap);
      kernels::batch_norm_forward(test_execution(), p.view(), {p.weight, p.bias, 1e-5F}, activation, saved.saved(),
                                  saved.running(), y.view());
      y.check();
      for (std::int64_t c = 0; c < s.channels; ++c) {
        const auto i = static_cast<std::size_t>(c);
        const auto [m, v] = p.moments(c);
        const double inverse = 1 / std::sqrt(v + static_cast<double>(1e-5F));
        // A block's 128 rows are summed in float32: the mean is off by that share of |x|, and so is each x - mean.
        const double mean_error = 130 * epsilon * std::max(std::abs(m), 1.0);
        REQUIRE(std::abs(saved.mean[i] - m) <= mean_error);
        REQUIRE(std::abs(saved.inverse_std[i] - inverse) <=
                inverse * (140 * epsilon + mean_error * mean_error / (v + 1e-5)));
        REQUIRE(std::abs(saved.running_mean[i] - (0.9 * 0.25 + 0.1 * m)) <= mean_error + 1e-7);
        const double unbiased = v * p.rows() / (p.rows() - 1);
        REQUIRE(std::abs(saved.running_variance[i] - (0.9 * 2 + 0.1 * unbiased)) <= 1e-6 + 300 * epsilon * unbiased);
        p.for_each(c, [&](auto n, auto k) {
          const double normal = (p.at(n, k) - m) * inverse, w = p.weight[i], b = p.bias[i];
          const double z = normal * w + b;
          const double error = std::abs(w) * (inverse * mean_error + std::abs(normal) * 150 * epsilon) +
                               4 * epsilon * (std::abs(b) + std::abs(normal * w)) + 8 * epsilon;
          REQUIRE(std::abs(static_cast<double>(y(n, k)) - activated(activation, z)) <= error);
        });
      }
    }
  }
}

}  // namespace

TEST_CASE("batch-norm with the batch's statistics", "[batch_norm_statistics][batch_norm_apply]") {
  check_forward({ActivationKind::identity});
  check_forward({ActivationKind::relu});
  check_forward({ActivationKind::leaky_relu, 0.2F});
}
TEST_CASE("batch-norm and tanh", "[batch_norm_apply_tanh]") { check_forward({ActivationKind::tanh}); }
TEST_CASE("batch-norm and the logistic function", "[batch_norm_apply_sigmoid]") {
  check_forward({ActivationKind::sigmoid});
}

TEST_CASE("batch-norm statistics of constants, NaN and infinity", "[batch_norm_statistics]") {
  std::vector<float> x(300 * 3, 7.0F), y(x.size());
  x[299 * 3 + 1] = std::numeric_limits<float>::quiet_NaN();
  x[150 * 3 + 2] = std::numeric_limits<float>::infinity();
  const std::vector<float> weight(3, 2.0F), bias(3, 0.5F);
  Saved saved(3);
  kernels::batch_norm_forward(test_execution(), {x.data(), {300, 3}}, {weight, bias, 1e-5F}, {ActivationKind::relu},
                              saved.saved(), saved.running(), {y.data(), {300, 3}});
  CHECK(saved.mean[0] == 7.0F);
  CHECK(y[0] == 0.5F);
  for (const int c : {1, 2}) {
    CHECK(std::isnan(saved.inverse_std[static_cast<std::size_t>(c)]));
    CHECK(std::isnan(y[static_cast<std::size_t>(c)]));
  }
}

TEST_CASE("batch-norm for inference uses the statistics it is given", "[batch_norm_apply]") {
  for (const Shape& s : {Shape{1, 1, 9}, Shape{0, 1, 4}, Shape{65, 1, 33}, Shape{3, 25, 16}}) {
    const Problem p(s, 0.5, 2.0);
    std::vector<float> mean = test_normals(s.channels, 7), variance = test_normals(s.channels, 8);
    for (float& v : variance) v = v * v + 0.1F;
    Guarded<float> y(s.samples, p.width);
    kernels::batch_norm_inference(test_execution(), p.view(), {p.weight, p.bias, 1e-3F}, mean, variance,
                                  {ActivationKind::identity}, y.view());
    y.check();
    for (std::int64_t c = 0; c < s.channels; ++c) {
      const auto i = static_cast<std::size_t>(c);
      p.for_each(c, [&](auto n, auto k) {
        const double normal = (p.at(n, k) - mean[i]) / std::sqrt(static_cast<double>(variance[i]) + 1e-3F);
        const double expected = normal * p.weight[i] + p.bias[i];
        const double size = std::abs(normal * p.weight[i]) + std::abs(static_cast<double>(p.bias[i]));
        REQUIRE(std::abs(static_cast<double>(y(n, k)) - expected) <= 6 * epsilon * size);
      });
    }
  }
}

namespace {

// Sum of dz * z as a function of all inputs, whose gradient the backward pass is; in float64.
struct Backward {
  std::vector<double> dx, dweight, dbias;
};
Backward plain_backward(const Problem& p, const std::vector<float>& dz, double eps) {
  Backward out{std::vector<double>(p.x.size()), std::vector<double>(p.weight.size()),
               std::vector<double>(p.weight.size())};
  for (std::int64_t c = 0; c < p.s.channels; ++c) {
    const auto i = static_cast<std::size_t>(c);
    const auto [m, v] = p.moments(c);
    const double inverse = 1 / std::sqrt(v + eps);
    const auto g = [&](auto n, auto k) { return static_cast<double>(dz[static_cast<std::size_t>(n * p.stride + k)]); };
    p.for_each(c, [&, m = m](auto n, auto k) {
      out.dbias[i] += g(n, k);
      out.dweight[i] += g(n, k) * (p.at(n, k) - m) * inverse;
    });
    p.for_each(c, [&, m = m](auto n, auto k) {
      out.dx[static_cast<std::size_t>(n * p.stride + k)] =
          inverse * p.weight[i] *
          (g(n, k) - out.dbias[i] / p.rows() - (p.at(n, k) - m) * inverse * out.dweight[i] / p.rows());
    });
  }
  return out;
}

// The loss sum dz * z with x (n, k) moved.
double moved_loss(Problem p, const std::vector<float>& dz, std::int64_t n, std::int64_t k, float by, double eps) {
  p.x[static_cast<std::size_t>(n * p.stride + k)] += by;
  double loss = 0;
  const std::int64_t c = k % p.s.channels;
  const auto [m, v] = p.moments(c);
  p.for_each(c, [&, m = m, v = v](auto a, auto b) {
    loss += dz[static_cast<std::size_t>(a * p.stride + b)] * (p.at(a, b) - m) / std::sqrt(v + eps) *
            p.weight[static_cast<std::size_t>(c)];
  });
  return loss;
}

}  // namespace

TEST_CASE("batch-norm's gradients", "[batch_norm_sums][batch_norm_gradient]") {
  for (const Shape& s : shapes) {
    for (const Activation& below :
         {Activation{ActivationKind::identity}, Activation{ActivationKind::relu}, Activation{ActivationKind::tanh}}) {
      const std::int64_t gap = s.positions == 1 ? 3 : 0;
      Problem p(s, 0.2, 0.7, gap);
      for (float& v : p.x) {
        if (below.kind == ActivationKind::relu) v = std::max(v, 0.0F);
        if (below.kind == ActivationKind::tanh) v = std::tanh(v);
      }
      CAPTURE(s.samples, s.positions, s.channels, to_string(below));
      const auto dz = test_normals(s.samples * p.stride, 4);
      const ConstTensorView gradient(dz.data(), s.samples, p.width, p.stride);
      Saved saved(s.channels);
      Guarded<float> y(s.samples, p.width, gap), dx(s.samples, p.width, gap), dweight(s.channels), dbias(s.channels);
      kernels::batch_norm_forward(test_execution(), p.view(), {p.weight, p.bias, 1e-2F}, {ActivationKind::identity},
                                  saved.saved(), saved.running(), y.view());
      kernels::batch_norm_weight_gradient(test_execution(), gradient, p.view(), saved.saved(), dweight.flat(),
                                          dbias.flat());
      kernels::batch_norm_input_gradient(test_execution(), gradient, p.view(), p.weight, saved.saved(), dweight.flat(),
                                         dbias.flat(), below, dx.view());
      dx.check();
      dweight.check();
      dbias.check();
      const Backward expected = plain_backward(p, dz, static_cast<double>(1e-2F));
      for (std::int64_t c = 0; c < s.channels; ++c) {
        const auto i = static_cast<std::size_t>(c);
        const double inverse = saved.inverse_std[i];
        // Sums of a block in float32: 128 roundings of the sum of magnitudes; and what an error of the mean does.
        double size = 0, size_x = 0;
        p.for_each(c, [&](auto n, auto k) {
          const double g = std::abs(static_cast<double>(dz[static_cast<std::size_t>(n * p.stride + k)]));
          size += g;
          size_x += g * (std::abs(p.at(n, k) - saved.mean[i]) + 1) * inverse;
        });
        const double bias_error = 130 * epsilon * size, weight_error = 400 * epsilon * size_x;
        REQUIRE(std::abs(static_cast<double>(dbias(0, c)) - expected.dbias[i]) <= bias_error);
        REQUIRE(std::abs(static_cast<double>(dweight(0, c)) - expected.dweight[i]) <= weight_error);
        const double w = std::abs(static_cast<double>(p.weight[i]));
        p.for_each(c, [&](auto n, auto k) {
          const double v = p.at(n, k), normal = std::abs(v - saved.mean[i]) * inverse;
          const double slope = below.kind == ActivationKind::relu   ? (v > 0 ? 1 : 0)
                               : below.kind == ActivationKind::tanh ? 1 - v * v
                                                                    : 1;
          const double g = std::abs(static_cast<double>(dz[static_cast<std::size_t>(n * p.stride + k)]));
          const double error = inverse * w *
                               (bias_error / p.rows() + (normal + 1) * weight_error / p.rows() +
                                400 * epsilon *
                                    (g + std::abs(expected.dbias[i]) / p.rows() +
                                     (normal + 1) * inverse * std::abs(expected.dweight[i]) / p.rows()));
          REQUIRE(std::abs(static_cast<double>(dx(n, k)) -
                           slope * expected.dx[static_cast<std::size_t>(n * p.stride + k)]) <= error + 1e-9);
        });
      }
      // The formula itself, by central differences of the float64 loss.
      if (below.kind == ActivationKind::identity && s.samples <= 4) {
        for (const std::int64_t k : {std::int64_t{0}, p.width - 1}) {
          const float h = 1.0F / 1024;
          const double eps = static_cast<double>(1e-2F);
          const double slope =
              (moved_loss(p, dz, 0, k, h, eps) - moved_loss(p, dz, 0, k, -h, eps)) / (2 * static_cast<double>(h));
          REQUIRE(std::abs(slope - expected.dx[static_cast<std::size_t>(k)]) <= 2e-3 * (1 + std::abs(slope)));
        }
      }
    }
  }
}

TEST_CASE("batch-norm gives the same bits for any number of threads", "[batch_norm_statistics][batch_norm_sums]") {
  const Problem p({31, 400, 19}, 3.0, 2.0);
  const auto dz = test_normals(static_cast<std::int64_t>(p.x.size()), 11);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 4}) {
    const kernels::Execution exec = test_execution(threads);
    Saved saved(19);
    std::vector<float> y(p.x.size()), dx(p.x.size()), dweight(19), dbias(19);
    const ConstTensorView gradient(dz.data(), {31, 400 * 19});
    kernels::batch_norm_forward(exec, p.view(), {p.weight, p.bias, 1e-5F}, {ActivationKind::relu}, saved.saved(),
                                saved.running(), {y.data(), {31, 400 * 19}});
    kernels::batch_norm_weight_gradient(exec, gradient, p.view(), saved.saved(), dweight, dbias);
    kernels::batch_norm_input_gradient(exec, gradient, p.view(), p.weight, saved.saved(), dweight, dbias,
                                       {ActivationKind::identity}, {dx.data(), {31, 400 * 19}});
    for (const auto* part : {&dx, &dweight, &dbias, &saved.mean, &saved.inverse_std, &saved.running_variance})
      y.insert(y.end(), part->begin(), part->end());
    results.push_back(y);
  }
  for (const auto& r : results) CHECK(std::memcmp(r.data(), results[0].data(), r.size() * sizeof(float)) == 0);
}

TEST_CASE("batch-norm refuses what does not fit", "[batch_norm_apply]") {
  std::vector<float> x(24), y(24), one(1), four(4, 1.0F);
  Saved saved(4);
  const auto call = [&](std::int64_t rows, std::int64_t cols) {
    kernels::batch_norm_forward(test_execution(), {x.data(), {rows, cols}}, {four, four, 1e-5F}, {}, saved.saved(),
                                saved.running(), {y.data(), {rows, cols}});
  };
  CHECK_NOTHROW(call(2, 12));
  CHECK_THROWS_WITH(call(1, 4), Catch::Contains("at least 2"));
  CHECK_THROWS_WITH(call(2, 6), Catch::Contains("multiple of 4"));
  CHECK_THROWS_WITH(kernels::batch_norm_inference(test_execution(), ConstTensorView(x.data(), 2, 8, 12),
                                                  {four, four, 1e-5F}, four, four, {}, TensorView(y.data(), 2, 8, 12)),
                    Catch::Contains("contiguous"));
  CHECK_THROWS_WITH(kernels::batch_norm_inference(test_execution(), {x.data(), {2, 4}}, {four, one, 1e-5F}, four, four,
                                                  {}, {y.data(), {2, 4}}),
                    Catch::Contains("bias"));
}
