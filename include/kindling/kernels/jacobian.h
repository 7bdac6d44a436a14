/* Jacobians of a chain of dense layers, in rows: N samples, d rows a sample (R = N d, rows of one sample adjacent), a
 * layer W (M x K). */
#ifndef KINDLING_KERNELS_JACOBIAN_H
#define KINDLING_KERNELS_JACOBIAN_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* f' of a layer's activation at every sample, given its outputs y (N x width). At a kink (y = 0) it is that of the
 * negative side; a NaN stays one. */
typedef struct kindling_derivative {
  kindling_const_matrix y;
  kindling_activation activation;
} kindling_derivative;

/* S(n, i) = W(i) * f'(y(n)): w (d x K), s (N d x K). */
KINDLING_CHECKED kindling_status kindling_jacobian_top(const kindling_context* context, kindling_const_matrix w,
                                                       kindling_derivative below, kindling_matrix s);

/* S = (V W) * f'(below), or V W where `below` is NULL: v (R x M), w (M x K), below->y (N x K), s (R x K). */
KINDLING_CHECKED kindling_status kindling_jacobian_product(const kindling_context* context, kindling_const_matrix v,
                                                           kindling_const_matrix w, const kindling_derivative* below,
                                                           kindling_matrix s);

/* T = (V W^T) * f'(at): v (R x K), w (M x K), at.y (N x M), t (R x M). */
KINDLING_CHECKED kindling_status kindling_jacobian_transposed(const kindling_context* context, kindling_const_matrix v,
                                                              kindling_const_matrix w, kindling_derivative at,
                                                              kindling_matrix t);

/* T = (V W^T + scale S) * f'(at) for a piecewise-linear activation: s (R x M), scale (R). */
KINDLING_CHECKED kindling_status kindling_jacobian_adjoint(const kindling_context* context, kindling_const_matrix v,
                                                           kindling_const_matrix w, kindling_const_matrix s,
                                                           kindling_const_vector scale, kindling_derivative at,
                                                           kindling_matrix t);

/* T = (p_scale P + s_scale S) * f'(at): p, s (R x K), scales (R); t may be p or s. */
KINDLING_CHECKED kindling_status kindling_jacobian_join(const kindling_context* context, kindling_const_matrix p,
                                                        kindling_const_vector p_scale, kindling_const_matrix s,
                                                        kindling_const_vector s_scale, kindling_derivative at,
                                                        kindling_matrix t);

/* du(n) = f''(u) / f'(u) * sum over the rows i of sample n of gradient(i) S(i), for tanh and sigmoid: gradient, s
 * (R x K), at.y and du (N x K). */
KINDLING_CHECKED kindling_status kindling_jacobian_curvature(const kindling_context* context,
                                                             kindling_const_matrix gradient, kindling_const_matrix s,
                                                             kindling_derivative at, kindling_matrix du);

/* norms(r) = ||x(r)||, Euclidean; squares must not overflow float32. */
KINDLING_CHECKED kindling_status kindling_row_norms(const kindling_context* context, kindling_const_matrix x,
                                                    kindling_vector norms);

/* dots(r) = x(r) . y(r); x, y (R x K). */
KINDLING_CHECKED kindling_status kindling_row_dots(const kindling_context* context, kindling_const_matrix x,
                                                   kindling_const_matrix y, kindling_vector dots);

/* y(r) = scale(r) x(r); y may be x. */
KINDLING_CHECKED kindling_status kindling_scale_rows(const kindling_context* context, kindling_const_matrix x,
                                                     kindling_const_vector scale, kindling_matrix y);

/* forms(r) = v(r) G v(r)^T for a symmetric G (K x K); error at most 2 K eps ||v||^2 ||G||_F. */
KINDLING_CHECKED kindling_status kindling_quadratic_forms(const kindling_context* context, kindling_const_matrix v,
                                                          kindling_const_matrix g, kindling_vector forms);

/* Lists of the units whose activation is positive (or NaN), sample by sample: y (N x width); index (N width), of each
 * sample's entries the first count(n) are used, ascending; count (N). */
KINDLING_CHECKED kindling_status kindling_active_units(const kindling_context* context, kindling_const_matrix y,
                                                       kindling_indices index, kindling_indices count);

/* kindling_jacobian_product and kindling_quadratic_forms for rows that are 0 outside their sample's active units; what
 * v holds elsewhere is not read by the product and must be 0 for the forms. v (R x M), lists of N samples of width M as
 * kindling_active_units makes them. */
KINDLING_CHECKED kindling_status kindling_jacobian_masked_product(const kindling_context* context,
                                                                  kindling_const_matrix v, kindling_const_indices index,
                                                                  kindling_const_indices count, kindling_const_matrix w,
                                                                  kindling_derivative below, kindling_matrix s);
KINDLING_CHECKED kindling_status kindling_masked_quadratic_forms(const kindling_context* context,
                                                                 kindling_const_matrix v, kindling_const_indices index,
                                                                 kindling_const_indices count, kindling_const_matrix g,
                                                                 kindling_vector forms);

#ifdef __cplusplus
}
#endif

#endif
