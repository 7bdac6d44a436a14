#include "kernels/perturbed.h"

#include <kindling/kernels/perturbed.h>

#include "kernels/c_api/convert.h"
#include "kernels/expect.h"

using namespace kindling::kernels;
using c_api::Arguments;

namespace {

// S samples below each other as a tensor (S x N x width).
template <class M>
auto stacked(const Arguments& a, const char* function, const char* name, const M& m, std::int64_t samples) {
  auto view = a.matrix(name, m);
  if (samples < 1) refuse(function, fmt::format("expected 1 sample or more, found {}", samples));
  if (view.rows() % samples != 0)
    refuse(function,
           fmt::format("expected {} of {} samples of as many rows each, found {} rows", name, samples, view.rows()));
  if (view.rows() > 1 && view.row_stride() != view.cols())
    refuse(function, fmt::format("expected {} without gaps between rows", name));
  return decltype(view)(view.data(), {samples, view.rows() / samples, view.cols()});
}

Perturbation perturbation_of(const kindling_perturbation& p) {
  return {.stream = c_api::stream_of(p.stream), .weight_stddev = p.weight_stddev, .bias_stddev = p.bias_stddev};
}

}  // namespace

int64_t kindling_perturbation_blocks(int64_t fan_in, int64_t fan_out) { return perturbation_blocks(fan_in, fan_out); }

kindling_status kindling_perturbed_dense_forward(const kindling_context* context, kindling_perturbation perturbation,
                                                 int64_t samples, kindling_const_matrix x, kindling_const_matrix w,
                                                 kindling_const_vector bias, kindling_activation activation,
                                                 kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    const char* name = "perturbed_dense_forward";
    const auto out = stacked(a, name, "y", y, samples);
    // As many rows as one sample has: all share them.
    const bool shared = samples > 1 && x.rows == y.rows / samples;
    perturbed_dense_forward(e, perturbation_of(perturbation),
                            shared ? a.matrix("x", x) : stacked(a, name, "x", x, samples), a.matrix("w", w),
                            a.vector("bias", bias), a.activation(activation), out);
  });
}

kindling_status kindling_perturbed_input_gradient(const kindling_context* context, kindling_perturbation perturbation,
                                                  int64_t samples, kindling_const_matrix dz, kindling_const_matrix w,
                                                  kindling_const_matrix x, kindling_activation below,
                                                  kindling_matrix dx) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    const char* name = "perturbed_input_gradient";
    perturbed_input_gradient(e, perturbation_of(perturbation), stacked(a, name, "dz", dz, samples), a.matrix("w", w),
                             stacked(a, name, "x", x, samples), a.activation(below),
                             stacked(a, name, "dx", dx, samples));
  });
}
