// Squared maximum mean discrepancies and quantiles of pairwise distances against float64 loops.
#include <limits>

#include "gram_reference.h"
#include "support/expect_error.h"

using namespace kindling;
using namespace kindling::test;
using kernels::MmdEstimate;

namespace {

// One problem's value and gradient with the errors that they may have.
struct MmdReference {
  MmdReference(ConstTensorView u, ConstTensorView v, double gamma, bool unbiased)
      : uu(u, u, gamma), uv(u, v, gamma), vv(v, v, gamma), gradient(u.size()), bound(u.size()) {
    uu.centre = vv.centre = uv.centre;  // the kernel's origin is the mean of v
    const auto n = static_cast<double>(u.rows()), m = static_cast<double>(v.rows());
    const double own = 1 / (unbiased ? n * (n - 1) : n * n), other = 1 / (n * m);
    add(uu, own, unbiased);
    add(uv, -2 * other, false);
    add(vv, 1 / (unbiased ? m * (m - 1) : m * m), unbiased);
    slopes(uu, 2 * own);
    slopes(uv, -2 * other);
  }
  void add(const GramReference& r, double weight, bool skip) {
    for (std::int64_t i = 0; i < r.x.rows(); ++i)
      for (std::int64_t j = 0; j < r.y.rows(); ++j) {
        if (!skip || i != j) value += weight * r.kernel(i, j);
        tolerance += std::abs(weight) * (r.kernel_error(i, j) + r.sum_error() * r.kernel(i, j));
      }
  }
  void slopes(const GramReference& r, double weight) {
    const double inverse = 1 / (r.gamma * r.gamma);
    const std::int64_t d = r.x.cols();
    for (std::int64_t i = 0; i < r.x.rows(); ++i)
      for (std::int64_t j = 0; j < r.y.rows(); ++j)
        for (std::int64_t c = 0; c < d; ++c) {
          const double k = r.kernel(i, j), xc = r.x(i, c) - r.centre[c], yc = r.y(j, c) - r.centre[c];
          gradient[i * d + c] -= weight * inverse * k * (xc - yc);
          bound[i * d + c] += std::abs(weight) * inverse *
                              (r.kernel_error(i, j) * std::abs(xc - yc) +
                               2 * r.sum_error() * k * (std::abs(xc) + std::abs(yc) + 1e-3 * std::abs(r.centre[c])));
        }
  }
  GramReference uu, uv, vv;
  double value = 0, tolerance = 0;
  std::vector<double> gradient, bound;
};

void check_mmd(const GramShape& s, double offset) {
  CAPTURE(s.problems, s.n, s.m, s.d, offset);
  const auto u = test_normals(s.problems * s.n * s.d, 70, 0.5, offset);
  const auto v = test_normals(s.problems * s.m * s.d, 71, 1.0, offset);
  std::vector<float> gamma;
  for (std::int64_t p = 0; p < s.problems; ++p) gamma.push_back(0.6F * std::sqrt(static_cast<float>(s.d)) + 0.5F * p);
  for (const bool unbiased : {false, true}) {
    if (unbiased && (s.n < 2 || s.m < 2)) continue;
    const auto estimate = unbiased ? MmdEstimate::u_statistic : MmdEstimate::v_statistic;
    Guarded<double> value(s.problems);
    Guarded<float> gradient(s.problems, s.n * s.d);
    const auto run = [&](int threads, std::span<double> values, float* g) {
      kernels::mmd_squared(test_execution(threads), {u.data(), {s.problems, s.n, s.d}},
                           {v.data(), {s.problems, s.m, s.d}}, gamma, estimate, values, {g, {s.problems, s.n, s.d}});
    };
    run(2, value.flat(), gradient.data());
    value.check();
    gradient.check();
    for (std::int64_t p = 0; p < s.problems; ++p) {
      const MmdReference r({u.data() + p * s.n * s.d, {s.n, s.d}}, {v.data() + p * s.m * s.d, {s.m, s.d}}, gamma[p],
                           unbiased);
      REQUIRE(std::abs(value(0, p) - r.value) <= r.tolerance);
      for (std::int64_t e = 0; e < s.n * s.d; ++e)
        REQUIRE(std::abs(gradient(p, e) - r.gradient[e]) <= r.bound[e] + 1e-30);
      // Central differences in float64.
      for (const std::int64_t e : {std::int64_t{0}, s.n * s.d - 1}) {
        std::vector<float> moved(u.begin() + p * s.n * s.d, u.begin() + (p + 1) * s.n * s.d);
        const float at = moved[e], up = at + 1e-3F, down = at - 1e-3F;
        const auto f = [&](float x) {
          moved[e] = x;
          return MmdReference({moved.data(), {s.n, s.d}}, {v.data() + p * s.m * s.d, {s.m, s.d}}, gamma[p], unbiased)
              .value;
        };
        const double slope = (f(up) - f(down)) / (double{up} - double{down});
        REQUIRE(std::abs(gradient(p, e) - slope) <= 1e-3 * std::abs(slope) + 1e-5);
      }
    }
    for (const int threads : {1, 4}) {
      std::vector<double> again(s.problems);
      std::vector<float> again_gradient(s.problems * s.n * s.d);
      run(threads, again, again_gradient.data());
      REQUIRE(same_bits(again.data(), value.data(), again.size() * sizeof(double)));
      REQUIRE(same_bits(again_gradient.data(), gradient.data(), again_gradient.size() * sizeof(float)));
    }
  }
}

void check_mmd_edges(std::int64_t d) {
  std::vector<float> u(2 * d, 0.5F), gamma{1}, gradient(2 * d, 3.0F);
  std::vector<double> value{-1};
  const auto run = [&](std::int64_t n, std::int64_t m, MmdEstimate estimate) {
    kernels::mmd_squared(test_execution(), {u.data(), {n, d}}, {u.data(), {m, d}}, gamma, estimate, value,
                         {gradient.data(), {n, d}});
  };
  run(2, 2, MmdEstimate::v_statistic);  // one and the same point
  CHECK(std::abs(value[0]) <= 1e-15);
  CHECK(gradient == std::vector<float>(2 * d, 0.0F));
  expect_error(ErrorCode::usage, {"mmd_squared", "at least 2 row"}, [&] { run(1, 2, MmdEstimate::u_statistic); });
  expect_error(ErrorCode::usage, {"at least 1 row"}, [&] { run(0, 2, MmdEstimate::v_statistic); });
  gamma[0] = 0;
  expect_error(ErrorCode::usage, {"gamma", "found 0"}, [&] { run(2, 2, MmdEstimate::v_statistic); });
}

// Order statistics of all squared distances, each as good as its float32 sum.
void check_quantiles(const GramShape& s, double offset) {
  const auto x = test_normals(s.problems * s.n * s.d, 72, 1.0, offset);
  const auto y = test_normals(s.problems * s.m * s.d, 73, 2.0, offset);
  for (const double q : {0.0, 0.1, 0.5, 0.77, 1.0}) {
    CAPTURE(s.problems, s.n, s.m, s.d, offset, q);
    Guarded<float> found(s.problems);
    const ConstTensorView xv(x.data(), {s.problems, s.n, s.d});
    const ConstTensorView yv = s.m == 0 ? ConstTensorView() : ConstTensorView(y.data(), {s.problems, s.m, s.d});
    kernels::pair_distance_quantile(test_execution(), xv, yv, q, found.flat());
    found.check();
    for (std::int64_t p = 0; p < s.problems; ++p) {
      std::vector<std::vector<double>> rows;
      for (std::int64_t i = 0; i < s.n + s.m; ++i) {
        const float* row = i < s.n ? &x[(p * s.n + i) * s.d] : &y[(p * s.m + i - s.n) * s.d];
        rows.emplace_back(row, row + s.d);
      }
      std::vector<double> distances;
      for (std::size_t i = 0; i < rows.size(); ++i)
        for (std::size_t j = i + 1; j < rows.size(); ++j) {
          double sum = 0;
          for (std::int64_t k = 0; k < s.d; ++k) sum += std::pow(rows[i][k] - rows[j][k], 2);
          distances.push_back(std::sqrt(sum));
        }
      std::ranges::sort(distances);
      const double at = q * static_cast<double>(distances.size() - 1);
      const auto k = static_cast<std::size_t>(at);
      const double next = distances[std::min(k + 1, distances.size() - 1)];
      const double expected = distances[k] + (at - static_cast<double>(k)) * (next - distances[k]);
      REQUIRE(std::abs(found(0, p) - expected) <= (static_cast<double>(s.d) + 6) / 2 * unit_roundoff * expected);
    }
    std::vector<float> again(s.problems);
    kernels::pair_distance_quantile(test_execution(1), xv, yv, q, again);
    REQUIRE(same_bits(again.data(), found.data(), again.size() * sizeof(float)));
  }
}

const std::vector<GramShape> distance_shapes = {{1, 2, 0, 1},     {3, 1, 1, 4},    {1, 3, 0, 3},      {2, 5, 12, 2},
                                                {1, 33, 0, 1},    {3, 31, 33, 10}, {1, 101, 100, 70}, {1, 5, 130, 17},
                                                {2, 120, 136, 3}, {1, 257, 0, 2},  {2, 130, 140, 3}};

}  // namespace

