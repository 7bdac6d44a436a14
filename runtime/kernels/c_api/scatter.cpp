#include "kernels/scatter.h"

#include <kindling/kernels/scatter.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/c_api/convert.h"
#include "kernels/expect.h"

using namespace kindling::kernels;
using c_api::Arguments;

kindling_status kindling_standardize(const kindling_context* context, kindling_const_matrix x,
                                     kindling_const_vector mean, kindling_const_vector inverse_std, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    standardize(e, a.matrix("x", x), a.vector("mean", mean), a.vector("inverse_std", inverse_std), a.matrix("y", y));
  });
}

kindling_status kindling_standardize_u8(const kindling_context* context, kindling_const_byte_matrix x,
                                        kindling_const_vector mean, kindling_const_vector inverse_std,
                                        kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    standardize_u8(e, a.matrix("x", x), a.vector("mean", mean), a.vector("inverse_std", inverse_std), a.matrix("y", y));
  });
}

kindling_status kindling_gather_rows(const kindling_context* context, kindling_const_matrix x,
                                     kindling_const_indices index, kindling_const_vector mean,
                                     kindling_const_vector inverse_std, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    gather_rows(e, a.matrix("x", x), a.vector("index", index), a.vector("mean", mean),
                a.vector("inverse_std", inverse_std), a.matrix("y", y));
  });
}

kindling_status kindling_gather_rows_u8(const kindling_context* context, kindling_const_byte_matrix x,
                                        kindling_const_indices index, kindling_const_vector mean,
                                        kindling_const_vector inverse_std, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    gather_rows_u8(e, a.matrix("x", x), a.vector("index", index), a.vector("mean", mean),
                   a.vector("inverse_std", inverse_std), a.matrix("y", y));
  });
}

kindling_status kindling_column_mean(const kindling_context* context, kindling_const_matrix x, kindling_vector mean) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    column_mean(e, a.matrix("x", x), a.vector("mean", mean));
  });
}

kindling_status kindling_feature_moments(const kindling_context* context, kindling_const_matrix x,
                                         kindling_doubles mean, kindling_doubles variance) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    feature_moments(e, a.matrix("x", x), a.vector("mean", mean), a.vector("variance", variance));
  });
}

kindling_status kindling_feature_moments_u8(const kindling_context* context, kindling_const_byte_matrix x,
                                            kindling_doubles mean, kindling_doubles variance) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    feature_moments_u8(e, a.matrix("x", x), a.vector("mean", mean), a.vector("variance", variance));
  });
}

kindling_status kindling_class_scatter(const kindling_context* context, kindling_const_matrix z,
                                       kindling_const_indices labels, kindling_const_vector shift, int64_t classes,
                                       kindling_doubles sum, kindling_doubles sum_squares) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    class_scatter(e, a.matrix("z", z), a.vector("labels", labels), a.vector("shift", shift), classes,
                  a.vector("sum", sum), a.vector("sum_squares", sum_squares));
  });
}

kindling_status kindling_scatter_criteria(const kindling_context* context, kindling_const_counts counts,
                                          kindling_const_doubles sum, kindling_const_doubles sum_squares,
                                          kindling_const_vector shift, kindling_scatter result) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    const auto shifts = a.vector("shift", shift);
    const auto sums = a.vector("sum", sum);
    const std::pair<const char*, std::span<double>> outputs[] = {
        {"mean", a.vector("mean", result.mean)},
        {"total", a.vector("total", result.total)},
        {"between", a.vector("between", result.between)},
        {"within", a.vector("within", result.within)},
        {"between_weighted", a.vector("between_weighted", result.between_weighted)},
        {"within_weighted", a.vector("within_weighted", result.within_weighted)},
        {"class_mean", a.vector("class_mean", result.class_mean)}};
    for (const auto& [name, values] : outputs) {
      const bool by_class = std::string_view(name) == "class_mean";
      expect_size("scatter_criteria", name, values, static_cast<std::int64_t>(by_class ? sums.size() : shifts.size()));
    }
    const ScatterCriteria found =
        scatter_criteria(e, a.vector("counts", counts), sums, a.vector("sum_squares", sum_squares), shifts);
    const std::vector<double>* values[] = {
        &found.mean,      &found.total, &found.between, &found.within, &found.between_weighted, &found.within_weighted,
        &found.class_mean};
    for (std::size_t i = 0; i < std::size(outputs); ++i)
      std::copy(values[i]->begin(), values[i]->end(), outputs[i].second.begin());
  });
}
