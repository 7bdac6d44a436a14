// Gaussian Gram sums, their gradients, and the squared maximum mean discrepancy.
#include "kernels/gram.h"

#include "fuzz/fuzz.h"
#include "fuzz/points.h"

namespace kindling::fuzz {
namespace {

// Of the kernel between row i of x and row j of y: its value in float64 and how far off float32 may be.
class Gaussian {
 public:
  Gaussian(Points& x, Points& y, std::int64_t problem, double gamma, std::vector<double> centre)
      : x_(x), y_(y), p_(problem), inverse_(1 / (2 * gamma * gamma)), centre_(std::move(centre)) {}

  [[nodiscard]] Bounded operator()(std::int64_t i, std::int64_t j) const {
    const auto d = static_cast<double>(x_.depth);
    double squared = 0, norms = 0;
    for (std::int64_t k = 0; k < x_.depth; ++k) {
      const double a = x_(p_, i, k) - centre_[k], b = y_(p_, j, k) - centre_[k];
      squared += (a - b) * (a - b), norms += a * a + b * b;
    }
    // Three more roundings for the scale; differences that are not taken one by one err by the norms.
    double exponent = (d + 6) * eps * squared;
    if (x_.depth > kernels::gram_difference_dimensions) exponent += (d + 4) * 2 * eps * norms;
    const double value = std::exp(-squared * inverse_);
    return {value, value * (std::expm1(exponent * inverse_) + 2e-7) + 0x1p-126};
  }
  // Coordinate k of x_i - y_j, and what it is the difference of.
  [[nodiscard]] Bounded apart(std::int64_t i, std::int64_t j, std::int64_t k) const {
    const double a = x_(p_, i, k) - centre_[k], b = y_(p_, j, k) - centre_[k];
    // The centre itself is rounded, and so are the differences from it.
    return {a - b, std::abs(a) + std::abs(b) + 1e-3 * std::abs(centre_[k])};
  }

 private:
  Points &x_, &y_;
  std::int64_t p_;
  double inverse_;
  std::vector<double> centre_;
};

// Relative errors of sums over m columns of numbers of one sign: in float32 within a slab of 512, or throughout.
double slab_error(std::int64_t m) { return (static_cast<double>(std::min<std::int64_t>(m, 512)) + 10) * eps; }
double lane_error(std::int64_t m) { return (static_cast<double>(m) + 10) * eps; }

struct Problem {
  std::int64_t problems, n, m, d;
  Points x, y;
  Array<float> gamma;

  Problem(Case& c, bool wide, std::int64_t least)
      : problems(1 + c.below(3)),
        n(c.extent(30, least)),
        m(0),
        d(wide ? 33 + c.extent(60) : 1 + c.extent(31)),
        x(c, 0, 0, 0),
        y(c, 0, 0, 0),
        gamma(c, problems) {
    m = c.long_extent(40, 1100, std::max<std::int64_t>(n, 1) * d * problems * 4, least);
    const double offset = c.chance(0.5) ? 0 : c.uniform(-20, 20);
    x = Points(c, problems, n, d, offset);
    y = Points(c, problems, m, d, offset + 0.5);
    gamma.fill([&] { return c.uniform(0.4, 2) * std::sqrt(static_cast<double>(d)); });
    c.spoil(x.values, y.values, gamma);
  }
  [[nodiscard]] Gaussian kernel(Points& a, Points& b, std::int64_t p) {
    return {a, b, p, static_cast<double>(gamma[p]), y.mean(p)};
  }
};

void sum(Case& c, bool wide) {
  Problem q(c, wide, 0);
  auto rows = c.output<double>(q.problems * q.n), totals = c.output<double>(q.problems);
  const auto call = [&] {
    kernels::gaussian_gram_sum(c.execution, q.x.in(), q.y.fewer(c), q.gamma.cflat(), rows.flat(), totals.flat());
  };
  if (c.refused("gaussian_gram_sum", call, rows, totals)) return;
  c.run(call, rows, totals);
  for (std::int64_t p = 0; p < q.problems; ++p) {
    const Gaussian kernel = q.kernel(q.x, q.y, p);
    double total = 0, total_error = 0;
    for (std::int64_t i = 0; i < q.n; ++i) {
      double value = 0, error = 0;
      for (std::int64_t j = 0; j < q.m; ++j) {
        const Bounded k = kernel(i, j);
        value += k.value, error += k.bound;
      }
      error += slab_error(q.m) * value;
      c.expect(rows[p * q.n + i], value, error, "row sum", p, i);
      total += value, total_error += error;
    }
    c.expect(totals[p], total, total_error, "total", p);
  }
}

void gradient(Case& c, bool wide) {
  Problem q(c, wide, 0);
  auto a = c.normals(q.problems * q.n), b = c.normals(q.problems * q.m);
  c.spoil(a, b);
  const bool weighted = c.spoilt || c.chance(0.6);
  auto rows = c.output<double>(q.problems * q.n), totals = c.output<double>(q.problems);
  Points g(c, q.problems, q.n, q.d, 0);
  auto used_b = b;
  if (c.mutation == Mutation::dropped_term && b.cols() > 0) used_b[b.cols() - 1] = 0;
  const auto call = [&] {
    const kernels::GramWeights weights =
        weighted ? kernels::GramWeights{a.cflat(), used_b.cflat()} : kernels::GramWeights{};
    kernels::gaussian_gram_gradient(c.execution, q.x.in(), q.y.in(), q.gamma.cflat(), weights,
                                    {rows.flat(), totals.flat(), g.view()});
  };
  if (c.refused("gaussian_gram_gradient", call, rows, totals, g.values)) return;
  c.run(call, rows, totals, g.values);
  for (std::int64_t p = 0; p < q.problems; ++p) {
    const Gaussian kernel = q.kernel(q.x, q.y, p);
    const double inverse = 1 / (static_cast<double>(q.gamma[p]) * q.gamma[p]);
    double total = 0, total_error = 0;
    for (std::int64_t i = 0; i < q.n; ++i) {
      const double weight = weighted ? a[p * q.n + i] : 1;
      double value = 0, error = 0, size = 0;
      std::vector<double> slope(q.d), slope_error(q.d);
      for (std::int64_t j = 0; j < q.m; ++j) {
        const Bounded k = kernel(i, j);
        const double w = weighted ? b[p * q.m + j] : 1, scale = std::abs(w) * k.value;
        value += w * k.value, error += std::abs(w) * k.bound, size += scale;
        for (std::int64_t e = 0; e < q.d; ++e) {
          const Bounded apart = kernel.apart(i, j, e);
          slope[e] += w * k.value * apart.value;
          slope_error[e] += std::abs(w) * k.bound * std::abs(apart.value) + lane_error(q.m) * scale * apart.bound;
        }
      }
      error += lane_error(q.m) * size;
      c.expect(rows[p * q.n + i], value, error, "row sum", p, i);
      total += weight * value, total_error += std::abs(weight) * error;
      for (std::int64_t e = 0; e < q.d; ++e) {
        const double expected = -weight * inverse * slope[e];
        c.expect(g(p, i, e), expected,
                 std::abs(weight) * inverse * slope_error[e] + 8 * eps * std::abs(expected) + 1e-30, "gradient", i, e);
      }
    }
    c.expect(totals[p], total, total_error, "total", p);
  }
}

// Adds weight * sum of K(a_i, b_j) over all pairs (but i = j) to `value`, and 2 d/da of half of it to `slope`.
struct Discrepancy {
  double value = 0, error = 0;
  std::vector<double> slope, slope_error;

