// Jacobians of a chain of dense layers, in rows.
//
// Throughout: N samples, d rows a sample (R = N d, rows of one sample adjacent), a layer W (M x K), row-major float32.
// f' of an activation is taken from its output Y (N x width, one row a sample): at the kink of a piecewise-linear
// activation (Y = 0) it is that of the negative side, and a NaN in Y stays one. Inputs may have strided rows; outputs
// overlap no input unless said otherwise. Results do not depend on the number of threads, nor a row on the other rows.
// A shape that does not fit throws Error{usage}.
#pragma once

#include <kindling/activation.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <span>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// f' of a layer's activation at every sample, given its outputs.
struct Derivative {
  ConstTensorView y;  ///< N x width
  Activation activation;
};

/// S(n, i) = W(i) * f'(y(n)): the last layer (W d x K) by the pre-activations that feed it. s (N d x K).
void jacobian_top(const Execution& execution, ConstTensorView w, const Derivative& below, TensorView s);

/// S = (V W) * f'(below): one layer further towards the input. v (R x M), w (M x K), below.y (N x K), s (R x K); R is a
/// multiple of N. Error: at most M eps sum_m |v_m w_mk| |f'|, eps = 2^-24; f' of tanh and sigmoid adds 4 eps.
void jacobian_product(const Execution& execution, ConstTensorView v, ConstTensorView w, const Derivative& below,
                      TensorView s);
/// S = V W, f' being 1.
void jacobian_product(const Execution& execution, ConstTensorView v, ConstTensorView w, TensorView s);

/// T = (V W^T) * f'(at): one layer towards the output, for tangent vectors. v (R x K), w (M x K), at.y (N x M) the
/// outputs of this layer's own activation, t (R x M).
void jacobian_transposed(const Execution& execution, ConstTensorView v, ConstTensorView w, const Derivative& at,
                         TensorView t);

/// T = (V W^T + scale S) * f'(at) for a piecewise-linear activation: the adjoint of jacobian_product, joined by the
/// gradient of the norms of S. s (R x M), scale (R). Throws Error{usage} for tanh and sigmoid.
void jacobian_adjoint(const Execution& execution, ConstTensorView v, ConstTensorView w, ConstTensorView s,
                      std::span<const float> scale, const Derivative& at, TensorView t);

/// T = (a P + b S) * f'(at): p, s (R x K), a, b (R); t may be p or s.
void jacobian_join(const Execution& execution, ConstTensorView p, std::span<const float> a, ConstTensorView s,
                   std::span<const float> b, const Derivative& at, TensorView t);

/// du(n) = f''(u) / f'(u) * sum over the rows i of sample n of A(i) S(i): what the gradient A with respect to a
/// Jacobian S = f'(u) * (...) means for u. a, s (R x K), at.y and du (N x K). f'' / f' is -2 y for tanh and 1 - 2 y for
/// the sigmoid, finite where f' underflows. Throws Error{usage} for piecewise-linear activations, whose f'' is 0.
void jacobian_curvature(const Execution& execution, ConstTensorView a, ConstTensorView s, const Derivative& at,
                        TensorView du);

/// norms(r) = ||x(r)||, Euclidean. Relative error at most (K / 8 + 8) eps. Squares must not overflow float32: |x| <
/// 1e19 / sqrt(K).
void row_norms(const Execution& execution, ConstTensorView x, std::span<float> norms);

/// dots(r) = x(r) . y(r); x, y (R x K).
void row_dots(const Execution& execution, ConstTensorView x, ConstTensorView y, std::span<float> dots);

/// y(r) = scale(r) x(r); y may be x.
void scale_rows(const Execution& execution, ConstTensorView x, std::span<const float> scale, TensorView y);

/// forms(r) = v(r) G v(r)^T for a symmetric G (K x K), V G not stored. With G = W W^T this is ||v W||^2, for M K
/// instead of K n operations a row, n the columns of W. It cancels where ||v W|| << ||v|| ||W||: the error is at most
/// 2 K eps |v| |G| |v|^T <= 2 K eps ||v||^2 ||G||_F, the rounding of G itself aside.
void quadratic_forms(const Execution& execution, ConstTensorView v, ConstTensorView g, std::span<float> forms);

/// Lists of the units whose activation is positive (or NaN), sample by sample.
struct ActiveUnits {
  std::span<const std::int32_t> index;  ///< N x width; of each row the first `count` entries, ascending
  std::span<const std::int32_t> count;  ///< N
};

/// Makes the lists for y (N x width): index (N width) and count (N).
void active_units(const Execution& execution, ConstTensorView y, std::span<std::int32_t> index,
                  std::span<std::int32_t> count);

/// jacobian_product and quadratic_forms for rows that are 0 outside their sample's active units, as those of a Jacobian
/// behind a ReLU are: sums run along the lists. v (R x M) with rows M to M + padding apart, lists of N samples of width
/// M. jacobian_masked_product does not read what V holds elsewhere, and an infinite weight of an inactive unit counts
/// as 0, not as 0 times infinity. masked_quadratic_forms follows the list in one of its two sums: V must be 0
/// elsewhere, and a NaN or infinity of G between an inactive unit and an active one shows. Throws Error{usage} for tanh
/// and sigmoid below, and for counts outside 0..M.
void jacobian_masked_product(const Execution& execution, ConstTensorView v, const ActiveUnits& active,
                             ConstTensorView w, const Derivative& below, TensorView s);
void masked_quadratic_forms(const Execution& execution, ConstTensorView v, const ActiveUnits& active, ConstTensorView g,
                            std::span<float> forms);

}  // namespace kindling::kernels
