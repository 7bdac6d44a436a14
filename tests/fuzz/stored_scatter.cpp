// Scatter and covariance of stored matrices.
#include "fuzz/fuzz.h"
#include "kernels/dense.h"
#include "kernels/scatter.h"

namespace kindling::fuzz {
namespace {

// Rounding errors of a float32 sum over the rows of a group.
double group_error(double rows) { return (std::min(rows, static_cast<double>(kernels::moment_group_rows)) + 4) * eps; }

// One class of one feature.
struct Class {
  double count = 0, mean = 0, variance = 0;
  double first = 0, from_first = 0;  // first sample, mean square of the distances from it
  double mean_error = 0, variance_error = 0;
};

std::vector<Class> classes_of(Array<float>& z, Array<std::int32_t>& labels, std::int64_t classes, std::int64_t j) {
  std::vector<Class> all(static_cast<std::size_t>(classes));
  for (std::int64_t i = z.rows(); i-- > 0;) {
    Class& l = all[static_cast<std::size_t>(labels[i])];
    l.count += 1, l.mean += z(i, j), l.first = z(i, j);
  }
  for (Class& l : all) l.mean = l.count > 0 ? l.mean / l.count : 0;
  for (std::int64_t i = 0; i < z.rows(); ++i) {
    Class& l = all[static_cast<std::size_t>(labels[i])];
    l.variance += std::pow(z(i, j) - l.mean, 2) / l.count, l.from_first += std::pow(z(i, j) - l.first, 2) / l.count;
  }
  for (Class& l : all) {
    const double error = group_error(l.count), reach = std::sqrt(l.from_first);
    l.mean_error = error * reach + 1e-15 * (1 + std::abs(l.mean));
    l.variance_error = (error + 2 * eps) * l.from_first + 2 * l.mean_error * reach + 1e-15;
  }
  return all;
}

// `wide`: more sums than samples are added to in their order.
void stored_scatter(Case& c, bool wide) {
  const std::int64_t k = wide ? 512 + c.below(40) : c.extent(60);
  const std::int64_t n = c.long_extent(wide ? 40 : 80, 2100, std::max<std::int64_t>(k, 1), 1);
  const std::int64_t classes = wide ? 5 + c.below(6) : 1 + c.below(6);
  auto z = c.normals(n, k, 1.0, c.uniform(-10, 10));
  auto labels = c.indices(n, classes), used = labels;
  if (c.mutation == Mutation::wrong_mask) used[n - 1] = (labels[n - 1] + 1) % static_cast<std::int32_t>(classes);
  c.spoil_nan(z);
  kernels::StoredScatter found;
  // The wrapper owns its outputs: the mutation falls on a copy.
  auto variances = c.output<double>(classes, k), within = c.output<double>(k);
  c.run(
      [&] {
        found = kernels::stored_scatter(c.execution, z.in(), used.cflat(), classes);
        std::copy(found.criteria.within.begin(), found.criteria.within.end(), within.data());
        for (std::int64_t l = 0; l < classes; ++l)
          for (std::int64_t j = 0; j < k; ++j)
            variances(l, j) = found.class_variance[static_cast<std::size_t>(l * k + j)];
      },
      variances, within);
  for (std::int64_t j = 0; j < k; ++j) {
    const std::vector<Class> all = classes_of(z, labels, classes, j);
    double present = 0, means = 0, mean = 0, error = 0, mean_error = 0;
    for (std::int64_t l = 0; l < classes; ++l) {
      const Class& of = all[static_cast<std::size_t>(l)];
      c.expect(variances(l, j), of.variance, of.variance_error, "class variance", l, j);
      c.expect(found.criteria.class_mean[static_cast<std::size_t>(l * k + j)], of.mean, of.mean_error, "class mean", l,
               j);
      present += of.count > 0 ? 1 : 0, means += of.mean, mean += of.count * of.mean / static_cast<double>(n);
      error += of.variance_error, mean_error += of.mean_error;
    }
    means /= present;
    double between = 0, between_w = 0, in = 0, in_w = 0, far = 0;
    for (const Class& of : all) {
      if (of.count == 0) continue;
      between += std::pow(of.mean - means, 2) / present, between_w += of.count / n * std::pow(of.mean - mean, 2);
      in += of.variance / present, in_w += of.count / n * of.variance;
      far = std::max({far, std::abs(of.mean - mean), std::abs(of.mean - means)});
    }
    const double between_error = 4 * mean_error * (far + mean_error) + 1e-12 * far * far;
    const auto at = static_cast<std::size_t>(j);
    c.expect(found.criteria.mean[at], mean, mean_error, "mean", j);
    c.expect(within[j], in, error, "within", j);
    c.expect(found.criteria.within_weighted[at], in_w, error, "within_weighted", j);
    c.expect(found.criteria.between[at], between, between_error, "between", j);
    c.expect(found.criteria.between_weighted[at], between_w, between_error, "between_weighted", j);
    c.expect(found.criteria.total[at], between_w + in_w, between_error + error, "total", j);
  }
}

void covariance(Case& c) {
  const std::int64_t k = c.extent(50), n = c.long_extent(70, 1500, std::max<std::int64_t>(k * k, 1), 1);
  const double offset = c.uniform(-10, 10);
  auto x = c.normals(n, k, 1.0, offset), mean = c.output<float>(k), found = c.output<float>(k, k);
  c.spoil_nan(x);
  double trace = 0;
  const std::int64_t rows = c.mutation == Mutation::dropped_term && n > 1 ? n - 1 : n;
  c.run([&] { trace = kernels::covariance(c.execution, x.in().rows(0, rows), mean.flat(), found.view()); }, mean,
        found);
  const auto count = static_cast<double>(n);
  std::vector<double> mu(static_cast<std::size_t>(k)), mu_error(mu.size());
  for (std::int64_t j = 0; j < k; ++j) {
    Sum sum;
    for (std::int64_t i = 0; i < n; ++i) sum.add(x(i, j) / count);
    mu[static_cast<std::size_t>(j)] = sum.value;
    mu_error[static_cast<std::size_t>(j)] = (group_error(count) + 2 * eps) * sum.magnitude;
    c.expect(mean[j], sum.value, mu_error[static_cast<std::size_t>(j)], "mean", j);
  }
  double expected_trace = 0, trace_error = 0;
  for (std::int64_t a = 0; a < k; ++a) {
    for (std::int64_t b = 0; b < k; ++b) {
      Sum sum;
      double spread_a = 0, spread_b = 0;
      for (std::int64_t i = 0; i < n; ++i) {
        const double da = x(i, a) - mu[static_cast<std::size_t>(a)], db = x(i, b) - mu[static_cast<std::size_t>(b)];
        sum.add(da * db / count), spread_a += std::abs(da) / count, spread_b += std::abs(db) / count;
      }
      // What the means are off by, differences from them inherit.
      const double ea = mu_error[static_cast<std::size_t>(a)], eb = mu_error[static_cast<std::size_t>(b)];
      const double bound = (count + 6) * eps * sum.magnitude + ea * spread_b + eb * spread_a + 2 * ea * eb + 1e-30;
      c.expect(found(a, b), sum.value, bound, "covariance", a, b);
      if (a == b) expected_trace += sum.value, trace_error += bound;
    }
  }
  c.expect(trace, expected_trace, trace_error + 1e-12, "trace");
}

[[maybe_unused]] const bool all[] = {fuzz("stored_scatter", [](Case& c) { stored_scatter(c, false); }),
                                     fuzz("stored_scatter_by_class", [](Case& c) { stored_scatter(c, true); }),
                                     fuzz("covariance", covariance)};

}  // namespace
}  // namespace kindling::fuzz
