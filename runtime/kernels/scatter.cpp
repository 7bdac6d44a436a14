#include "kernels/scatter.h"

#include <algorithm>

#include "kernels/dense.h"
#include "kernels/expect.h"

namespace kindling::kernels {
namespace {

using Use = Buffer::Use;

// (classes * M) as Halide's (M, classes).
template <class T>
Buffer class_matrix(Use use, std::span<T> values, std::int64_t features, std::int64_t classes) {
  return Buffer(use, values.data(), {features, classes}, {1, features});
}

template <class T>
void standardize_rows(const Kernel& kernel, std::string_view name, const Execution& execution,
                      const BasicTensorView<T>& x, std::span<const float> mean, std::span<const float> inverse_std,
                      const TensorView& y) {
  expect_rows(name, "x", x);
  expect_shape(name, "y", y, x.rows(), x.cols());
  expect_size(name, "mean", mean, x.cols());
  expect_size(name, "inverse_std", inverse_std, x.cols());
  if (y.size() == 0) return;
  kernel(execution, buffer_of(Use::in, x), in(mean), in(inverse_std), buffer_of(Use::out_in_place, y));
}

template <class T>
void gather(const Kernel& kernel, std::string_view name, const Execution& execution, const BasicTensorView<T>& x,
            std::span<const std::int32_t> index, std::span<const float> mean, std::span<const float> inverse_std,
            const TensorView& y) {
  expect_rows(name, "x", x);
  expect_shape(name, "y", y, static_cast<std::int64_t>(index.size()), x.cols());
  expect_size(name, "mean", mean, x.cols());
  expect_size(name, "inverse_std", inverse_std, x.cols());
  for (std::size_t i = 0; i < index.size(); ++i) {
    if (index[i] < 0 || index[i] >= x.rows()) {
      refuse(name, fmt::format("expected row numbers in 0..{}, found {} at position {}", x.rows() - 1, index[i], i));
    }
  }
  if (y.size() == 0) return;
  kernel(execution, buffer_of(Use::in, x), in(mean), in(inverse_std), in(index), buffer_of(Use::out, y));
}

// The samples of a stretch of the data class by class, in their order, then those of the next stretch: what a float32
// sum runs over are samples of one class, and they lie near each other.
struct SamplesByClass {
  SamplesByClass(std::span<const std::int32_t> labels, std::size_t classes) : sample(labels.size()) {
    const std::size_t stretch = std::max<std::size_t>(4 * moment_group_rows, 64 * classes);
    std::vector<std::int32_t> place(classes);  // where the next sample of a class goes
    for (std::size_t begin = 0; begin < labels.size(); begin += stretch) {
      const std::span<const std::int32_t> part = labels.subspan(begin, std::min(stretch, labels.size() - begin));
      std::fill(place.begin(), place.end(), 0);
      for (const std::int32_t label : part) ++place[static_cast<std::size_t>(label)];
      auto at = static_cast<std::int64_t>(begin);
      for (std::size_t c = 0; c < classes; ++c) {
        const std::int64_t count = place[c], groups = (count + moment_group_rows - 1) / moment_group_rows;
        place[c] = static_cast<std::int32_t>(at);
        for (std::int64_t g = 0; g < groups; ++g) {
          group_start.push_back(static_cast<std::int32_t>(at + g * count / groups));
          group_class.push_back(static_cast<std::int32_t>(c));
        }
        at += count;
      }
      for (std::size_t i = 0; i < part.size(); ++i) {
        const auto c = static_cast<std::size_t>(part[i]);
        sample[static_cast<std::size_t>(place[c]++)] = static_cast<std::int32_t>(begin + i);
      }
    }
    group_start.push_back(static_cast<std::int32_t>(labels.size()));
  }

