// Standardisation, gathering, moments and scatter criteria.
#include "kernels/scatter.h"

#include "fuzz/fuzz.h"
#include "kernels/dense.h"

namespace kindling::fuzz {
namespace {

double value_of(float x) { return x; }
double value_of(std::uint8_t x) { return x / 255.0; }

template <class T>
Array<T> draw(Case& c, std::int64_t rows, std::int64_t cols, double mean = 0) {
  Array<T> a(c, rows, cols);
  if constexpr (std::is_same_v<T, float>) {
    a.fill([&] { return mean + c.normal(); });
  } else {
    a.fill([&] { return c.below(256); });
  }
  return a;
}

// Bytes have no NaN.
template <class T, class... A>
void spoil(Case& c, Array<T>& x, A&... others) {
  if constexpr (std::is_same_v<T, float>) {
    c.spoil(x, others...);
  } else {
    c.spoil(others...);
  }
}

// y(n) = standardised x(row(n)).
template <class T, class Row>
void check_rows(Case& c, Array<T>& x, Array<float>& mean, Array<float>& inverse, Array<float>& y, const Row& row) {
  for (std::int64_t n = 0; n < y.rows(); ++n) {
    for (std::int64_t k = 0; k < y.cols(); ++k) {
      const double v = value_of(x(row(n), k)), expected = (v - mean[k]) * inverse[k];
      const double bound =
          eps * (4 * std::abs(v) + 2 * std::abs(mean[k])) * std::abs(inverse[k]) + 2 * eps * std::abs(expected);
      c.expect(y(n, k), expected, bound, "y", n, k);
    }
  }
}

template <class T, class Kernel>
void standardize(Case& c, const Kernel& kernel) {
  const std::int64_t n = c.extent(60), k = c.long_extent(100, 3000, std::max<std::int64_t>(n, 1));
  auto x = draw<T>(c, n, k);
  auto mean = c.normals(k), inverse = c.normals(k), y = c.output<float>(n, k);
  spoil(c, x, mean, inverse);
  auto used = mean;
  if (c.mutation == Mutation::stale_bias && k > 0) used[k - 1] = 0.25F;
  c.run([&] { kernel(c.execution, x.in(), used.cflat(), inverse.cflat(), y.view()); }, y);
  check_rows(c, x, mean, inverse, y, [](std::int64_t i) { return i; });
}

template <class T, class Kernel>
void gather(Case& c, const Kernel& kernel) {
  const std::int64_t rows = c.extent(50, 1), n = c.extent(60),
                     k = c.long_extent(100, 3000, std::max<std::int64_t>(n, 1));
  auto x = draw<T>(c, rows, k);
  auto index = c.indices(n, rows);
  auto mean = c.normals(k), inverse = c.normals(k), y = c.output<float>(n, k);
  spoil(c, x, mean, inverse);
  auto used = mean;
  if (c.mutation == Mutation::stale_bias && k > 0) used[k - 1] = 0.25F;
  c.run([&] { kernel(c.execution, x.in(), index.cflat(), used.cflat(), inverse.cflat(), y.view()); }, y);
  check_rows(c, x, mean, inverse, y, [&](std::int64_t i) { return index[i]; });
}

// Rows of a sum: few, or several groups of 960.
std::int64_t sample_count(Case& c, std::int64_t cols) {
  return c.long_extent(80, 2100, std::max<std::int64_t>(cols, 1), 1);
}
double group_terms(std::int64_t n) {
  return static_cast<double>(std::min<std::int64_t>(n, kernels::moment_group_rows)) + 3;
}

void column_mean(Case& c) {
  const std::int64_t k = c.extent(80), n = sample_count(c, k);
  auto x = draw<float>(c, n, k, 1.0);
  c.spoil(x);
  auto mean = c.output<float>(k);
  c.run([&] { kernels::column_mean(c.execution, x.in(), mean.flat()); }, mean);
  for (std::int64_t j = 0; j < k; ++j) {
    double sum = 0, magnitude = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += x(i, j), magnitude += std::abs(x(i, j));
    const auto count = static_cast<double>(n);
    c.expect(mean[j], sum / count, eps * (group_terms(n) + 2) * magnitude / count, "mean", j);
  }
}

template <class T, class Kernel>
void feature_moments(Case& c, const Kernel& kernel) {
  const std::int64_t k = c.extent(60), n = sample_count(c, k);
  auto x = draw<T>(c, n, k, 1.0);
  if constexpr (std::is_same_v<T, float>) c.spoil(x);
  auto mean = c.output<double>(k), variance = c.output<double>(k);
  c.run([&] { kernel(c.execution, x.in(), mean.flat(), variance.flat()); }, mean, variance);
  const auto count = static_cast<double>(n);
  for (std::int64_t j = 0; j < k; ++j) {
    double m = 0, v = 0, largest = 0;
    for (std::int64_t i = 0; i < n; ++i)
      m += value_of(x(i, j)) / count, largest = std::max(largest, std::abs(value_of(x(i, j))));
    for (std::int64_t i = 0; i < n; ++i) v += std::pow(value_of(x(i, j)) - m, 2) / count;
    // Differences from the shift, at most twice the largest value, round to eps of it; their sums to `terms` of them.
    const double terms = group_terms(n), spread = 2 * largest;
    // An infinity less the shift that it is in is NaN.
    const double error = std::isinf(m) ? std::nan("") : eps * (terms + 3) * (spread + largest);
    c.expect(mean[j], m, error, "mean", j);
    c.expect(variance[j], v, eps * (2 * terms + 8) * spread * spread, "variance", j);
  }
}

void class_scatter(Case& c) {
  const std::int64_t k = c.extent(60), n = c.long_extent(80, 2100, std::max<std::int64_t>(k, 1)),
                     classes = 1 + c.below(6);
  auto z = draw<float>(c, n, k, 1.0);
  auto labels = c.indices(n, classes), used_labels = labels;
  if (c.mutation == Mutation::wrong_mask && n > 0)
    used_labels[n - 1] = (labels[n - 1] + 1) % static_cast<std::int32_t>(classes);
  auto shift = c.normals(k);
  c.spoil(z, shift);
  auto used = shift;
  if (c.mutation == Mutation::stale_bias && k > 0) used[k - 1] = 0.25F;
  Array<double> sum(c, classes * k), squares(c, classes * k);
  sum.fill([] { return 3.0; });
  squares.fill([] { return -5.0; });
  c.run(
      [&] {
        kernels::class_scatter(c.execution, z.in(), used_labels.cflat(), used.cflat(), classes, sum.flat(),
                               squares.flat());
      },
      sum, squares);
  const double terms = group_terms(n);
  for (std::int64_t j = 0; j < k; ++j) {
    std::vector<double> s(classes, 3), q(classes, -5), s_bound(classes, 1e-12), q_bound(classes, 1e-12);
    for (std::int64_t i = 0; i < n; ++i) {
      const double d = static_cast<double>(z(i, j)) - shift[j];
      const int l = labels[i];
      s[l] += d, q[l] += d * d;
      s_bound[l] += terms * eps * std::abs(d), q_bound[l] += (terms + 3) * eps * d * d;
    }
    for (std::int64_t l = 0; l < classes; ++l) {
      c.expect(sum[l * k + j], s[l], s_bound[l], "sum", l, j);
      c.expect(squares[l * k + j], q[l], q_bound[l], "sum_squares", l, j);
    }
  }
}

void scatter_criteria(Case& c) {
  const std::int64_t k = c.extent(60), classes = 1 + c.below(6);
  Array<std::int64_t> counts(c, classes);
  counts.fill([&] { return c.below(5) == 0 ? 0 : 1 + c.below(20); });
  counts[0] = std::max<std::int64_t>(counts[0], 1);
  auto shift = c.normals(k);
  // Moments of values that exist, or variances would be negative: two values a class, as often as its count says.
  Array<double> sum(c, classes * k), squares(c, classes * k);
  // About shift: class means, and variances.
  std::vector<double> mu(static_cast<std::size_t>(classes * k)), spread(mu.size());
  for (std::int64_t i = 0; i < classes * k; ++i) {
    const auto n = static_cast<double>(counts[i / k]);
    const double d = c.normal(), v = n < 2 ? 0 : std::abs(c.normal());
    sum[i] = n * d, squares[i] = n * (d * d + v);
    mu[static_cast<std::size_t>(i)] = d, spread[static_cast<std::size_t>(i)] = v;
  }
  c.spoil_nan(sum, shift);
  for (std::int64_t i = 0; i < classes * k; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (counts[i / k] == 0) sum[i] = 0;
    if (std::isnan(sum[i])) mu[at] = spread[at] = std::nan("");
  }
  const kernels::ScatterCriteria found =
      kernels::scatter_criteria(c.execution, counts.cflat(), sum.flat(), squares.flat(), shift.cflat());
  // The wrapper owns its outputs: the mutation falls on a copy.
  auto within = c.output<double>(k);
  c.run([&] { std::copy(found.within.begin(), found.within.end(), within.data()); }, within);
  double total_count = 0, present = 0;
  for (const std::int64_t n : counts.flat()) total_count += static_cast<double>(n), present += n > 0 ? 1 : 0;
  for (std::int64_t j = 0; j < k; ++j) {
    double mean = 0, means = 0, between = 0, within_sum = 0, between_w = 0, within_w = 0, largest = 1;
    const auto each = [&](const auto& f) {
      for (std::int64_t l = 0; l < classes; ++l)
        if (counts[l] > 0)
          f(static_cast<double>(counts[l]), mu[static_cast<std::size_t>(l * k + j)],
            spread[static_cast<std::size_t>(l * k + j)]);
    };
    each([&](double n, double m, double v) {
      mean += n / total_count * m, means += m / present;
      largest = std::max({largest, std::isnan(shift[j]) ? 0.0 : std::abs(shift[j]) + std::abs(m), std::abs(m), v});
    });
    each([&](double n, double m, double v) {
      between += (m - means) * (m - means) / present, within_sum += v / present;
      between_w += n / total_count * (m - mean) * (m - mean), within_w += n / total_count * v;
    });
    // float64: some dozens of operations on squares of the largest number.
    const double bound = 100 * 0x1p-53 * 4 * largest * largest;
    const auto at = static_cast<std::size_t>(j);
    c.expect(found.mean[at], shift[j] + mean, bound, "mean", j);
    c.expect(within[j], within_sum, bound, "within", j);
    c.expect(found.between[at], between, bound, "between", j);
    c.expect(found.between_weighted[at], between_w, bound, "between_weighted", j);
    c.expect(found.within_weighted[at], within_w, bound, "within_weighted", j);
    c.expect(found.total[at], between_w + within_w, bound, "total", j);
    for (std::int64_t l = 0; l < classes; ++l) {
      const auto i = static_cast<std::size_t>(l * k + j);
      c.expect(found.class_mean[i], shift[j] + (counts[l] > 0 ? mu[i] : 0), bound, "class_mean", l, j);
    }
  }
}

[[maybe_unused]] const bool all[] = {
    fuzz("standardize", [](Case& c) { standardize<float>(c, kernels::standardize); }),
    fuzz("standardize_u8", [](Case& c) { standardize<std::uint8_t>(c, kernels::standardize_u8); }),
    fuzz("gather_rows", [](Case& c) { gather<float>(c, kernels::gather_rows); }),
    fuzz("gather_rows_u8", [](Case& c) { gather<std::uint8_t>(c, kernels::gather_rows_u8); }),
    fuzz("column_mean", column_mean),
    fuzz("feature_moments", [](Case& c) { feature_moments<float>(c, kernels::feature_moments); }),
    fuzz(
        "feature_moments_u8", [](Case& c) { feature_moments<std::uint8_t>(c, kernels::feature_moments_u8); },
        Takes::no_floats),
    fuzz("class_scatter", class_scatter),
    fuzz("scatter_criteria", scatter_criteria)};

}  // namespace
}  // namespace kindling::fuzz
