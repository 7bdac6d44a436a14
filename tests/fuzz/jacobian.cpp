// Jacobian sweeps through a chain of dense layers.
#include "kernels/jacobian.h"

#include "fuzz/fuzz.h"

namespace kindling::fuzz {
namespace {

enum class Step { product, transposed, adjoint };

// Rows of a sample's Jacobian, a layer's widths.
struct Sizes {
  std::int64_t samples, share, rows;

  explicit Sizes(Case& c) : samples(c.extent(14)), share(1 + c.below(11)), rows(samples * share) {}
};

// Without its last column or row where the sum over it must lose a term.
ConstTensorView fewer_columns(const Case& c, ConstTensorView v) {
  return {v.data(), v.rows(), c.mutation == Mutation::dropped_term && v.cols() > 0 ? v.cols() - 1 : v.cols(),
          v.row_stride()};
}
ConstTensorView fewer_rows(const Case& c, ConstTensorView v) {
  return {v.data(), c.mutation == Mutation::dropped_term && v.rows() > 0 ? v.rows() - 1 : v.rows(), v.cols(),
          v.row_stride()};
}

void top(Case& c, std::string_view form) {
  const std::int64_t n = c.extent(24), d = c.extent(12, 1), k = c.long_extent(90, 900, n * d, 1);
  const Activation below = draw_activation(c, form);
  auto w = c.normals(d, k), y = draw_outputs(c, below, n, k), s = c.output<float>(n * d, k);
  c.spoil(w, y);
  c.run([&] { kernels::jacobian_top(c.execution, w.in(), {y.in(), mutated(c, below)}, s.view()); }, s);
  for (std::int64_t r = 0; r < n * d; ++r) {
    for (std::int64_t p = 0; p < k; ++p) {
      Sum g;
      g.add(w(r % d, p));
      c.expect(s(r, p), through_derivative(below, y(r / d, p), g, 0), "s", r, p);
    }
  }
}

void step(Case& c, std::string_view form, Step which) {
  const Sizes z(c);
  const bool down = which == Step::product;
  const std::int64_t to = c.extent(60), from = c.long_extent(40, 700, z.rows * to);
  const Activation activation = draw_activation(c, form);
  // V W below a layer of from x to weights, V W^T above one of to x from.
  auto v = c.normals(z.rows, from), w = down ? c.normals(from, to) : c.normals(to, from);
  auto y = draw_outputs(c, activation, z.samples, to), joined = c.normals(z.rows, to), t = c.output<float>(z.rows, to);
  auto scale = c.normals(z.rows);
  if (which == Step::adjoint)
    c.spoil(v, w, y, joined, scale);
  else
    c.spoil(v, w, y);
  const auto call = [&] {
    const kernels::Derivative at{y.in(), mutated(c, activation)};
    const auto vs = fewer_columns(c, v.in()), ws = down ? fewer_rows(c, w.in()) : fewer_columns(c, w.in());
    if (which == Step::product) kernels::jacobian_product(c.execution, vs, ws, at, t.view());
    if (which == Step::transposed) kernels::jacobian_transposed(c.execution, vs, ws, at, t.view());
    if (which == Step::adjoint)
      kernels::jacobian_adjoint(c.execution, vs, ws, joined.in(), scale.cflat(), at, t.view());
  };
  c.run(call, t);
  for (std::int64_t r = 0; r < z.rows; ++r) {
    for (std::int64_t j = 0; j < to; ++j) {
      Sum g;
      for (std::int64_t p = 0; p < from; ++p) g.add(static_cast<double>(v(r, p)) * (down ? w(p, j) : w(j, p)));
      if (which == Step::adjoint) g.add(static_cast<double>(scale[r]) * joined(r, j));
      c.expect(t(r, j), through_derivative(activation, y(r / z.share, j), g, from + 1), "t", r, j);
    }
  }
}

void join(Case& c, std::string_view form) {
  const Sizes z(c);
  const std::int64_t k = c.long_extent(90, 900, z.rows);
  const Activation at = draw_activation(c, form);
  auto p = c.normals(z.rows, k), s = c.normals(z.rows, k), y = draw_outputs(c, at, z.samples, k);
  auto a = c.normals(z.rows), b = c.normals(z.rows), t = c.output<float>(z.rows, k);
  c.spoil(p, s, y, a, b);
  auto used_b = b;
  if (c.mutation == Mutation::dropped_term) used_b.fill([] { return 0; });
  const bool in_place = c.chance(0.3);
  if (in_place) t = p;
  c.run(
      [&] {
        kernels::jacobian_join(c.execution, in_place ? t.in() : p.in(), a.cflat(), s.in(), used_b.cflat(),
                               {y.in(), mutated(c, at)}, t.view());
      },
      t);
  for (std::int64_t r = 0; r < z.rows; ++r) {
    for (std::int64_t j = 0; j < k; ++j) {
      Sum g;
      g.add(static_cast<double>(a[r]) * p(r, j));
      g.add(static_cast<double>(b[r]) * s(r, j));
      c.expect(t(r, j), through_derivative(at, y(r / z.share, j), g, 2), "t", r, j);
    }
  }
}

void curvature(Case& c, std::string_view form) {
  const Sizes z(c);
  const std::int64_t k = c.long_extent(90, 900, z.rows);
  const Activation at = draw_activation(c, form);
  auto a = c.normals(z.rows, k), s = c.normals(z.rows, k), y = draw_outputs(c, at, z.samples, k);
  auto du = c.output<float>(z.samples, k);
  c.spoil(a, s, y);
  auto used = a;
  if (c.mutation == Mutation::dropped_term && z.rows * k > 0) used(z.rows - 1, k - 1) = 0;
  c.run([&] { kernels::jacobian_curvature(c.execution, used.in(), s.in(), {y.in(), mutated(c, at)}, du.view()); }, du);
  for (std::int64_t n = 0; n < z.samples; ++n) {
    for (std::int64_t j = 0; j < k; ++j) {
      Sum g;
      for (std::int64_t r = n * z.share; r < (n + 1) * z.share; ++r) g.add(static_cast<double>(a(r, j)) * s(r, j));
      const double output = y(n, j), quotient = form == "tanh" ? -2 * output : 1 - 2 * output;
      c.expect(du(n, j), quotient * g.value, sum_bound(z.share, g) * std::abs(quotient) + 3 * eps * std::abs(g.value),
               "du", n, j);
    }
  }
}

void norms(Case& c) {
  const std::int64_t n = c.extent(80), k = c.long_extent(100, 3000, std::max<std::int64_t>(n, 1));
  auto x = c.normals(n, k);
  auto out = c.output<float>(n);
  c.spoil(x);
  c.run([&] { kernels::row_norms(c.execution, fewer_columns(c, x.in()), out.flat()); }, out);
  for (std::int64_t i = 0; i < n; ++i) {
    Sum sum;
    for (std::int64_t j = 0; j < k; ++j) sum.add(static_cast<double>(x(i, j)) * x(i, j));
    // The error of the square root is half that of the sum, relative to it, and its own rounding.
    c.expect(out[i], std::sqrt(sum.value), (static_cast<double>(k) / 2 + 4) * eps * std::sqrt(sum.magnitude), "norm",
             i);
  }
}

void dots(Case& c) {
  const std::int64_t n = c.extent(80), k = c.long_extent(100, 3000, std::max<std::int64_t>(n, 1));
  auto x = c.normals(n, k), y = c.normals(n, k);
  auto out = c.output<float>(n);
  c.spoil(x, y);
  c.run([&] { kernels::row_dots(c.execution, fewer_columns(c, x.in()), fewer_columns(c, y.in()), out.flat()); }, out);
  for (std::int64_t i = 0; i < n; ++i) {
    Sum sum;
    for (std::int64_t j = 0; j < k; ++j) sum.add(static_cast<double>(x(i, j)) * y(i, j));
    c.expect(out[i], sum.value, sum_bound(k, sum), "dot", i);
  }
}

void scale(Case& c) {
  const std::int64_t n = c.extent(80), k = c.long_extent(100, 3000, std::max<std::int64_t>(n, 1));
  auto x = c.normals(n, k), y = c.output<float>(n, k);
  auto factor = c.normals(n);
  c.spoil(x, factor);
  const bool in_place = c.chance(0.3);
  if (in_place) y = x;
  c.run([&] { kernels::scale_rows(c.execution, in_place ? y.in() : x.in(), factor.cflat(), y.view()); }, y);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < k; ++j) {
      const double expected = static_cast<double>(factor[i]) * x(i, j);
      c.expect(y(i, j), expected, 1.01 * eps * std::abs(expected), "y", i, j);
    }
  }
}

