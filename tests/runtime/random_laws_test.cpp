// A hundred million draws against their laws, streamed through the kernels, and the fill functions of the methods.
#include <kindling/random.h>

#include <cmath>
#include <functional>
#include <numbers>
#include <vector>

#include "support/catch.h"

using namespace kindling;

namespace {

constexpr std::int64_t chunk = 1 << 22;
// Exceeded by chance once in 2000 samples.
constexpr double ks_limit = 2.03;

struct Summary {
  double gap = 0;          // Kolmogorov and Smirnov's statistic at 2^16 equal steps of probability, times sqrt n
  double moments[5] = {};  // means of x^p
};

Summary summarize(std::int64_t count, const std::function<void(std::uint32_t, std::span<float>)>& fill,
                  const std::function<double(double)>& probability) {
  constexpr std::int64_t steps = 1 << 16;
  std::vector<std::int64_t> counts(steps);
  std::vector<float> draws(chunk);
  Summary summary;
  for (std::int64_t first = 0; first < count; first += chunk) {
    const std::span<float> part(draws.data(), static_cast<std::size_t>(std::min(chunk, count - first)));
    fill(static_cast<std::uint32_t>(first / chunk), part);
    for (const float draw : part) {
      const double x = draw;
      const auto step = static_cast<std::int64_t>(probability(x) * steps);
      ++counts[static_cast<std::size_t>(std::min(std::max<std::int64_t>(step, 0), steps - 1))];
      double power = 1;
      for (double& m : summary.moments) m += power, power *= x;
    }
  }
  const auto n = static_cast<double>(count);
  for (double& m : summary.moments) m /= n;
  std::int64_t below = 0;
  for (std::int64_t s = 0; s < steps; ++s) {
    below += counts[static_cast<std::size_t>(s)];
    summary.gap = std::max(summary.gap, std::abs(static_cast<double>(below) / n - (s + 1.0) / steps));
  }
  summary.gap *= std::sqrt(n);
  return summary;
}

}  // namespace

TEST_CASE("a hundred million normals", "[random_laws]") {
  const std::int64_t count = 100'000'000;
  const Summary s = summarize(
      count,
      [](std::uint32_t step, std::span<float> out) {
        fill_normal({.seed = 31, .purpose = Purpose::test, .unit = 0, .step = step}, 0, 1, out, {});
      },
      [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); });
  CHECK(s.gap < ks_limit);
  // Standard deviations of the sample moments: 1, sqrt 2, sqrt 15, sqrt 96 over sqrt n; four of them.
  const double n = count;
  CHECK(std::abs(s.moments[1]) < 4 / std::sqrt(n));
  CHECK(std::abs(s.moments[2] - 1) < 4 * std::sqrt(2 / n));
  CHECK(std::abs(s.moments[3]) < 4 * std::sqrt(15 / n));
  CHECK(std::abs(s.moments[4] - 3) < 4 * std::sqrt(96 / n));
}

TEST_CASE("ten million uniforms, exponentials and Beta(2, 1) draws", "[random_laws]") {
  const std::int64_t count = 10'000'000;
  const auto stream = [](std::uint32_t step) { return Stream{32, Purpose::test, 0, step}; };
  const Summary uniform = summarize(
      count, [&](std::uint32_t step, std::span<float> out) { fill_uniform(stream(step), 0, 1, out, {}); },
      [](double x) { return x; });
  CHECK(uniform.gap < ks_limit);
  const Summary exponential = summarize(
      count, [&](std::uint32_t step, std::span<float> out) { fill_exponential(stream(step), 1, out, {}); },
      [](double x) { return -std::expm1(-x); });
  CHECK(exponential.gap < ks_limit);
  const Summary beta = summarize(
      count, [&](std::uint32_t step, std::span<float> out) { fill_beta21(stream(step), out, {}); },
      [](double x) { return x * x; });
  CHECK(beta.gap < ks_limit);
  // E x^p and the variance of x^p: uniform 1/(p+1), Beta(2, 1) 2/(p+2), exponential p!.
  const double factorial[] = {1, 1, 2, 6, 24, 120, 720, 5040, 40320};
  const double n = count;
  for (int p = 1; p <= 4; ++p) {
    CAPTURE(p);
    const auto near = [&](double found, double mean, double square) {
      CHECK(std::abs(found - mean) < 4 * std::sqrt((square - mean * mean) / n));
    };
    near(uniform.moments[p], 1.0 / (p + 1), 1.0 / (2 * p + 1));
    near(exponential.moments[p], factorial[p], factorial[2 * p]);
    near(beta.moments[p], 2.0 / (p + 2), 2.0 / (2 * p + 2));
  }
}

TEST_CASE("fill_correlated_rows: variance, bias as one more entry, and its checks", "[random_laws]") {
  const Stream stream{33, Purpose::weights, 1, 0};
  const std::int64_t rows = 4096, fan_in = 24;
  Tensor alone({rows, fan_in}), weight({rows, fan_in});
  std::vector<float> bias(rows);
  fill_correlated_rows(stream, {.k = 100, .sigma_squared = 2}, alone.view(), {}, {});
  fill_correlated_rows(stream, {.k = 100, .sigma_squared = 0.9}, weight.view(), bias, {});
  double squares = 0, sums = 0, sums_squares = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    double sum = 0, with_bias = bias[static_cast<std::size_t>(r)];
    for (std::int64_t k = 0; k < fan_in; ++k) {
      const double v = alone.view()(r, k);
      squares += v * v, sum += v, with_bias += weight.view()(r, k);
    }
    sums += sum * sum;
    sums_squares += with_bias * with_bias;
  }
  // Var w = (2/24)(1 - 100/101/24); Var sum = 2 / 101; with the bias 25 entries of scale 0.9/24: 0.9 * 25 / 24 / 101. A
  // mean of n squares of normals deviates by sqrt(2 / n); the entries of a row are nearly independent.
  const double variance = 2.0 / 24 * (1 - 100.0 / 101 / 24);
  CHECK(std::abs(squares / (rows * fan_in) - variance) < 5 * variance * std::sqrt(2.0 / (rows * fan_in)));
  CHECK(std::abs(sums / rows - 2.0 / 101) < 5 * 2.0 / 101 * std::sqrt(2.0 / rows));
  const double whole = 0.9 * 25 / 24 / 101;
  CHECK(std::abs(sums_squares / rows - whole) < 5 * whole * std::sqrt(2.0 / rows));

  Tensor simplex({7, 3});
  fill_simplex(stream, simplex.view(), {});
  for (std::int64_t r = 0; r < 7; ++r) {
    CHECK(std::abs(simplex.view()(r, 0) + simplex.view()(r, 1) + simplex.view()(r, 2) - 1) < 1e-6);
  }
  CHECK_THROWS_WITH(fill_correlated_rows(stream, {.k = -1}, alone.view(), {}, {}), Catch::Contains("found -1"));
  CHECK_THROWS_WITH(fill_correlated_rows(stream, {.sigma_squared = 0}, alone.view(), {}, {}),
                    Catch::Contains("found 0"));
  CHECK_THROWS_WITH(fill_correlated_rows(stream, {}, alone.view(), std::span<float>(bias).first(3), {}),
                    Catch::Contains("found 3"));
}
