// Class moments of f(X W^T + b) - shift against plain float64 loops, and their independence of threads and of how the
// data is divided into calls.
#include <cmath>
#include <limits>

#include "kernels/dense.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;

struct Problem {
  std::int64_t batch, fan_in, fan_out, classes, gap;
  std::vector<float> x, w, bias, shift;
  std::vector<std::int32_t> labels;

  Problem(std::int64_t n, std::int64_t k, std::int64_t m, std::int64_t c, std::int64_t row_gap = 0)
      : batch(n),
        fan_in(k),
        fan_out(m),
        classes(c),
        gap(row_gap),
        x(test_normals(n * (k + row_gap), 1)),
        w(test_normals(m * (k + row_gap), 2, 1 / std::sqrt(static_cast<double>(k)))),
        bias(test_normals(m, 3)),
        shift(test_normals(m, 4)) {
    PhiloxReader reader({.seed = 5});
    for (std::int64_t i = 0; i < n; ++i)
      labels.push_back(static_cast<std::int32_t>(reader.below(static_cast<std::uint64_t>(c))));
  }
  void run(int threads, const Activation& activation, std::int64_t first, std::int64_t count, std::span<double> sum,
           std::span<double> sum_squares) const {
    kernels::dense_moments(test_execution(threads),
                           ConstTensorView(x.data(), batch, fan_in, fan_in + gap).rows(first, count),
                           ConstTensorView(w.data(), fan_out, fan_in, fan_in + gap), bias, activation,
                           std::span(labels).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)),
                           shift, classes, sum, sum_squares);
  }
};

double reference_activation(const Activation& activation, double z) {
  if (activation.kind == ActivationKind::tanh) return std::tanh(z);
  if (activation.kind == ActivationKind::sigmoid) return 1 / (1 + std::exp(-z));
  return z > 0 ? z : static_cast<double>(negative_slope(activation)) * z;
}

void check_problem(const Problem& p, const Activation& activation) {
  CAPTURE(p.batch, p.fan_in, p.fan_out, p.classes, p.gap, to_string(activation));
  Guarded<double> sum(p.fan_out * p.classes), squares(p.fan_out * p.classes);
  // Added to what is there.
  sum.fill(1);
  squares.fill(2);
  p.run(2, activation, 0, p.batch, sum.flat(), squares.flat());
  sum.check();
  squares.check();
  for (std::int64_t m = 0; m < p.fan_out; ++m) {
    std::vector<double> s(p.classes, 1), q(p.classes, 2), s_bound(p.classes, 1e-12), q_bound(p.classes, 1e-12);
    for (std::int64_t n = 0; n < p.batch; ++n) {
      double z = p.bias[m], magnitude = std::abs(z);
      for (std::int64_t k = 0; k < p.fan_in; ++k) {
        const double term = static_cast<double>(p.x[n * (p.fan_in + p.gap) + k]) * p.w[m * (p.fan_in + p.gap) + k];
        z += term;
        magnitude += std::abs(term);
      }
      const double value = reference_activation(activation, z) - p.shift[m];
      // The error of one activation, and of its share in a sum of up to 960 (4 sqrt(960) eps of the sum of magnitudes).
      const double error = (4 * std::sqrt(static_cast<double>(p.fan_in)) + 12) * epsilon *
                           (magnitude + std::abs(static_cast<double>(p.shift[m])));
      const int c = p.labels[n];
      s[c] += value;
      q[c] += value * value;
      s_bound[c] += error + 124 * epsilon * std::abs(value);
      q_bound[c] += 2 * std::abs(value) * error + 126 * epsilon * value * value;
    }
    for (std::int64_t c = 0; c < p.classes; ++c) {
      const double found = sum(0, c * p.fan_out + m), found_square = squares(0, c * p.fan_out + m);
      if (!(std::abs(found - s[c]) <= s_bound[c]) || !(std::abs(found_square - q[c]) <= q_bound[c])) {
        FAIL("at class " << c << ", unit " << m << ": expected " << s[c] << " and " << q[c] << " within " << s_bound[c]
                         << " and " << q_bound[c] << ", found " << found << " and " << found_square);
      }
    }
  }
}

void check_all(const Activation& activation) {
  check_problem(Problem(1, 1, 1, 1), activation);
  check_problem(Problem(7, 5, 3, 4), activation);
  check_problem(Problem(959, 12, 17, 10), activation);
  check_problem(Problem(960, 3, 33, 2), activation);
  check_problem(Problem(961, 31, 10, 3), activation);
  check_problem(Problem(2000, 9, 47, 10, 2), activation);
}

}  // namespace

TEST_CASE("dense_moments: piecewise-linear activation", "[dense_moments]") {
  check_all({ActivationKind::relu});
  check_problem(Problem(100, 20, 40, 10), {ActivationKind::identity});
  check_problem(Problem(100, 20, 65, 10), {ActivationKind::leaky_relu, 0.25F});

  SECTION("neither threads nor the division into calls changes a bit") {
    const Problem p(5000, 23, 39, 7);
    const auto size = static_cast<std::size_t>(p.fan_out * p.classes);
    std::vector<double> sum(size), squares(size);
    p.run(1, {}, 0, p.batch, sum, squares);
    for (const std::int64_t groups : {1, 2, 3}) {
      std::vector<double> other_sum(size), other_squares(size);
      const std::int64_t step = groups * kernels::moment_group_rows;
      for (std::int64_t first = 0; first < p.batch; first += step) {
        p.run(3, {}, first, std::min(step, p.batch - first), other_sum, other_squares);
      }
      CHECK(other_sum == sum);
      CHECK(other_squares == squares);
    }
  }
  SECTION("a class without samples stays as it was, a NaN shows in its own class only") {
    Problem p(30, 4, 5, 3);
    for (auto& label : p.labels) label = 1;
    p.labels[29] = 2;
    p.x[29 * 4] = std::numeric_limits<float>::quiet_NaN();
    std::vector<double> sum(15, 7.0), squares(15, 7.0);
    p.run(2, {}, 0, 30, sum, squares);
    for (std::size_t m = 0; m < 5; ++m) {
      CHECK(sum[m] == 7.0);
      CHECK(std::isfinite(squares[5 + m]));
      CHECK(std::isnan(sum[10 + m]));
    }
  }
  SECTION("a label outside the classes is an error that names the sample") {
    Problem p(30, 4, 5, 3);
    p.labels[17] = 3;
    std::vector<double> sum(15), squares(15);
    CHECK_THROWS_WITH(p.run(1, {}, 0, 30, sum, squares), Catch::Contains("found 3 at sample 17"));
    CHECK_NOTHROW(p.run(1, {}, 0, 0, sum, squares));
  }
}

TEST_CASE("dense_moments_tanh", "[dense_moments_tanh]") { check_all({ActivationKind::tanh}); }

TEST_CASE("dense_moments_sigmoid", "[dense_moments_sigmoid]") { check_all({ActivationKind::sigmoid}); }

TEST_CASE("dense_moments without inputs has the moments of f of the biases", "[dense_moments]") {
  const float none[1] = {};
  const std::vector<float> bias{3, -2}, shift{1, 1};
  const std::vector<std::int32_t> labels{0, 0, 0};
  std::vector<double> sum(2), squares(2);
  kernels::dense_moments(test_execution(), ConstTensorView(none, {3, 0}), ConstTensorView(none, {2, 0}), bias,
                         {ActivationKind::relu}, labels, shift, 1, sum, squares);
  CHECK(sum == std::vector<double>{6, -3});
  CHECK(squares == std::vector<double>{12, 3});
}