  std::vector<std::int32_t> sample, group_start, group_class;
};

template <class T>
void expect_samples(std::string_view name, const BasicTensorView<T>& x) {
  expect_rows(name, "x", x);
  if (x.rows() < 1) refuse(name, fmt::format("expected at least one row, found x of {}", shape_string(x.shape())));
}

template <class T>
void moments_of(const Kernel& kernel, std::string_view name, const Execution& execution, const BasicTensorView<T>& x,
                std::span<double> mean, std::span<double> variance) {
  expect_samples(name, x);
  expect_size(name, "mean", mean, x.cols());
  expect_size(name, "variance", variance, x.cols());
  if (x.cols() == 0) return;
  kernel(execution, buffer_of(Use::in, x), out(mean), out(variance));
}

}  // namespace

void standardize(const Execution& execution, ConstTensorView x, std::span<const float> mean,
                 std::span<const float> inverse_std, TensorView y) {
  static const Kernel kernel{"standardize"};
  standardize_rows(kernel, "standardize", execution, x, mean, inverse_std, y);
}

void standardize_u8(const Execution& execution, ConstByteView x, std::span<const float> mean,
                    std::span<const float> inverse_std, TensorView y) {
  static const Kernel kernel{"standardize_u8"};
  standardize_rows(kernel, "standardize_u8", execution, x, mean, inverse_std, y);
}

void gather_rows(const Execution& execution, ConstTensorView x, std::span<const std::int32_t> index,
                 std::span<const float> mean, std::span<const float> inverse_std, TensorView y) {
  static const Kernel kernel{"gather_rows"};
  gather(kernel, "gather_rows", execution, x, index, mean, inverse_std, y);
}

void gather_rows_u8(const Execution& execution, ConstByteView x, std::span<const std::int32_t> index,
                    std::span<const float> mean, std::span<const float> inverse_std, TensorView y) {
  static const Kernel kernel{"gather_rows_u8"};
  gather(kernel, "gather_rows_u8", execution, x, index, mean, inverse_std, y);
}

void column_mean(const Execution& execution, ConstTensorView x, std::span<float> mean) {
  static const Kernel kernel{"column_mean"};
  expect_samples("column_mean", x);
  expect_size("column_mean", "mean", mean, x.cols());
  if (x.cols() == 0) return;
  kernel(execution, buffer_of(Use::in, x), out(mean));
}

void feature_moments(const Execution& execution, ConstTensorView x, std::span<double> mean,
                     std::span<double> variance) {
  static const Kernel kernel{"feature_moments"};
  moments_of(kernel, "feature_moments", execution, x, mean, variance);
}

void feature_moments_u8(const Execution& execution, ConstByteView x, std::span<double> mean,
                        std::span<double> variance) {
  static const Kernel kernel{"feature_moments_u8"};
  moments_of(kernel, "feature_moments_u8", execution, x, mean, variance);
}

void class_scatter(const Execution& execution, ConstTensorView z, std::span<const std::int32_t> labels,
                   std::span<const float> shift, std::int64_t classes, std::span<double> sum,
                   std::span<double> sum_squares) {
  static const Kernel kernel{"class_scatter"};
  expect_rows("class_scatter", "z", z);
  expect_size("class_scatter", "labels", labels, z.rows());
  expect_size("class_scatter", "shift", shift, z.cols());
  expect_count("class_scatter", "classes", classes, 1);
  expect_size("class_scatter", "sum", sum, classes * z.cols());
  expect_size("class_scatter", "sum_squares", sum_squares, classes * z.cols());
  expect_labels("class_scatter", labels, classes);
  if (z.size() == 0) return;
  kernel(execution, buffer_of(Use::in, z), in(labels), in(shift), class_matrix(Use::inout, sum, z.cols(), classes),
         class_matrix(Use::inout, sum_squares, z.cols(), classes));
}

ScatterCriteria scatter_criteria(const Execution& execution, std::span<const std::int64_t> counts,
                                 std::span<const double> sum, std::span<const double> sum_squares,
                                 std::span<const float> shift) {
  static const Kernel kernel{"scatter_criteria"};
  const auto features = static_cast<std::int64_t>(shift.size()), classes = static_cast<std::int64_t>(counts.size());
  expect_size("scatter_criteria", "sum", sum, classes * features);
  expect_size("scatter_criteria", "sum_squares", sum_squares, classes * features);
  std::int64_t samples = 0;
  for (std::size_t c = 0; c < counts.size(); ++c) {
    if (counts[c] < 0)
      refuse("scatter_criteria", fmt::format("expected counts >= 0, found {} for class {}", counts[c], c));
    samples += counts[c];
  }
  if (samples == 0)
    refuse("scatter_criteria", fmt::format("expected at least one sample in {} classes, found none", classes));
  ScatterCriteria result;
  for (auto* values : {&result.mean, &result.total, &result.between, &result.within, &result.between_weighted,
                       &result.within_weighted}) {
    values->resize(shift.size());
  }
  result.class_mean.resize(sum.size());
  if (features == 0) return result;
  const auto output = [](std::vector<double>& values) { return out(std::span<double>(values)); };
  kernel(execution, in(counts), class_matrix(Use::in, sum, features, classes),
         class_matrix(Use::in, sum_squares, features, classes), in(shift), output(result.mean), output(result.total),
         output(result.between), output(result.within), output(result.between_weighted), output(result.within_weighted),
         class_matrix(Use::out, std::span<double>(result.class_mean), features, classes));
  return result;
}

StoredScatter stored_scatter(const Execution& execution, ConstTensorView z, std::span<const std::int32_t> labels,
                             std::int64_t classes) {
  static const Kernel in_order{"stored_scatter"}, by_class{"stored_scatter_by_class"};
  constexpr std::string_view name = "stored_scatter";
  expect_samples(name, z);
  expect_size(name, "labels", labels, z.rows());
  if (classes < 1) refuse(name, fmt::format("expected at least one class, found {}", classes));
  expect_labels(name, labels, classes);
  const auto size = static_cast<std::size_t>(classes);
  StoredScatter result{std::vector<std::int64_t>(size), {}, {}};
  std::vector<std::int32_t> first(size);
  for (std::size_t i = labels.size(); i-- > 0;) {
    const auto c = static_cast<std::size_t>(labels[i]);
    ++result.count[c];
    first[c] = static_cast<std::int32_t>(i);
  }
  ScatterCriteria& k = result.criteria;
  const auto features = static_cast<std::size_t>(z.cols());
  for (auto* values : {&k.mean, &k.total, &k.between, &k.within, &k.between_weighted, &k.within_weighted})
    values->resize(features);
  k.class_mean.resize(size * features);
  result.class_variance.resize(size * features);
  if (features == 0) return result;
  const auto output = [](std::vector<double>& values) { return out(std::span<double>(values)); };
  const auto class_output = [&](std::vector<double>& values) {
    return class_matrix(Use::out, std::span<double>(values), z.cols(), classes);
  };
  const auto run = [&](const Kernel& kernel, auto&&... order) {
    kernel(execution, buffer_of(Use::in, z), in(std::span(result.count)), in(std::span(first)), order...,
           output(k.mean), output(k.total), output(k.between), output(k.within), output(k.between_weighted),
           output(k.within_weighted), class_output(k.class_mean), class_output(result.class_variance));
  };
  // Rows that are long enough to be read one here, one there, and more sums than the first cache holds.
  if (features >= 512 && size * features * 2 * sizeof(float) > 16 * 1024) {
    const SamplesByClass order(labels, size);
    run(by_class, in(std::span(order.sample)), in(std::span(order.group_start)), in(std::span(order.group_class)));
  } else {
    run(in_order, in(labels));
  }
  return result;
}

double covariance(const Execution& execution, ConstTensorView x, std::span<float> mean, TensorView covariance) {
  static const Kernel kernel{"covariance"};
  expect_samples("covariance", x);
  expect_size("covariance", "mean", mean, x.cols());
  expect_shape("covariance", "covariance", covariance, x.cols(), x.cols());
  // Before the means are written.
  expect_apart("covariance", {{"mean", mean}, {"covariance", covariance}}, {{"x", x}});
  if (x.cols() == 0) return 0;
  column_mean(execution, x, mean);
  kernel(execution, in(x), in(mean), out(covariance));
  double trace = 0;
  for (std::int64_t i = 0; i < x.cols(); ++i) trace += covariance.row(i)[i];
  return trace;
}

}  // namespace kindling::kernels
