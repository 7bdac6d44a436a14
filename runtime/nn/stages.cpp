#include "nn/stages.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/layout.h"
#include "kernels/scatter.h"
#include "nn/batches.h"

namespace kindling {

std::vector<Stage> stages(const Model& model) {
  std::vector<Stage> all;
  const auto& layers = model.layers();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (!layers[i].has_neurons()) continue;
    if (!all.empty()) all.back().end = i;
    all.push_back({all.empty() ? 0 : i, layers.size(), i});
  }
  return all;
}

Model clone_layers(const Model& model, std::size_t begin, std::size_t end) {
  Model copy = model.clone();
  auto& layers = copy.layers();
  layers.erase(layers.begin() + static_cast<std::ptrdiff_t>(end), layers.end());
  layers.erase(layers.begin(), layers.begin() + static_cast<std::ptrdiff_t>(begin));
  return copy;
}

PrefixOutputs::PrefixOutputs(const kernels::Execution& exec, const Model& model, std::size_t end, const Dataset& data,
                             const Samples& split, std::int64_t max_rows, double cache_bytes)
    : data_(data),
      split_(split),
      prefix_(clone_layers(model, 0, end)),
      input_(model.layers().front().input),
      features_(end == 0 ? model.inputs() : model.layers()[end - 1].output.features()),
      max_rows_(max_rows),
      samples_({max_rows, model.inputs()}),
      residency_(exec) {
  using Role = kernels::Residency::Role;
  keep_samples(residency_, data, split);
  residency_.keep(Role::scratch, samples_);
  if (end == 0) {
    if (reorders_input(model)) reordered_ = Tensor({max_rows, model.inputs()});
    residency_.keep(Role::scratch, reordered_);
    return;
  }
  pass_ = std::make_unique<ForwardPass>(prefix_, max_rows);
  keep_parameters(residency_, prefix_);
  pass_->keep_on(residency_);
  if (static_cast<double>(split.count) * static_cast<double>(features_) * sizeof(float) > cache_bytes) return;
  Tensor all({split.count, features_});
  residency_.keep(Role::scratch, all);
  std::vector<std::int32_t> index;
  for (std::int64_t first = 0; first < split.count; first += max_rows) {
    index.resize(static_cast<std::size_t>(std::min(max_rows, split.count - first)));
    std::iota(index.begin(), index.end(), static_cast<std::int32_t>(first));
    compute(exec, index, all.view().rows(first, static_cast<std::int64_t>(index.size())));
  }
  cache_ = std::move(all);
  zeros_.assign(static_cast<std::size_t>(features_), 0.0F);
  ones_.assign(static_cast<std::size_t>(features_), 1.0F);
  for (const auto* v : {&zeros_, &ones_}) residency_.keep(Role::input, std::span<const float>(*v));
}

void PrefixOutputs::compute(const kernels::Execution& exec, std::span<const std::int32_t> index, TensorView out) {
  const auto rows = static_cast<std::int64_t>(index.size());
  const TensorView samples = samples_.view().rows(0, rows);
  if (prefix_.layers().empty() && reordered_.empty()) return gather_rows(exec, data_, split_, index, out);
  gather_rows(exec, data_, split_, index, samples);
  if (prefix_.layers().empty()) return kernels::planar_to_channels_last(exec, samples, input_.channels, out);
  pass_->run_into(exec, prefix_, samples, out);
}

void PrefixOutputs::gather(const kernels::Execution& exec, std::span<const std::int32_t> index, TensorView out) {
  if (cache_.empty()) return compute(exec, index, out);
  kernels::gather_rows(exec, cache_.view().matrix(), index, zeros_, ones_, out);
}

void gather_one_hot(const Samples& split, std::span<const std::int32_t> index, TensorView out) {
  for (std::size_t i = 0; i < index.size(); ++i) {
    float* row = out.row(static_cast<std::int64_t>(i));
    std::fill_n(row, out.cols(), 0.0F);
    row[split.labels[static_cast<std::size_t>(index[i])]] = 1.0F;
  }
  kernels::changed(out);
}

}  // namespace kindling
