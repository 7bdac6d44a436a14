#include "methods/class_moments.h"

#include "kernels/scatter.h"

namespace kindling {

LayerScatter layer_scatter(const kernels::Execution& exec, const Model& model, std::size_t layer,
                           ConstTensorView weight, std::span<const float> bias, const Activation& activation,
                           int classes, LayerInputs& inputs, const Context& context) {
  const std::int64_t features = weight.rows();
  const auto size = static_cast<std::size_t>(features * classes);
  std::vector<double> sum(size), sum_squares(size);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(classes));
  // Sums of squares about a value near the mean do not cancel: the response to the first batch's mean input is one.
  Tensor shift({1, features});
  std::vector<std::int32_t> everything;
  bool first = true;
  inputs.for_each(exec, model, layer, context, [&](ConstTensorView x, std::span<const std::int32_t> labels) {
    if (first) {
      Tensor mean({1, x.cols()});
      kernels::column_mean(exec, x, mean.flat());
      kernels::dense_forward(exec, mean, weight, bias, activation, shift);
      first = false;
    }
    // A single class stands for all samples together, whatever their labels.
    if (classes == 1) {
      everything.assign(labels.size(), 0);
      labels = everything;
    }
    for (const std::int32_t label : labels) ++counts[static_cast<std::size_t>(label)];
    kernels::dense_moments(exec, x, weight, bias, activation, labels, shift.flat(), classes, sum, sum_squares);
  });
  LayerScatter scatter;
  kernels::ScatterCriteria criteria = kernels::scatter_criteria(exec, counts, sum, sum_squares, shift.flat());
  scatter.total = std::move(criteria.total);
  scatter.between = std::move(criteria.between);
  scatter.within = std::move(criteria.within);
  scatter.mean = std::move(criteria.mean);
  scatter.class_mean = std::move(criteria.class_mean);
  scatter.class_count = std::move(counts);
  return scatter;
}

}  // namespace kindling