[[maybe_unused]] const bool all[] = {
    fuzz("jacobian_top", [](Case& c) { top(c, ""); }),
    fuzz("jacobian_top_tanh", [](Case& c) { top(c, "tanh"); }),
    fuzz("jacobian_top_sigmoid", [](Case& c) { top(c, "sigmoid"); }),
    fuzz("jacobian_product", [](Case& c) { step(c, "", Step::product); }),
    fuzz("jacobian_product_tanh", [](Case& c) { step(c, "tanh", Step::product); }),
    fuzz("jacobian_product_sigmoid", [](Case& c) { step(c, "sigmoid", Step::product); }),
    fuzz("jacobian_transposed", [](Case& c) { step(c, "", Step::transposed); }),
    fuzz("jacobian_transposed_tanh", [](Case& c) { step(c, "tanh", Step::transposed); }),
    fuzz("jacobian_transposed_sigmoid", [](Case& c) { step(c, "sigmoid", Step::transposed); }),
    fuzz("jacobian_adjoint", [](Case& c) { step(c, "", Step::adjoint); }),
    fuzz("jacobian_join", [](Case& c) { join(c, ""); }),
    fuzz("jacobian_join_tanh", [](Case& c) { join(c, "tanh"); }),
    fuzz("jacobian_join_sigmoid", [](Case& c) { join(c, "sigmoid"); }),
    fuzz("jacobian_curvature_tanh", [](Case& c) { curvature(c, "tanh"); }),
    fuzz("jacobian_curvature_sigmoid", [](Case& c) { curvature(c, "sigmoid"); }),
    fuzz("row_norms", norms),
    fuzz("row_dots", dots),
    fuzz("scale_rows", scale)};

}  // namespace
}  // namespace kindling::fuzz
