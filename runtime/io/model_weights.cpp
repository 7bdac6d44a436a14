#include <fmt/format.h>
#include <kindling/model.h>
#include <kindling/weights_file.h>

#include <algorithm>

namespace kindling {
namespace {

void copy_into(const Weights& weights, const std::string& name, Tensor& into, const std::string& path) {
  const NamedTensor* found = weights.find(name);
  if (found == nullptr) {
    throw Error(ErrorCode::bad_input, fmt::format("{}: expected a tensor '{}', found none of that name", path, name));
  }
  if (found->shape != into.shape()) {
    throw Error(ErrorCode::bad_input, fmt::format("{}: tensor '{}': the model expects shape {}, the file has {}", path,
                                                  name, shape_string(into.shape()), shape_string(found->shape)));
  }
  std::copy(found->data.begin(), found->data.end(), into.data());
}

constexpr const char* tracked = ".num_batches_tracked";

std::int64_t count_of(const Weights& weights, const std::string& name, const std::string& path) {
  const NamedTensor* found = weights.find(name);
  if (found == nullptr || found->data.size() != 1 || !(found->data.front() >= 0) || found->data.front() > 0x1p53F) {
    throw Error(ErrorCode::bad_input, fmt::format("{}: expected a tensor '{}' of one count, found {}", path, name,
                                                  found == nullptr ? "none" : "another"));
  }
  return static_cast<std::int64_t>(found->data.front());
}

}  // namespace

void save_weights(const Model& model, const std::string& path) {
  Weights weights;
  for (const Layer& layer : model.layers()) {
    const auto add = [&](const char* suffix, const Tensor& t) {
      if (!t.empty()) weights.tensors.push_back({layer.name + suffix, t.shape(), {t.data(), t.data() + t.size()}});
    };
    add(".weight", layer.weight);
    add(".bias", layer.bias);
    add(".running_mean", layer.running_mean);
    add(".running_var", layer.running_var);
    if (layer.kind == LayerKind::batch_norm) {
      weights.tensors.push_back({layer.name + tracked, {}, {static_cast<float>(layer.batches_tracked)}});
    }
  }
  weights.metadata["model"] = model.description();
  write_weights(path, weights);
}

void load_weights(Model& model, const std::string& path) {
  const Weights weights = read_weights(path);
  std::size_t expected = 0;
  for (const Layer& layer : model.layers()) {
    expected += layer.kind == LayerKind::batch_norm ? 5 : layer.has_neurons() ? 2 : 0;
  }
  if (weights.tensors.size() != expected) {
    throw Error(ErrorCode::bad_input, fmt::format("{}: model {} has {} tensors, the file holds {}", path,
                                                  model.description(), expected, weights.tensors.size()));
  }
  for (Layer& layer : model.layers()) {
    const auto read = [&](const char* suffix, Tensor& t) {
      if (!t.empty()) copy_into(weights, layer.name + suffix, t, path);
    };
    read(".weight", layer.weight);
    read(".bias", layer.bias);
    read(".running_mean", layer.running_mean);
    read(".running_var", layer.running_var);
    if (layer.kind == LayerKind::batch_norm) layer.batches_tracked = count_of(weights, layer.name + tracked, path);
  }
}

}  // namespace kindling
