#include "kernels/gram.h"

#include <kindling/kernels/gram.h>

#include "kernels/c_api/convert.h"
#include "kernels/expect.h"

using namespace kindling::kernels;
using c_api::Arguments;

namespace {

// P problems below each other as a tensor (P x n x d); one problem stays a matrix, whose rows may be strided.
template <class M>
auto problems(const Arguments& a, const char* function, const char* name, const M& m, std::int64_t count) {
  auto view = a.matrix(name, m);
  if (count <= 1) return view;
  if (view.rows() % count != 0)
    refuse(function, fmt::format("expected {} of {} problems of one shape, found {} rows", name, count, view.rows()));
  if (view.rows() > 1 && view.row_stride() != view.cols())
    refuse(function, fmt::format("expected {} of {} problems without gaps between rows", name, count));
  return decltype(view)(view.data(), {count, view.rows() / count, view.cols()});
}

}  // namespace

kindling_status kindling_gaussian_gram_sum(const kindling_context* context, kindling_const_matrix x,
                                           kindling_const_matrix y, kindling_const_vector gamma,
                                           kindling_doubles row_sums, kindling_doubles totals) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    gaussian_gram_sum(e, problems(a, "gaussian_gram_sum", "x", x, gamma.size),
                      problems(a, "gaussian_gram_sum", "y", y, gamma.size), a.vector("gamma", gamma),
                      a.vector("row_sums", row_sums), a.vector("totals", totals));
  });
}

kindling_status kindling_gaussian_gram_gradient(const kindling_context* context, kindling_const_matrix x,
                                                kindling_const_matrix y, kindling_const_vector gamma,
                                                kindling_const_vector row_weights, kindling_const_vector column_weights,
                                                kindling_doubles row_sums, kindling_doubles totals,
                                                kindling_matrix gradient) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    const char* name = "gaussian_gram_gradient";
    gaussian_gram_gradient(e, problems(a, name, "x", x, gamma.size), problems(a, name, "y", y, gamma.size),
                           a.vector("gamma", gamma),
                           {a.vector("row_weights", row_weights), a.vector("column_weights", column_weights)},
                           {a.vector("row_sums", row_sums), a.vector("totals", totals),
                            problems(a, name, "gradient", gradient, gamma.size)});
  });
}

kindling_status kindling_mmd_squared(const kindling_context* context, kindling_const_matrix u, kindling_const_matrix v,
                                     kindling_const_vector gamma, kindling_mmd_estimate estimate,
                                     kindling_doubles value, kindling_matrix gradient) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    if (estimate != KINDLING_V_STATISTIC && estimate != KINDLING_U_STATISTIC)
      refuse("mmd_squared", fmt::format("expected an estimate of 0 or 1, found {}", static_cast<int>(estimate)));
    mmd_squared(e, problems(a, "mmd_squared", "u", u, gamma.size), problems(a, "mmd_squared", "v", v, gamma.size),
                a.vector("gamma", gamma),
                estimate == KINDLING_U_STATISTIC ? MmdEstimate::u_statistic : MmdEstimate::v_statistic,
                a.vector("value", value), problems(a, "mmd_squared", "gradient", gradient, gamma.size));
  });
}

kindling_status kindling_pair_distance_quantile(const kindling_context* context, kindling_const_matrix x,
                                                kindling_const_matrix y, double q, kindling_vector distances) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    const char* name = "pair_distance_quantile";
    const auto second = y.rows == 0 ? kindling::ConstTensorView() : problems(a, name, "y", y, distances.size);
    pair_distance_quantile(e, problems(a, name, "x", x, distances.size), second, q, a.vector("distances", distances));
  });
}