TEST_CASE("squared MMD by differences", "[mmd_squared]") {
  for (const GramShape& s : {GramShape{1, 1, 1, 1}, GramShape{2, 2, 3, 2}, GramShape{3, 17, 15, 10},
                             GramShape{1, 5, 33, 32}, GramShape{2, 65, 7, 3}, GramShape{1, 100, 100, 10}})
    for (const double offset : {0.0, 30.0}) check_mmd(s, offset);
  check_mmd_edges(10);
}

TEST_CASE("squared MMD by contraction", "[mmd_squared_wide]") {
  for (const GramShape& s : {GramShape{1, 1, 1, 33}, GramShape{2, 7, 18, 40}, GramShape{1, 31, 17, 100}})
    for (const double offset : {0.0, 30.0}) check_mmd(s, offset);
  check_mmd_edges(33);
}

TEST_CASE("quantiles of pairwise distances", "[pair_distance_counts][pair_distance_select]") {
  for (const GramShape& s : distance_shapes)
    for (const double offset : {0.0, 50.0}) check_quantiles(s, offset);
}

TEST_CASE("quantiles of pairwise distances that coincide", "[pair_distance_next][pair_distance_select]") {
  // Points 0, 0, 0, 1, 1, 3: distances 0 (4 times), 1 (6), 2 (2), 3 (3).
  const std::vector<float> x{0, 1, 0, 3, 1, 0};
  const std::vector<double> all{0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 3};
  std::vector<float> found(1);
  for (int i = 0; i <= 28; ++i) {
    CAPTURE(i);
    const double q = i / 28.0, at = q * 14;
    const auto k = static_cast<std::size_t>(at);
    kernels::pair_distance_quantile(test_execution(), {x.data(), {2, 1}}, {x.data() + 2, {4, 1}}, q, found);
    const double expected = all[k] + (at - static_cast<double>(k)) * (all[std::min<std::size_t>(k + 1, 14)] - all[k]);
    CHECK(std::abs(found[0] - expected) <= 4 * unit_roundoff * expected);
  }
  const std::vector<float> same(20, 2.5F);
  kernels::pair_distance_quantile(test_execution(), {same.data(), {10, 2}}, {}, 0.5, found);
  CHECK(found[0] == 0.0F);
  const std::vector<float> far{-1e15F, 1e15F};
  kernels::pair_distance_quantile(test_execution(), {far.data(), {2, 1}}, {}, 0.5, found);
  CHECK(found[0] == 2e15F);
  const std::vector<float> bad{0, std::nanf("")};
  const auto run = [&](const std::vector<float>& v, std::int64_t n, double q) {
    kernels::pair_distance_quantile(test_execution(), {v.data(), {n, 1}}, {}, q, found);
  };
  expect_error(ErrorCode::usage, {"pair_distance_quantile", "row 1, coordinate 0"}, [&] { run(bad, 2, 0.5); });
  expect_error(ErrorCode::usage, {"at least 2 rows"}, [&] { run(x, 1, 0.5); });
  expect_error(ErrorCode::usage, {"[0, 1]", "1.5"}, [&] { run(x, 2, 1.5); });
}
