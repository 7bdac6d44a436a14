// Quadratic forms, and the steps that follow lists of active units.
#include "fuzz/fuzz.h"
#include "kernels/jacobian.h"

namespace kindling::fuzz {
namespace {

// Samples, rows a sample and the lists of each sample's active units, of which some have none and some all.
struct Lists {
  std::int64_t samples, share, rows, width;
  Array<std::int32_t> index, count;

  Lists(Case& c, std::int64_t units)
      : samples(c.extent(14)),
        share(1 + c.below(11)),
        rows(samples * share),
        width(units),
        index(c, samples * units),
        count(c, samples) {
    index.fill([] { return -1; });
    for (std::int64_t n = 0; n < samples; ++n) {
      const std::int64_t kind = c.below(6);
      count[n] = 0;
      for (std::int64_t m = 0; m < width; ++m)
        if (kind == 0 || (kind > 1 && c.chance(0.5))) index[n * width + count[n]++] = static_cast<std::int32_t>(m);
    }
    // A mask that forgets the last unit of the last sample.
    if (c.mutation == Mutation::wrong_mask && samples > 0) short_by_ = std::min(count[samples - 1], 1);
  }
  // What the wrapper gets, and what it should have got.
  kernels::ActiveUnits view() {
    used_.assign(count.flat().begin(), count.flat().end());
    if (short_by_ > 0) used_.back() -= short_by_;
    return {index.cflat(), used_};
  }
  [[nodiscard]] std::span<const std::int32_t> of(std::int64_t n) {
    return index.cflat().subspan(static_cast<std::size_t>(n * width), static_cast<std::size_t>(count[n]));
  }
  void clear_inactive(Array<float>& v) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto units = of(r / share);
      for (std::int64_t m = 0; m < width; ++m)
        if (!std::binary_search(units.begin(), units.end(), m)) v(r, m) = 0;
    }
  }

 private:
  std::int32_t short_by_ = 0;
  std::vector<std::int32_t> used_;
};

// A symmetric matrix, of which a NaN is symmetric too.
void symmetrize(Array<float>& g) {
  for (std::int64_t j = 0; j < g.rows(); ++j)
    for (std::int64_t k = 0; k < j; ++k)
      (std::isfinite(g(j, k)) ? g(j, k) : g(k, j)) = std::isfinite(g(j, k)) ? g(k, j) : g(j, k);
}

// sum_jk v_j g_jk v_k, k in `units` and j anywhere.
template <class Units>
void expect_form(Case& c, float found, Array<float>& v, Array<float>& g, std::int64_t r, const Units& units) {
  Sum outer;
  double magnitude = 0;
  for (std::int64_t j = 0; j < g.rows(); ++j) {
    Sum inner;
    for (const auto k : units) inner.add(static_cast<double>(g(j, k)) * v(r, k));
    outer.add(v(r, j) * inner.value), magnitude += std::abs(v(r, j)) * inner.magnitude;
  }
  const double terms = static_cast<double>(g.rows()) + static_cast<double>(units.size());
  c.expect(found, outer.value, (terms + 8) * eps * magnitude, "form", r);
}

std::vector<std::int64_t> all_units(std::int64_t width) {
  std::vector<std::int64_t> units(static_cast<std::size_t>(width));
  for (std::int64_t i = 0; i < width; ++i) units[static_cast<std::size_t>(i)] = i;
  return units;
}

void forms(Case& c) {
  const std::int64_t n = c.extent(60), k = c.extent(50);
  auto v = c.normals(n, k), g = c.normals(k, k);
  c.spoil(v, g);
  symmetrize(g);
  auto out = c.output<float>(n);
  const std::int64_t width = c.mutation == Mutation::dropped_term && k > 0 ? k - 1 : k;
  const auto cut = [&](ConstTensorView a, std::int64_t rows) {
    return ConstTensorView(a.data(), rows, width, a.row_stride());
  };
  c.run([&] { kernels::quadratic_forms(c.execution, cut(v.in(), n), cut(g.in(), width), out.flat()); }, out);
  const auto units = all_units(k);
  for (std::int64_t r = 0; r < n; ++r) expect_form(c, out[r], v, g, r, units);
}

void masked_forms(Case& c) {
  Lists lists(c, c.extent(50));
  auto v = c.normals(lists.rows, lists.width), g = c.normals(lists.width, lists.width);
  c.spoil(v, g);
  lists.clear_inactive(v);
  symmetrize(g);
  auto out = c.output<float>(lists.rows);
  c.run([&] { kernels::masked_quadratic_forms(c.execution, v.in(), lists.view(), g.in(), out.flat()); }, out);
  for (std::int64_t r = 0; r < lists.rows; ++r) expect_form(c, out[r], v, g, r, lists.of(r / lists.share));
}

void masked_product(Case& c) {
  Lists lists(c, c.long_extent(40, 500, 1500, 1));
  const std::int64_t k = c.extent(60);
  const Activation below = draw_activation(c, "");
  // Whatever V holds outside the lists is not read.
  auto v = c.normals(lists.rows, lists.width), w = c.normals(lists.width, k),
       y = draw_outputs(c, below, lists.samples, k);
  auto s = c.output<float>(lists.rows, k);
  c.spoil(v, w, y);
  c.run(
      [&] {
        kernels::jacobian_masked_product(c.execution, v.in(), lists.view(), w.in(), {y.in(), below}, s.view());
      },
      s);
  for (std::int64_t r = 0; r < lists.rows; ++r) {
    for (std::int64_t j = 0; j < k; ++j) {
      Sum g;
      for (const std::int32_t m : lists.of(r / lists.share)) g.add(static_cast<double>(v(r, m)) * w(m, j));
      c.expect(s(r, j), through_derivative(below, y(r / lists.share, j), g, lists.width), "s", r, j);
    }
  }
}

void active_units(Case& c) {
  const std::int64_t n = c.extent(60), m = c.long_extent(100, 2000, std::max<std::int64_t>(n, 1));
  auto y = c.normals(n, m, 1.0, c.chance(0.5) ? 0.0 : c.uniform(-1, 1)), used = y;
  c.spoil(y);
  used = y;
  // The mask takes zeros as well.
  if (c.mutation == Mutation::wrong_mask)
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < m; ++j) used(i, j) = y(i, j) == 0 ? 1.0F : y(i, j);
  auto index = c.output<std::int32_t>(n * m), count = c.output<std::int32_t>(n);
  c.run([&] { kernels::active_units(c.execution, used.in(), index.flat(), count.flat()); }, index, count);
  for (std::int64_t i = 0; i < n; ++i) {
    std::int64_t found = 0;
    for (std::int64_t j = 0; j < m; ++j) {
      if (y(i, j) <= 0) continue;
      if (found < count[i]) c.expect(index[i * m + found], static_cast<double>(j), 0, "index", i, found);
      ++found;
    }
    c.expect(count[i], static_cast<double>(found), 0, "count", i);
  }
}

[[maybe_unused]] const bool all[] = {fuzz("quadratic_forms", forms), fuzz("masked_quadratic_forms", masked_forms),
                                     fuzz("jacobian_masked_product", masked_product),
                                     fuzz("active_units", active_units)};

}  // namespace
}  // namespace kindling::fuzz
