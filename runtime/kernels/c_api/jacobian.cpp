#include "kernels/jacobian.h"

#include <kindling/kernels/jacobian.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

namespace {

Derivative derivative_of(const Arguments& a, const kindling_derivative& d) {
  return {a.matrix("derivative.y", d.y), a.activation(d.activation)};
}

}  // namespace

kindling_status kindling_jacobian_top(const kindling_context* context, kindling_const_matrix w,
                                      kindling_derivative below, kindling_matrix s) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    jacobian_top(e, a.matrix("w", w), derivative_of(a, below), a.matrix("s", s));
  });
}

kindling_status kindling_jacobian_product(const kindling_context* context, kindling_const_matrix v,
                                          kindling_const_matrix w, const kindling_derivative* below,
                                          kindling_matrix s) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    if (below == nullptr) {
      jacobian_product(e, a.matrix("v", v), a.matrix("w", w), a.matrix("s", s));
    } else {
      jacobian_product(e, a.matrix("v", v), a.matrix("w", w), derivative_of(a, *below), a.matrix("s", s));
    }
  });
}

kindling_status kindling_jacobian_transposed(const kindling_context* context, kindling_const_matrix v,
                                             kindling_const_matrix w, kindling_derivative at, kindling_matrix t) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    jacobian_transposed(e, a.matrix("v", v), a.matrix("w", w), derivative_of(a, at), a.matrix("t", t));
  });
}

kindling_status kindling_jacobian_adjoint(const kindling_context* context, kindling_const_matrix v,
                                          kindling_const_matrix w, kindling_const_matrix s, kindling_const_vector scale,
                                          kindling_derivative at, kindling_matrix t) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    jacobian_adjoint(e, a.matrix("v", v), a.matrix("w", w), a.matrix("s", s), a.vector("scale", scale),
                     derivative_of(a, at), a.matrix("t", t));
  });
}

kindling_status kindling_jacobian_join(const kindling_context* context, kindling_const_matrix p,
                                       kindling_const_vector p_scale, kindling_const_matrix s,
                                       kindling_const_vector s_scale, kindling_derivative at, kindling_matrix t) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    jacobian_join(e, a.matrix("p", p), a.vector("p_scale", p_scale), a.matrix("s", s), a.vector("s_scale", s_scale),
                  derivative_of(a, at), a.matrix("t", t));
  });
}

kindling_status kindling_jacobian_curvature(const kindling_context* context, kindling_const_matrix gradient,
                                            kindling_const_matrix s, kindling_derivative at, kindling_matrix du) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    jacobian_curvature(e, a.matrix("gradient", gradient), a.matrix("s", s), derivative_of(a, at), a.matrix("du", du));
  });
}

kindling_status kindling_row_norms(const kindling_context* context, kindling_const_matrix x, kindling_vector norms) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    row_norms(e, a.matrix("x", x), a.vector("norms", norms));
  });
}

kindling_status kindling_row_dots(const kindling_context* context, kindling_const_matrix x, kindling_const_matrix y,
                                  kindling_vector dots) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    row_dots(e, a.matrix("x", x), a.matrix("y", y), a.vector("dots", dots));
  });
}

kindling_status kindling_scale_rows(const kindling_context* context, kindling_const_matrix x,
                                    kindling_const_vector scale, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    scale_rows(e, a.matrix("x", x), a.vector("scale", scale), a.matrix("y", y));
  });
}

kindling_status kindling_quadratic_forms(const kindling_context* context, kindling_const_matrix v,
                                         kindling_const_matrix g, kindling_vector forms) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    quadratic_forms(e, a.matrix("v", v), a.matrix("g", g), a.vector("forms", forms));
  });
}

kindling_status kindling_active_units(const kindling_context* context, kindling_const_matrix y, kindling_indices index,
                                      kindling_indices count) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    active_units(e, a.matrix("y", y), a.vector("index", index), a.vector("count", count));
  });
}

kindling_status kindling_jacobian_masked_product(const kindling_context* context, kindling_const_matrix v,
                                                 kindling_const_indices index, kindling_const_indices count,
                                                 kindling_const_matrix w, kindling_derivative below,
                                                 kindling_matrix s) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    jacobian_masked_product(e, a.matrix("v", v), {a.vector("index", index), a.vector("count", count)}, a.matrix("w", w),
                            derivative_of(a, below), a.matrix("s", s));
  });
}

kindling_status kindling_masked_quadratic_forms(const kindling_context* context, kindling_const_matrix v,
                                                kindling_const_indices index, kindling_const_indices count,
                                                kindling_const_matrix g, kindling_vector forms) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    masked_quadratic_forms(e, a.matrix("v", v), {a.vector("index", index), a.vector("count", count)}, a.matrix("g", g),
                           a.vector("forms", forms));
  });
}
