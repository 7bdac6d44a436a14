// The Donsker-Varadhan bound of mutual information and its gradients.
#include "kernels/information.h"

#include "fuzz/fuzz.h"

namespace kindling::fuzz {
namespace {

void donsker_varadhan(Case& c) {
  const std::int64_t b = c.extent(12), n = c.long_extent(90, 4000, std::max<std::int64_t>(b, 1), 1),
                     m = c.long_extent(90, 4000, std::max<std::int64_t>(b, 1), 1);
  const double spread = c.uniform(0.1, 6), offset = c.uniform(-30, 30);
  auto joint = c.normals(b, n, spread, offset), product = c.normals(b, m, spread, offset);
  c.spoil(joint, product);
  const float rate = c.chance(0.4) ? 1.0F : c.scalar(0.01, 0.99);
  const bool keeps = rate < 1 || c.chance(0.5);
  Array<float> average(c, keeps ? b : 0);
  average.fill([&] { return c.chance(0.2) ? -std::numeric_limits<double>::infinity() : offset + c.normal(); });
  const kernels::DonskerVaradhanOptions options{.scale = c.scalar(-2, 2), .rate = rate};
  auto before = average, value = c.output<float>(b), dj = c.output<float>(b, n), dp = c.output<float>(b, m);
  auto used = product;
  if (c.mutation == Mutation::dropped_term && b > 0) used(b - 1, m - 1) = product(b - 1, 0);
  c.run(
      [&] {
        kernels::donsker_varadhan(c.execution, joint.in(), used.in(), options, average.flat(), value.flat(), dj.view(),
                                  dp.view());
      },
      value, dj, dp);
  for (std::int64_t e = 0; e < b; ++e) {
    double top = -std::numeric_limits<double>::infinity();
    for (std::int64_t j = 0; j < m; ++j) top = product(e, j) > top ? product(e, j) : top;
    Sum mean;
    for (std::int64_t i = 0; i < n; ++i) mean.add((joint(e, i) - top) / static_cast<double>(n));
    double total = 0, moved = 0;  // moved: what the rounding of product - top does to the sum
    for (std::int64_t j = 0; j < m; ++j) {
      const double p = std::exp(product(e, j) - top);
      total += p, moved += p == 0 ? 0 : p * (top - product(e, j));
    }
    // All relative to the largest score; the exponential adds 2e-7.
    const double log_mean = std::log(total / static_cast<double>(m)), sums = static_cast<double>(m) + 8;
    const double log_error = eps * (sums + moved / total + 4 * std::abs(log_mean)) + 4e-7;
    const double found = mean.value - log_mean;
    c.expect(value[e], found, sum_bound(n, mean) + log_error + 2 * eps * std::abs(found), "value", e);
    const bool mixes = rate < 1 && !std::isinf(before[e]);
    const double kept = mixes ? std::log1p(-static_cast<double>(rate)) + before[e] - top : 0;
    const double fresh = std::log(static_cast<double>(rate)) + log_mean, larger = std::max(kept, fresh);
    const double a = mixes ? larger + std::log(std::exp(kept - larger) + std::exp(fresh - larger)) : log_mean;
    const double a_error =
        mixes ? log_error + 6e-7 +
                    eps * (8 + 4 * (std::abs(kept) + std::abs(fresh) + std::abs(a)) + 2 * std::abs(before[e] - top))
              : log_error;
    if (keeps) c.expect(average[e], top + a, a_error + 2 * eps * std::abs(top + a), "average", e);
    for (std::int64_t i = 0; i < n; ++i) {
      const double expected = options.scale / static_cast<double>(n);
      c.expect(dj(e, i), expected, 2 * eps * std::abs(expected), "joint gradient", e, i);
    }
    for (std::int64_t j = 0; j < m; ++j) {
      const double apart = product(e, j) - top;
      const double expected = -options.scale * std::exp(apart - a) / static_cast<double>(m);
      const double relative = std::isinf(apart) ? 0 : std::expm1(eps * std::abs(apart) + a_error) + 6e-7 + 6 * eps;
      c.expect(dp(e, j), expected, relative * std::abs(expected) + 1e-37, "product gradient", e, j);
    }
  }
}

[[maybe_unused]] const bool all[] = {fuzz("donsker_varadhan", donsker_varadhan)};

}  // namespace
}  // namespace kindling::fuzz
