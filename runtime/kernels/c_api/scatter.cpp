#include "kernels/scatter.h"

#include <kindling/kernels/scatter.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "kernels/c_api/convert.h"
#include "kernels/expect.h"

using namespace kindling::kernels;
using c_api::Arguments;

namespace {

// The arrays of a kindling_scatter, checked before anything is computed.
class ScatterOutputs {
 public:
  ScatterOutputs(const Arguments& a, const char* function, const kindling_scatter& result, std::size_t features,
                 std::size_t class_features)
      : arrays_{a.vector("mean", result.mean),
                a.vector("total", result.total),
                a.vector("between", result.between),
                a.vector("within", result.within),
                a.vector("between_weighted", result.between_weighted),
                a.vector("within_weighted", result.within_weighted),
                a.vector("class_mean", result.class_mean)} {
    const char* names[] = {"mean", "total", "between", "within", "between_weighted", "within_weighted", "class_mean"};
    for (std::size_t i = 0; i < std::size(names); ++i) {
      const bool by_class = i + 1 == std::size(names);
      expect_size(function, names[i], arrays_[i], static_cast<std::int64_t>(by_class ? class_features : features));
    }
  }

  void take(const ScatterCriteria& found) const {
    const std::vector<double>* values[] = {
        &found.mean,      &found.total, &found.between, &found.within, &found.between_weighted, &found.within_weighted,
        &found.class_mean};
    for (std::size_t i = 0; i < std::size(values); ++i)
      std::copy(values[i]->begin(), values[i]->end(), arrays_[i].begin());
  }

 private:
  std::array<std::span<double>, 7> arrays_;
};

}  // namespace

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
    const ScatterOutputs outputs(a, "scatter_criteria", result, shifts.size(), sums.size());
    outputs.take(scatter_criteria(e, a.vector("counts", counts), sums, a.vector("sum_squares", sum_squares), shifts));
  });
}

kindling_status kindling_stored_scatter(const kindling_context* context, kindling_const_matrix z,
                                        kindling_const_indices labels, int64_t classes, kindling_counts count,
                                        kindling_doubles class_variance, kindling_scatter result) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    const auto rows = a.matrix("z", z);
    if (classes < 1) refuse("stored_scatter", fmt::format("expected 1 class or more, found {}", classes));
    const auto features = static_cast<std::size_t>(rows.cols()), all = features * static_cast<std::size_t>(classes);
    const ScatterOutputs outputs(a, "stored_scatter", result, features, all);
    const auto counts = a.vector("count", count);
    const auto variances = a.vector("class_variance", class_variance);
    expect_size("stored_scatter", "count", counts, classes);
    expect_size("stored_scatter", "class_variance", variances, static_cast<std::int64_t>(all));
    const StoredScatter found = stored_scatter(e, rows, a.vector("labels", labels), classes);
    std::copy(found.count.begin(), found.count.end(), counts.begin());
    std::copy(found.class_variance.begin(), found.class_variance.end(), variances.begin());
    outputs.take(found.criteria);
  });
}

kindling_status kindling_covariance(const kindling_context* context, kindling_const_matrix x, kindling_vector mean,
                                    kindling_matrix covariance, kindling_doubles trace) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    const auto total = a.vector("trace", trace);
    expect_size("covariance", "trace", total, 1);
    total[0] =
        kindling::kernels::covariance(e, a.matrix("x", x), a.vector("mean", mean), a.matrix("covariance", covariance));
  });
}
