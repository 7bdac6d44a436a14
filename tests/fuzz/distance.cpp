// Quantiles of pairwise distances, which count pairs below thresholds and find what comes next above the last one.
#include "fuzz/fuzz.h"
#include "fuzz/points.h"
#include "kernels/gram.h"

namespace kindling::fuzz {
namespace {

// `large`: pools whose distances are not kept, mostly.
void quantile(Case& c, bool large) {
  large = large && c.chance(0.9);
  const std::int64_t problems = large ? 2 : 1 + c.below(5), d = large ? c.extent(6, 1) : c.long_extent(40, 300, 400, 1);
  std::int64_t n = c.extent(40) + (large ? 257 : 0), m = c.extent(30);
  // The first few distances are found without counting, so that most pools have more.
  if (n + m < 2 || (n + m < 8 && c.chance(0.8))) m = 2 + c.below(30);
  const bool with_y = m > 0 || c.chance(0.5);
  Points x(c, problems, n, d, c.uniform(-30, 30)), y(c, problems, m, d, c.uniform(-30, 30));
  // Points on a coarse grid, so that distances coincide.
  if (c.chance(0.3)) {
    for (Points* p : {&x, &y})
      for (std::int64_t r = 0; r < p->values.rows(); ++r)
        for (std::int64_t k = 0; k < p->values.cols(); ++k) p->values(r, k) = std::round(p->values(r, k) / 2);
  }
  c.spoil(x.values, y.values);
  const double quantiles[] = {0, 1, 0.5, 0.5, c.uniform(0, 1), c.uniform(0, 1), c.uniform(0, 1), c.uniform(0, 1)};
  const double q = quantiles[c.below(8)];
  auto found = c.output<float>(problems);
  const auto call = [&] {
    kernels::pair_distance_quantile(c.execution, x.in(), with_y ? y.fewer(c) : ConstTensorView(), q, found.flat());
  };
  if (c.refused("pair_distance_quantile", call, found)) return;
  c.run(call, found);
  for (std::int64_t p = 0; p < problems; ++p) {
    const auto at = [&](std::int64_t i, std::int64_t k) { return i < n ? x(p, i, k) : y(p, i - n, k); };
    std::vector<double> distances;
    for (std::int64_t i = 0; i < n + m; ++i) {
      for (std::int64_t j = i + 1; j < n + m; ++j) {
        double squared = 0;
        for (std::int64_t k = 0; k < d; ++k) squared += (at(i, k) - at(j, k)) * (at(i, k) - at(j, k));
        distances.push_back(std::sqrt(squared));
      }
    }
    std::sort(distances.begin(), distances.end());
    const double place = q * static_cast<double>(distances.size() - 1);
    const auto k = static_cast<std::size_t>(place);
    const double next = distances[std::min(k + 1, distances.size() - 1)];
    const double expected = distances[k] + (place - static_cast<double>(k)) * (next - distances[k]);
    // Each squared distance is a float32 sum, and order statistics err by no more than what is ordered.
    c.expect(found[p], expected, (static_cast<double>(d) + 6) / 2 * eps * next, "quantile", p);
  }
}

[[maybe_unused]] const bool all[] = {
    fuzz("pair_distance_counts", [](Case& c) { quantile(c, true); }),
    fuzz("pair_distance_next", [](Case& c) { quantile(c, true); }),
    fuzz("pair_distance_select", [](Case& c) { quantile(c, false); }),
};

}  // namespace
}  // namespace kindling::fuzz
