#include "methods/class_moments.h"

#include <algorithm>

#include "kernels/batch_norm.h"
#include "kernels/device_log.h"
#include "kernels/layout.h"
#include "kernels/scatter.h"
#include "nn/layer_shapes.h"

namespace kindling {
namespace {

// Calls visit(rows of fan-in numbers, their labels) for the inputs of a layer: the inputs themselves, or all receptive
// fields of some samples at a time.
class FieldRows {
 public:
  FieldRows(const Layer& layer, kernels::Residency& residency) : layer_(layer), residency_(residency) {}

  template <class Visit>
  void operator()(const kernels::Execution& exec, ConstTensorView x, std::span<const std::int32_t> labels,
                  const Visit& visit) {
    if (layer_.kind != LayerKind::conv2d) {
      visit(x, labels);
      return;
    }
    constexpr std::int64_t elements = 4 << 20;
    const kernels::PatchShape shape = patch_shape(layer_);
    const std::int64_t positions = shape.positions(), fan_in = shape.fan_in();
    const std::int64_t most = std::clamp<std::int64_t>(elements / (positions * fan_in), 1, x.rows());
    if (fields_.size() < most * positions * fan_in) {
      residency_.drop(fields_);
      fields_ = Tensor({most * positions, fan_in});
      residency_.keep(kernels::Residency::Role::scratch, fields_);
    }
    for (std::int64_t first = 0; first < x.rows(); first += most) {
      const std::int64_t samples = std::min(most, x.rows() - first);
      const TensorView rows = fields_.view().rows(0, samples * positions);
      kernels::patches(exec, x.rows(first, samples), shape, rows);
      labels_.clear();
      for (std::int64_t n = first; n < first + samples; ++n)
        labels_.insert(labels_.end(), static_cast<std::size_t>(positions), labels[static_cast<std::size_t>(n)]);
      visit(ConstTensorView(rows), std::span<const std::int32_t>(labels_));
    }
  }

 private:
  const Layer& layer_;
  kernels::Residency& residency_;
  Tensor fields_;
  std::vector<std::int32_t> labels_;
};

}  // namespace

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
  Tensor mean({1, weight.cols()});
  kernels::Residency residency(exec);
  using Role = kernels::Residency::Role;
  residency.keep(Role::input, weight);
  residency.keep(Role::input, bias);
  residency.keep(Role::input, std::span<const double>(sum));
  residency.keep(Role::input, std::span<const double>(sum_squares));
  residency.keep(Role::scratch, shift);
  residency.keep(Role::scratch, mean);
  FieldRows fields(model.layers()[layer], residency);
  const auto add = [&](ConstTensorView x, std::span<const std::int32_t> labels) {
    if (first) {
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
  };
  inputs.for_each(exec, model, layer, context,
                  [&](ConstTensorView x, std::span<const std::int32_t> labels) { fields(exec, x, labels, add); });
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

void calibrate_batch_norm(const kernels::Execution& exec, Model& model, std::size_t layer, LayerInputs& inputs,
                          const Context& context) {
  Layer& norm = model.layers()[layer];
  kernels::on_host("batch-norm: statistics of the data, merged batch by batch");
  const std::int64_t channels = norm.weight.size();
  std::vector<double> mean(static_cast<std::size_t>(channels)), squares(mean.size()), batch_mean(mean.size()),
      batch_variance(mean.size());
  double count = 0;
  inputs.for_each(exec, model, layer, context, [&](ConstTensorView x, std::span<const std::int32_t>) {
    kernels::batch_norm_moments(exec, x, batch_mean, batch_variance);
    // Put together as the kernel puts its blocks together.
    const auto added = static_cast<double>(x.size() / channels);
    for (std::size_t c = 0; c < mean.size(); ++c) {
      const double apart = batch_mean[c] - mean[c];
      squares[c] += added * batch_variance[c] + apart * apart * count * added / (count + added);
      mean[c] += apart * added / (count + added);
    }
    count += added;
  });
  for (std::size_t c = 0; c < mean.size(); ++c) {
    norm.running_mean.data()[c] = static_cast<float>(mean[c]);
    norm.running_var.data()[c] = static_cast<float>(squares[c] / std::max(count - 1, 1.0));
  }
}

std::string skipped_reason(const Layer& layer) {
  if (layer.kind == LayerKind::batch_norm) return "batch-norm has no neurons; weight 1, bias 0";
  return to_string(layer.kind) + " has no parameters";
}

}  // namespace kindling
