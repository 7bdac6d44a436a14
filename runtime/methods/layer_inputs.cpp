#include "methods/layer_inputs.h"

#include <kindling/random.h>

#include <algorithm>
#include <utility>

#include "kernels/dense.h"
#include "nn/batches.h"

namespace kindling {

std::vector<std::int32_t> sample_subset(const Dataset& data, std::int64_t count, const Context& context) {
  if (count <= 0 || count >= data.train.count) return {};
  const auto order = random_permutation({context.seed, Purpose::subset, 0, 0}, data.train.count);
  std::vector<std::int32_t> rows(order.begin(), order.begin() + count);
  std::sort(rows.begin(), rows.end());
  return rows;
}

LayerInputs::LayerInputs(const Dataset& data, std::vector<std::int32_t> rows, std::int64_t batch, double cache_bytes)
    : data_(data),
      rows_(std::move(rows)),
      count_(rows_.empty() ? data.train.count : static_cast<std::int64_t>(rows_.size())),
      batch_(std::min(batch, count_)),
      cache_bytes_(cache_bytes) {
  labels_.resize(rows_.size());
  gather_labels(data.train, rows_, labels_);
}

ConstTensorView LayerInputs::inputs(const kernels::Execution& exec, const Model& model, std::size_t layer,
                                    std::int64_t first, std::int64_t rows) {
  if (layer > 0 && cached_layer_ == layer - 1) return std::as_const(cache_).view().rows(first, rows);
  if (scratch_.size() <= layer) scratch_.resize(layer + 1);
  const std::int64_t width = model.layers()[layer].fan_in();
  if (scratch_[layer].empty()) scratch_[layer] = Tensor({batch_, width});
  TensorView out = scratch_[layer].view().rows(0, rows);
  if (layer == 0) {
    if (rows_.empty()) {
      read_rows(exec, data_, data_.train, first, out);
    } else {
      gather_rows(exec, data_, data_.train, {rows_.data() + first, static_cast<std::size_t>(rows)}, out);
    }
    return out;
  }
  const Layer& previous = model.layers()[layer - 1];
  kernels::dense_forward(exec, inputs(exec, model, layer - 1, first, rows), previous.weight, previous.bias.flat(),
                         previous.activation, out);
  return out;
}

void LayerInputs::for_each(const kernels::Execution& exec, const Model& model, std::size_t layer,
                           const Context& context, const Visitor& visit) {
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
  const double bytes = static_cast<double>(count_) * static_cast<double>(frozen.fan_out()) * sizeof(float);
  // The previous layer's outputs live until these are complete.
  const double held = static_cast<double>(cache_.size()) * sizeof(float);
  if (bytes + held > cache_bytes_) return false;
  Tensor outputs({count_, frozen.fan_out()});
  std::int64_t first = 0;
  for_each(exec, model, layer, context, [&](ConstTensorView x, std::span<const std::int32_t>) {
    kernels::dense_forward(exec, x, frozen.weight, frozen.bias.flat(), frozen.activation,
                           outputs.view().rows(first, x.rows()));
    first += x.rows();
  });
  cache_ = std::move(outputs);
  cached_layer_ = layer;
  // Batches come from the cache from now on.
  scratch_.clear();
  return true;
}

}  // namespace kindling