  void add(const Gaussian& kernel, const Problem& q, std::int64_t rows, std::int64_t cols, double weight, bool skip,
           bool with_slope, double inverse) {
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < cols; ++j) {
        const Bounded k = kernel(i, j);
        if (!skip || i != j) value += weight * k.value;
        error += std::abs(weight) * (k.bound + slab_error(cols) * k.value);
        for (std::int64_t e = 0; with_slope && e < q.d; ++e) {
          const Bounded apart = kernel.apart(i, j, e);
          const std::int64_t at = i * q.d + e;
          slope[at] -= weight * inverse * k.value * apart.value;
          slope_error[at] += std::abs(weight) * inverse *
                             (k.bound * std::abs(apart.value) + 2 * lane_error(cols) * k.value * apart.bound);
        }
      }
    }
  }
};

void mmd(Case& c, bool wide) {
  const bool unbiased = c.chance(0.5);
  Problem q(c, wide, unbiased ? 2 : 1);
  auto value = c.output<double>(q.problems);
  Points g(c, q.problems, q.n, q.d, 0);
  const auto call = [&] {
    kernels::mmd_squared(c.execution, q.x.in(), q.y.fewer(c), q.gamma.cflat(),
                         unbiased ? kernels::MmdEstimate::u_statistic : kernels::MmdEstimate::v_statistic, value.flat(),
                         g.view());
  };
  if (c.refused("mmd_squared", call, value, g.values)) return;
  c.run(call, value, g.values);
  const auto n = static_cast<double>(q.n), m = static_cast<double>(q.m);
  for (std::int64_t p = 0; p < q.problems; ++p) {
    const double inverse = 1 / (static_cast<double>(q.gamma[p]) * q.gamma[p]);
    const double own = 1 / (unbiased ? n * (n - 1) : n * n), other = 1 / (unbiased ? m * (m - 1) : m * m);
    Discrepancy r;
    r.slope.resize(static_cast<std::size_t>(q.n * q.d)), r.slope_error.resize(r.slope.size());
    // d/du_i of the pairs (i, j) and (j, i) is twice that of the one.
    r.add(q.kernel(q.x, q.x, p), q, q.n, q.n, own, unbiased, false, inverse);
    r.add(q.kernel(q.y, q.y, p), q, q.m, q.m, other, unbiased, false, inverse);
    r.add(q.kernel(q.x, q.y, p), q, q.n, q.m, -2 / (n * m), false, true, inverse);
    Discrepancy twice = {0, 0, r.slope, r.slope_error};
    twice.add(q.kernel(q.x, q.x, p), q, q.n, q.n, 2 * own, unbiased, true, inverse);
    c.expect(value[p], r.value, r.error + 1e-15, "value", p);
    for (std::int64_t i = 0; i < q.n; ++i) {
      for (std::int64_t e = 0; e < q.d; ++e) {
        const std::int64_t at = i * q.d + e;
        c.expect(g(p, i, e), twice.slope[at], twice.slope_error[at] + 1e-30, "gradient", i, e);
      }
    }
  }
}

[[maybe_unused]] const bool all[] = {fuzz("gaussian_gram_sum", [](Case& c) { sum(c, false); }),
                                     fuzz("gaussian_gram_sum_wide", [](Case& c) { sum(c, true); }),
                                     fuzz("gaussian_gram_gradient", [](Case& c) { gradient(c, false); }),
                                     fuzz("gaussian_gram_gradient_wide", [](Case& c) { gradient(c, true); }),
                                     fuzz("mmd_squared", [](Case& c) { mmd(c, false); }),
                                     fuzz("mmd_squared_wide", [](Case& c) { mmd(c, true); })};

}  // namespace
}  // namespace kindling::fuzz
