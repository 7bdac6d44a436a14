#include "kernels/jacobian.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "kernels/activation_kernels.h"
#include "kernels/expect.h"

namespace kindling::kernels {
namespace {

using Use = Buffer::Use;

// How many rows share one row of activations.
std::int32_t rows_per_sample(std::string_view kernel, std::int64_t rows, const Derivative& derivative,
                             std::int64_t width) {
  const std::int64_t samples = derivative.y.rank() < 1 ? 0 : derivative.y.rows();
  expect_shape(kernel, "y", derivative.y, samples, width);
  if (samples == 0 ? rows != 0 : rows % samples != 0) {
    refuse(kernel, fmt::format("expected as many rows for each of {} samples, found {} rows", samples, rows));
  }
  return static_cast<std::int32_t>(samples == 0 ? 1 : std::max<std::int64_t>(rows / samples, 1));
}

// Rows of samples as (width, rows of a sample, samples).
template <class T>
Buffer by_sample(Use use, const BasicTensorView<T>& v, std::int64_t samples) {
  const std::int64_t rows = v.rows() / samples;
  return Buffer(use, v.data(), {v.cols(), rows, samples}, {1, v.row_stride(), rows * v.row_stride()});
}

// Returns the number of samples.
std::int64_t expect_lists(std::string_view kernel, ConstTensorView v, const ActiveUnits& active) {
  expect_rows(kernel, "v", v);
  const auto samples = static_cast<std::int64_t>(active.count.size());
  expect_size(kernel, "index", active.index, samples * v.cols());
  if (samples == 0 ? v.rows() != 0 : v.rows() % samples != 0) {
    refuse(kernel, fmt::format("expected as many rows for each of {} samples, found {} rows", samples, v.rows()));
  }
  for (std::size_t n = 0; n < active.count.size(); ++n) {
    if (active.count[n] < 0 || active.count[n] > v.cols()) {
      refuse(kernel, fmt::format("expected count in 0..{}, found {} at sample {}", v.cols(), active.count[n], n));
    }
  }
  return samples;
}

// A sum over no columns, but kernels clamp their loads to an element: one column of zeros stands in.
Tensor no_columns(ConstTensorView v) { return Tensor({v.rows(), 1}); }

Buffer in_lists(const ActiveUnits& active, std::int64_t width) {
  return Buffer(Use::in, active.index.data(), {width, static_cast<std::int64_t>(active.count.size())}, {1, width});
}

}  // namespace

void jacobian_top(const Execution& execution, ConstTensorView w, const Derivative& below, TensorView s) {
  constexpr std::string_view name = "jacobian_top";
  expect_rows(name, "w", w);
  expect_rows(name, "y", below.y);
  expect_shape(name, "y", below.y, below.y.rows(), w.cols());
  expect_shape(name, "s", s, below.y.rows() * w.rows(), w.cols());
  if (s.size() == 0) return;
  static const ActivationKernels kernels("jacobian_top");
  kernels.of(below.activation)(execution, buffer_of(Use::in, w), buffer_of(Use::in, below.y),
                               slope_of(below.activation), buffer_of(Use::out, s));
}

void jacobian_product(const Execution& execution, ConstTensorView v, ConstTensorView w, const Derivative& below,
                      TensorView s) {
  constexpr std::string_view name = "jacobian_product";
  expect_rows(name, "v", v);
  expect_shape(name, "w", w, v.cols(), w.rank() < 1 ? 0 : w.cols());
  expect_shape(name, "s", s, v.rows(), w.cols());
  const std::int32_t share = rows_per_sample(name, v.rows(), below, w.cols());
  if (s.size() == 0) return;
  if (v.cols() == 0) return jacobian_product(execution, no_columns(v), Tensor({1, w.cols()}), below, s);
  static const ActivationKernels kernels("jacobian_product");
  kernels.of(below.activation)(execution, buffer_of(Use::in, v), buffer_of(Use::in, w), buffer_of(Use::in, below.y),
                               share, slope_of(below.activation), buffer_of(Use::out, s));
}

void jacobian_product(const Execution& execution, ConstTensorView v, ConstTensorView w, TensorView s) {
  if (w.rank() < 1 || w.rows() == 0) refuse("jacobian_product", "expected w of at least one row, found none");
  // The identity multiplies by its slope 1 on either side of the kink, whatever the activations: a row of W serves,
  // whose NaN would show in V W all the same.
  jacobian_product(execution, v, w, {w.rows(0, 1), {ActivationKind::identity}}, s);
}

void jacobian_transposed(const Execution& execution, ConstTensorView v, ConstTensorView w, const Derivative& at,
                         TensorView t) {
  constexpr std::string_view name = "jacobian_transposed";
  expect_rows(name, "v", v);
  expect_shape(name, "w", w, w.rank() < 1 ? 0 : w.rows(), v.cols());
  expect_shape(name, "t", t, v.rows(), w.rows());
  const std::int32_t share = rows_per_sample(name, v.rows(), at, w.rows());
  if (t.size() == 0) return;
  if (v.cols() == 0) return jacobian_transposed(execution, no_columns(v), no_columns(w), at, t);
  static const ActivationKernels kernels("jacobian_transposed");
  kernels.of(at.activation)(execution, buffer_of(Use::in, v), buffer_of(Use::in, w), buffer_of(Use::in, at.y), share,
                            slope_of(at.activation), buffer_of(Use::out, t));
}

void jacobian_adjoint(const Execution& execution, ConstTensorView v, ConstTensorView w, ConstTensorView s,
                      std::span<const float> scale, const Derivative& at, TensorView t) {
  constexpr std::string_view name = "jacobian_adjoint";
  if (is_smooth(at.activation)) {
    refuse(name, fmt::format("expected a piecewise-linear activation, found {}", to_string(at.activation)));
  }
  expect_rows(name, "v", v);
  expect_shape(name, "w", w, w.rank() < 1 ? 0 : w.rows(), v.cols());
  expect_shape(name, "s", s, v.rows(), w.rows());
  expect_size(name, "scale", scale, v.rows());
  expect_shape(name, "t", t, v.rows(), w.rows());
  const std::int32_t share = rows_per_sample(name, v.rows(), at, w.rows());
  if (t.size() == 0) return;
  if (v.cols() == 0) return jacobian_adjoint(execution, no_columns(v), no_columns(w), s, scale, at, t);
  static const Kernel kernel("jacobian_adjoint");
  kernel(execution, buffer_of(Use::in, v), buffer_of(Use::in, w), buffer_of(Use::in, at.y), share,
         slope_of(at.activation), buffer_of(Use::in, s), in(scale), buffer_of(Use::out, t));
}

void jacobian_join(const Execution& execution, ConstTensorView p, std::span<const float> a, ConstTensorView s,
                   std::span<const float> b, const Derivative& at, TensorView t) {
  constexpr std::string_view name = "jacobian_join";
  expect_rows(name, "p", p);
  expect_shape(name, "s", s, p.rows(), p.cols());
  expect_size(name, "a", a, p.rows());
  expect_size(name, "b", b, p.rows());
  expect_shape(name, "t", t, p.rows(), p.cols());
  const std::int32_t share = rows_per_sample(name, p.rows(), at, p.cols());
  if (t.size() == 0) return;
  static const ActivationKernels kernels("jacobian_join");
  kernels.of(at.activation)(execution, buffer_of(Use::in, p), buffer_of(Use::in, s), in(a), in(b),
                            buffer_of(Use::in, at.y), share, slope_of(at.activation), buffer_of(Use::out_in_place, t));
}

void jacobian_curvature(const Execution& execution, ConstTensorView a, ConstTensorView s, const Derivative& at,
                        TensorView du) {
  constexpr std::string_view name = "jacobian_curvature";
  if (!is_smooth(at.activation)) {
    refuse(name, fmt::format("expected tanh or sigmoid, found {}, whose f'' is 0", to_string(at.activation)));
  }
  expect_rows(name, "a", a);
  expect_shape(name, "s", s, a.rows(), a.cols());
  const std::int32_t share = rows_per_sample(name, a.rows(), at, a.cols());
  expect_shape(name, "du", du, at.y.rows(), a.cols());
  if (du.size() == 0) return;
  static const Kernel tanh("jacobian_curvature_tanh"), sigmoid("jacobian_curvature_sigmoid");
  const Kernel& kernel = at.activation.kind == ActivationKind::tanh ? tanh : sigmoid;
  kernel(execution, buffer_of(Use::in, a), buffer_of(Use::in, s), buffer_of(Use::in, at.y), share,
         buffer_of(Use::out, du));
}

void row_norms(const Execution& execution, ConstTensorView x, std::span<float> norms) {
  constexpr std::string_view name = "row_norms";
  expect_rows(name, "x", x);
  expect_size(name, "norms", norms, x.rows());
  if (x.rows() == 0) return;
  if (x.cols() == 0) {
    std::fill(norms.begin(), norms.end(), 0.0F);
    return;
  }
  static const Kernel kernel("row_norms");
  kernel(execution, buffer_of(Use::in, x), out(norms));
}

void row_dots(const Execution& execution, ConstTensorView x, ConstTensorView y, std::span<float> dots) {
  constexpr std::string_view name = "row_dots";
  expect_rows(name, "x", x);
  expect_shape(name, "y", y, x.rows(), x.cols());
  expect_size(name, "dots", dots, x.rows());
  if (x.rows() == 0) return;
  if (x.cols() == 0) {
    std::fill(dots.begin(), dots.end(), 0.0F);
    return;
  }
  static const Kernel kernel("row_dots");
  kernel(execution, buffer_of(Use::in, x), buffer_of(Use::in, y), out(dots));
}

void scale_rows(const Execution& execution, ConstTensorView x, std::span<const float> scale, TensorView y) {
  constexpr std::string_view name = "scale_rows";
  expect_rows(name, "x", x);
  expect_size(name, "scale", scale, x.rows());
  expect_shape(name, "y", y, x.rows(), x.cols());
  if (y.size() == 0) return;
  static const Kernel kernel("scale_rows");
  kernel(execution, buffer_of(Use::in, x), in(scale), buffer_of(Use::out_in_place, y));
}

void quadratic_forms(const Execution& execution, ConstTensorView v, ConstTensorView g, std::span<float> forms) {
  constexpr std::string_view name = "quadratic_forms";
  expect_rows(name, "v", v);
  expect_shape(name, "g", g, v.cols(), v.cols());
  expect_size(name, "forms", forms, v.rows());
  if (v.rows() == 0) return;
  if (v.cols() == 0) {
    std::fill(forms.begin(), forms.end(), 0.0F);
    return;
  }
  static const Kernel kernel("quadratic_forms");
  kernel(execution, buffer_of(Use::in, v), buffer_of(Use::in, g), out(forms));
}

void active_units(const Execution& execution, ConstTensorView y, std::span<std::int32_t> index,
                  std::span<std::int32_t> count) {
  constexpr std::string_view name = "active_units";
  expect_rows(name, "y", y);
  expect_size(name, "index", index, y.size());
  expect_size(name, "count", count, y.rows());
  if (y.rows() == 0) return;
  if (y.cols() == 0) {
    std::fill(count.begin(), count.end(), 0);
    return;
  }
  static const Kernel kernel("active_units");
  kernel(execution, buffer_of(Use::in, y), Buffer(Use::out, index.data(), {y.cols(), y.rows()}, {1, y.cols()}),
         out(count));
}

void jacobian_masked_product(const Execution& execution, ConstTensorView v, const ActiveUnits& active,
                             ConstTensorView w, const Derivative& below, TensorView s) {
  constexpr std::string_view name = "jacobian_masked_product";
  if (is_smooth(below.activation)) {
    refuse(name, fmt::format("expected a piecewise-linear activation, found {}", to_string(below.activation)));
  }
  const std::int64_t samples = expect_lists(name, v, active);
  expect_shape(name, "w", w, v.cols(), w.rank() < 1 ? 0 : w.cols());
  expect_shape(name, "s", s, v.rows(), w.cols());
  expect_shape(name, "y", below.y, samples, w.cols());
  if (s.size() == 0) return;
  static const Kernel kernel("jacobian_masked_product");
  kernel(execution, by_sample(Use::in, v, samples), in_lists(active, v.cols()), in(active.count), buffer_of(Use::in, w),
         buffer_of(Use::in, below.y), slope_of(below.activation), by_sample(Use::out, s, samples));
}

void masked_quadratic_forms(const Execution& execution, ConstTensorView v, const ActiveUnits& active, ConstTensorView g,
                            std::span<float> forms) {
  constexpr std::string_view name = "masked_quadratic_forms";
  const std::int64_t samples = expect_lists(name, v, active);
  expect_shape(name, "g", g, v.cols(), v.cols());
  expect_size(name, "forms", forms, v.rows());
  if (v.rows() == 0) return;
  if (v.cols() == 0) {
    std::fill(forms.begin(), forms.end(), 0.0F);
    return;
  }
  static const Kernel kernel("masked_quadratic_forms");
  kernel(execution, by_sample(Use::in, v, samples), in_lists(active, v.cols()), in(active.count), buffer_of(Use::in, g),
         Buffer(Use::out, forms.data(), {v.rows() / samples, samples}, {1, v.rows() / samples}));
}

}  // namespace kindling::kernels
