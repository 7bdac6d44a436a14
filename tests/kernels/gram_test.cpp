// Gaussian Gram sums and their gradients against float64 loops.
#include "kernels/gram.h"

#include <limits>
#include <string>

#include "gram_reference.h"
#include "support/expect_error.h"

using namespace kindling;
using namespace kindling::test;

namespace {

const std::vector<GramShape> narrow_shapes = {{1, 1, 1, 1},   {1, 3, 2, 1},      {2, 5, 17, 2},
                                              {3, 4, 16, 10}, {1, 13, 15, 11},   {2, 7, 33, 32},
                                              {1, 65, 97, 3}, {1, 101, 530, 10}, {1, 2, 1100, 7}};
const std::vector<GramShape> wide_shapes = {
    {1, 1, 1, 33}, {2, 5, 17, 64}, {1, 13, 15, 37}, {1, 67, 530, 33}, {1, 6, 31, 784}};

// Samples some distance from the origin, as many as the problems have.
struct Samples {
  Samples(const GramShape& s, double offset)
      : shape(s),
        x(test_normals(s.problems * s.n * s.d, 60, 1.0, offset)),
        y(test_normals(s.problems * s.m * s.d, 61, 1.0, offset)) {
    for (std::int64_t p = 0; p < s.problems; ++p) gamma.push_back(0.7F * std::sqrt(static_cast<float>(s.d)) + p);
  }
  [[nodiscard]] ConstTensorView tensor(const std::vector<float>& v, std::int64_t rows) const {
    return {v.data(), {shape.problems, rows, shape.d}};
  }
  [[nodiscard]] GramReference reference(std::int64_t p) const {
    return {ConstTensorView(x.data() + p * shape.n * shape.d, {shape.n, shape.d}),
            ConstTensorView(y.data() + p * shape.m * shape.d, {shape.m, shape.d}), gamma[p]};
  }
  GramShape shape;
  std::vector<float> x, y, gamma;
};

void check_sums(const GramShape& s, double offset) {
  CAPTURE(s.problems, s.n, s.m, s.d, offset);
  const Samples samples(s, offset);
  Guarded<double> rows(s.problems * s.n), totals(s.problems);
  kernels::gaussian_gram_sum(test_execution(), samples.tensor(samples.x, s.n), samples.tensor(samples.y, s.m),
                             samples.gamma, rows.flat(), totals.flat());
  rows.check();
  totals.check();
  for (std::int64_t p = 0; p < s.problems; ++p) {
    const GramReference reference = samples.reference(p);
    double total = 0, total_error = 0;
    for (std::int64_t i = 0; i < s.n; ++i) {
      double sum = 0, error = 0;
      for (std::int64_t j = 0; j < s.m; ++j) sum += reference.kernel(i, j), error += reference.kernel_error(i, j);
      error += reference.sum_error() * sum;
      REQUIRE(std::abs(rows(0, p * s.n + i) - sum) <= error);
      total += sum, total_error += error;
    }
    REQUIRE(std::abs(totals(0, p) - total) <= total_error);
  }
  for (const int threads : {1, 4}) {
    std::vector<double> again_rows(s.problems * s.n), again(s.problems);
    kernels::gaussian_gram_sum(test_execution(threads), samples.tensor(samples.x, s.n), samples.tensor(samples.y, s.m),
                               samples.gamma, again_rows, again);
    REQUIRE(same_bits(again_rows.data(), rows.data(), again_rows.size() * sizeof(double)));
    REQUIRE(same_bits(again.data(), totals.data(), again.size() * sizeof(double)));
  }
}

void check_gradient(const GramShape& s, double offset) {
  CAPTURE(s.problems, s.n, s.m, s.d, offset);
  const Samples samples(s, offset);
  const auto a = test_normals(s.problems * s.n, 62), b = test_normals(s.problems * s.m, 63);
  Guarded<double> rows(s.problems * s.n), totals(s.problems);
  const auto view = [&](float* data) {
    std::int64_t shape[] = {s.problems, s.n, s.d};
    return TensorView(data, std::span<const std::int64_t>(shape));
  };
  std::vector<float> dense(s.problems * s.n * s.d);
  const auto run = [&](int threads, std::span<double> r, std::span<double> t, TensorView g) {
    kernels::gaussian_gram_gradient(test_execution(threads), samples.tensor(samples.x, s.n),
                                    samples.tensor(samples.y, s.m), samples.gamma, {a, b}, {r, t, g});
  };
  run(2, rows.flat(), totals.flat(), view(dense.data()));
  rows.check();
  totals.check();
  for (std::int64_t p = 0; p < s.problems; ++p) {
    const GramReference reference = samples.reference(p);
    const double inverse = 1 / (reference.gamma * reference.gamma);
    double total = 0, total_error = 0;
    for (std::int64_t i = 0; i < s.n; ++i) {
      const double weight = a[p * s.n + i];
      double sum = 0, error = 0, size = 0;
      std::vector<double> slope(s.d), slope_error(s.d), slope_size(s.d);
      for (std::int64_t j = 0; j < s.m; ++j) {
        const double w = b[p * s.m + j], k = reference.kernel(i, j), e = reference.kernel_error(i, j);
        sum += w * k, error += std::abs(w) * e, size += std::abs(w) * k;
        for (std::int64_t c = 0; c < s.d; ++c) {
          const double xc = double{reference.x(i, c)} - reference.centre[c];
          const double yc = double{reference.y(j, c)} - reference.centre[c];
          slope[c] += w * k * (xc - yc);
          slope_error[c] += std::abs(w) * e * std::abs(xc - yc);
          // The centre itself is rounded, and so are the differences from it.
          slope_size[c] += std::abs(w) * k * (std::abs(xc) + std::abs(yc) + 1e-3 * std::abs(reference.centre[c]));
        }
      }
      error += reference.sum_error() * size;
      REQUIRE(std::abs(rows(0, p * s.n + i) - sum) <= error);
      total += weight * sum, total_error += std::abs(weight) * error;
      for (std::int64_t c = 0; c < s.d; ++c) {
        const double expected = -weight * inverse * slope[c];
        const double bound = std::abs(weight) * inverse * (slope_error[c] + reference.sum_error() * slope_size[c]) +
                             8 * unit_roundoff * std::abs(expected) + 1e-30;
        REQUIRE(std::abs(dense[(p * s.n + i) * s.d + c] - expected) <= bound);
      }
    }
    REQUIRE(std::abs(totals(0, p) - total) <= total_error);
  }
  for (const int threads : {1, 4}) {
    std::vector<double> again_rows(s.problems * s.n), again(s.problems);
    std::vector<float> again_gradient(dense.size());
    run(threads, again_rows, again, view(again_gradient.data()));
    REQUIRE(same_bits(again_rows.data(), rows.data(), again_rows.size() * sizeof(double)));
    REQUIRE(same_bits(again.data(), totals.data(), again.size() * sizeof(double)));
    REQUIRE(same_bits(again_gradient.data(), dense.data(), dense.size() * sizeof(float)));
  }
}

// Matrices with strided rows, guarded on all sides.
void check_strided(std::int64_t d) {
  const std::int64_t n = 9, m = 21, stride = d + 3;
  const auto x = test_normals(n * stride, 64), y = test_normals(m * stride, 65);
  const ConstTensorView xv(x.data(), n, d, stride), yv(y.data(), m, d, stride);
  const std::vector<float> gamma{0.8F * std::sqrt(static_cast<float>(d))};
  Guarded<float> gradient(n, d, 3);
  std::vector<double> rows(n), totals(1), plain_rows(n), plain(1);
  kernels::gaussian_gram_gradient(test_execution(), xv, yv, gamma, {}, {rows, totals, gradient.view()});
  gradient.check();
  kernels::gaussian_gram_sum(test_execution(), xv, yv, gamma, plain_rows, plain);
  const GramReference reference(xv, yv, gamma[0]);
  for (std::int64_t i = 0; i < n; ++i) {
    double sum = 0, error = 0;
    for (std::int64_t j = 0; j < m; ++j) sum += reference.kernel(i, j), error += reference.kernel_error(i, j);
    error += reference.sum_error() * sum;
    CHECK(std::abs(rows[i] - sum) <= error);
    CHECK(std::abs(plain_rows[i] - sum) <= error);
  }
  // Central differences in float64 of the sum of all kernel values.
  for (const std::int64_t i : {std::int64_t{0}, n - 1}) {
    for (const std::int64_t c : {std::int64_t{0}, d - 1}) {
      const double h = 1e-6;
      double difference = 0;
      for (std::int64_t j = 0; j < m; ++j) {
        const double base = reference.squared(i, j), gap = double{xv(i, c)} - double{yv(j, c)};
        const auto value = [&](double step) {
          return std::exp(-(base - gap * gap + (gap + step) * (gap + step)) / (2 * reference.gamma * reference.gamma));
        };
        difference += (value(h) - value(-h)) / (2 * h);
      }
      CHECK(std::abs(gradient(i, c) - difference) <= 1e-3 * std::abs(difference) + 1e-5);
    }
  }
}

void check_edges(std::int64_t d) {
  std::vector<float> x(6 * d, 0.25F), gamma{1.0F};
  std::vector<double> rows(6, -1.0), totals(1, -1.0);
  const ConstTensorView xv(x.data(), {6, d}), none(x.data(), {0, d});
  const auto sum = [&](ConstTensorView a, ConstTensorView b) {
    kernels::gaussian_gram_sum(test_execution(), a, b, gamma, std::span(rows).first(a.rows()), totals);
  };
  sum(xv, xv);  // identical points: every kernel value is exactly 1
  CHECK(totals[0] == 36.0);
  sum(xv, none);
  CHECK(totals[0] == 0.0);
  CHECK(rows == std::vector<double>(6, 0.0));
  totals[0] = -1;
  sum(none, xv);
  CHECK(totals[0] == 0.0);
  std::vector<float> gradient(6 * d, 5.0F);
  kernels::gaussian_gram_gradient(test_execution(), xv, none, gamma, {}, {rows, totals, {gradient.data(), {6, d}}});
  CHECK(gradient == std::vector<float>(6 * d, 0.0F));
  // Points that are as far apart as can be, and a kernel that vanishes.
  std::vector<float> far(2 * d, -1e15F);
  std::fill_n(far.begin() + d, d, 1e15F);
  gamma[0] = 1e-15F;
  sum({far.data(), {2, d}}, {far.data(), {2, d}});
  if (d <= kernels::gram_difference_dimensions) CHECK(totals[0] == 2.0);
  CHECK(std::isfinite(totals[0]));

  for (const float bad : {0.0F, -1.0F, std::numeric_limits<float>::infinity(), std::nanf(""), 1e-20F}) {
    gamma[0] = bad;
    expect_error(ErrorCode::usage, {"gaussian_gram_sum", "gamma", "problem 0"}, [&] { sum(xv, xv); });
  }
  gamma[0] = 1;
  for (const float bad : {std::nanf(""), -std::numeric_limits<float>::infinity(), 1e16F}) {
    std::vector<float> y = x;
    y[4 * d + d - 1] = bad;
    totals[0] = -3;
    expect_error(ErrorCode::usage, {"in y at row 4, coordinate " + std::to_string(d - 1)}, [&] {
      sum(xv, {y.data(), {6, d}});
    });
    expect_error(ErrorCode::usage, {"in x at problem 1, row 1, coordinate " + std::to_string(d - 1)}, [&] {
      gamma = {1, 1};
      std::vector<double> two(2);
      kernels::gaussian_gram_sum(test_execution(), {y.data(), {2, 3, d}}, {x.data(), {2, 3, d}}, gamma, rows, two);
    });
    gamma = {1};
    CHECK(totals[0] == -3);  // nothing was computed
  }
  expect_error(ErrorCode::usage, {"coordinate"}, [&] { sum(ConstTensorView(x.data(), {6, 0}), xv); });
  expect_error(ErrorCode::usage, {"as many problems and coordinates"}, [&] {
    sum(xv, ConstTensorView(x.data(), {3, d + 1}));
  });
  expect_error(ErrorCode::usage, {"gradient overlaps x"}, [&] {
    kernels::gaussian_gram_gradient(test_execution(), xv, xv, gamma, {}, {rows, totals, {x.data(), {6, d}}});
  });
  expect_error(ErrorCode::usage, {"row_sums overlaps totals"},
               [&] { kernels::gaussian_gram_sum(test_execution(), xv, xv, gamma, rows, std::span(rows).first(1)); });
  expect_error(ErrorCode::usage, {"row_sums of 6"},
               [&] { kernels::gaussian_gram_sum(test_execution(), xv, xv, gamma, std::span(rows).first(5), totals); });
}

}  // namespace

TEST_CASE("Gaussian Gram sums by differences", "[gaussian_gram_sum]") {
  for (const GramShape& s : narrow_shapes)
    for (const double offset : {0.0, 100.0}) check_sums(s, offset);
  check_edges(1);
  check_edges(10);
}

TEST_CASE("Gaussian Gram sums by contraction", "[gaussian_gram_sum_wide]") {
  for (const GramShape& s : wide_shapes)
    for (const double offset : {0.0, 100.0}) check_sums(s, offset);
  check_edges(40);
}

TEST_CASE("Gaussian Gram gradients by differences", "[gaussian_gram_gradient]") {
  for (const GramShape& s : narrow_shapes)
    for (const double offset : {0.0, 100.0}) check_gradient(s, offset);
  check_strided(1);
  check_strided(10);
}

TEST_CASE("Gaussian Gram gradients by contraction", "[gaussian_gram_gradient_wide]") {
  for (const GramShape& s : wide_shapes)
    for (const double offset : {0.0, 100.0}) check_gradient(s, offset);
  check_strided(33);
}
