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

}  // namespace

void save_weights(const Model& model, const std::string& path) {
  Weights weights;
  for (const Layer& layer : model.layers()) {
    const auto add = [&](const char* suffix, const Tensor& t) {
      weights.tensors.push_back({layer.name + suffix, t.shape(), {t.data(), t.data() + t.size()}});
    };
    add(".weight", layer.weight);
    add(".bias", layer.bias);
  }
  weights.metadata["model"] = model.description();
  write_weights(path, weights);
}

void load_weights(Model& model, const std::string& path) {
  const Weights weights = read_weights(path);
  const std::size_t expected = 2 * model.layers().size();
  if (weights.tensors.size() != expected) {
    throw Error(ErrorCode::bad_input, fmt::format("{}: model {} has {} tensors, the file holds {}", path,
                                                  model.description(), expected, weights.tensors.size()));
  }
  for (Layer& layer : model.layers()) {
    copy_into(weights, layer.name + ".weight", layer.weight, path);
    copy_into(weights, layer.name + ".bias", layer.bias, path);
  }
}

}  // namespace kindling
