#include "methods/layer_inputs.h"

#include <kindling/random.h>

#include <algorithm>
#include <utility>

#include "methods/class_moments.h"
#include "nn/batches.h"

namespace kindling {

std::vector<std::int32_t> sample_subset(const Dataset& data, std::int64_t count, const Context& context) {
  if (count <= 0 || count >= data.train.count) return {};
  const auto order = random_permutation({context.seed, Purpose::subset, 0, 0}, data.train.count);
  std::vector<std::int32_t> rows(order.begin(), order.begin() + count);
  std::sort(rows.begin(), rows.end());
  return rows;
}

std::int64_t moment_rows(const Model& model) {
  const bool images = std::any_of(model.layers().begin(), model.layers().end(),
                                  [](const Layer& l) { return l.input.height * l.input.width > 1; });
  return images ? pass_rows(model, moment_batch_rows) : moment_batch_rows;
}

LayerInputs::LayerInputs(const kernels::Execution& exec, const Dataset& data, std::vector<std::int32_t> rows,
                         std::int64_t batch, double cache_bytes)
    : data_(data),
      rows_(std::move(rows)),
      count_(rows_.empty() ? data.train.count : static_cast<std::int64_t>(rows_.size())),
      batch_(std::min(batch, count_)),
      cache_bytes_(cache_bytes),
      residency_(exec) {
  keep_samples(residency_, data, data.train);
  residency_.keep(kernels::Residency::Role::input, std::span<const std::int32_t>(rows_));
  labels_.resize(rows_.size());
  gather_labels(data.train, rows_, labels_);
}

ConstTensorView LayerInputs::inputs(const kernels::Execution& exec, const Model& model, std::size_t layer,
                                    std::int64_t first, std::int64_t rows) {
  if (layer > 0 && cached_layer_ == layer - 1) return std::as_const(cache_).view().rows(first, rows);
  if (!pass_) {
    pass_.emplace(model, batch_);
    pass_->keep_on(residency_);
  }
  if (cached_layer_ != nothing && cached_layer_ < layer) {
    return pass_->run_from(exec, model, cached_layer_ + 1, std::as_const(cache_).view().rows(first, rows), layer);
  }
  if (samples_.empty()) {
    samples_ = Tensor({batch_, model.inputs()});
    residency_.keep(kernels::Residency::Role::scratch, samples_);
  }
  const TensorView samples = samples_.view().rows(0, rows);
  if (rows_.empty()) {
    read_rows(exec, data_, data_.train, first, samples);
  } else {
    gather_rows(exec, data_, data_.train, {rows_.data() + first, static_cast<std::size_t>(rows)}, samples);
  }
  return pass_->run(exec, model, samples, layer);
}

void LayerInputs::for_each(const kernels::Execution& exec, const Model& model, std::size_t layer,
                           const Context& context, const Visitor& visit) {
  // What the layers below hold now; those that are frozen stay for longer.
  kernels::Residency pass(exec);
  for (std::size_t i = 0; i < layer; ++i) keep_parameters(pass, model.layers()[i]);
  const std::span<const std::int32_t> labels =
      rows_.empty() ? std::span<const std::int32_t>(data_.train.labels) : labels_;
  for (std::int64_t first = 0; first < count_; first += batch_) {
    context.check_stop();
    const std::int64_t rows = std::min(batch_, count_ - first);
    visit(inputs(exec, model, layer, first, rows),
          labels.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows)));
  }
}

bool LayerInputs::freeze(const kernels::Execution& exec, const Model& model, std::size_t layer,
                         const Context& context) {
  const Layer& frozen = model.layers()[layer];
  keep_parameters(residency_, frozen);
  if (passes_through(frozen)) {
    const bool held = layer > 0 && cached_layer_ == layer - 1;
    if (held) cached_layer_ = layer;
    return held;
  }
  const std::int64_t width = frozen.output.features();
  const double bytes = static_cast<double>(count_) * static_cast<double>(width) * sizeof(float);
  // The previous layer's outputs live until these are complete.
  const double held = static_cast<double>(cache_.size()) * sizeof(float);
  if (bytes + held > cache_bytes_) return false;
  Tensor outputs({count_, width});
  residency_.keep(kernels::Residency::Role::scratch, outputs);
  std::int64_t first = 0;
  for_each(exec, model, layer, context, [&](ConstTensorView x, std::span<const std::int32_t>) {
    layer_forward(exec, frozen, x, outputs.view().rows(first, x.rows()));
    first += x.rows();
  });
  residency_.drop(cache_);
  cache_ = std::move(outputs);
  cached_layer_ = layer;
  return true;
}

}  // namespace kindling
