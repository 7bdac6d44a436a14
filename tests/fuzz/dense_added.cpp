// A dense layer whose input is two parts, of which the first was multiplied before.
#include "fuzz/fuzz.h"
#include "kernels/dense.h"

namespace kindling::fuzz {
namespace {

void forward_added(Case& c) {
  const std::int64_t n = c.extent(50), m = c.extent(70), k = c.long_extent(90, 900, n * m), period = c.extent(60, 1);
  const Activation activation = draw_activation(c, "");
  auto x = c.normals(n, k), w = c.normals(m, k), added = c.normals(period, m), y = c.output<float>(n, m);
  c.spoil(x, w, added);
  auto used = added;
  // The part that was multiplied before stays what it was at one place.
  if (c.mutation == Mutation::stale_bias && m > 0) used(0, m - 1) = 0.25F;
  const std::int64_t depth = c.mutation == Mutation::dropped_term && k > 0 ? k - 1 : k;
  const auto cut = [&](Array<float>& a) { return ConstTensorView(a.data(), a.rows(), depth, a.in().row_stride()); };
  c.run([&] { kernels::dense_forward_added(c.execution, cut(x), cut(w), used.in(), mutated(c, activation), y.view()); },
        y);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < m; ++j) {
      Sum z;
      z.add(added(i % period, j));
      for (std::int64_t p = 0; p < k; ++p) z.add(static_cast<double>(x(i, p)) * w(j, p));
      c.expect(y(i, j), activated(activation, z, k), "y", i, j);
    }
  }
}

[[maybe_unused]] const bool all[] = {fuzz("dense_forward_added", forward_added)};

}  // namespace
}  // namespace kindling::fuzz
