// Initialization as a WebAssembly module (a WASI reactor): a page or any engine calls the exported functions below. One
// thread; what would be an exception is printed to stderr and ends the module's instance.
#include <kindling/initialize.h>
#include <kindling/model.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "io/dataset_prepare.h"
#include "nn/glyphs.h"

namespace kindling {
namespace {

std::vector<float> weights;

Dataset glyphs(const Context& context) {
  Dataset data;
  data.name = "synthetic:glyphs";
  data.classes = glyph_classes;
  render_glyphs(parse_glyph_options(""), context, data.train, data.test);
  io::prepare_dataset(data, {}, context);
  return data;
}

void initialize(Model& model, std::string_view method, const Context& context) {
  if (method == "lsuv") {
    initialize_lsuv(model, glyphs(context), {}, context);
    return;
  }
  BaselineOptions options;
  if (method == "he") {
    options.law = Law::he;
  } else if (method == "xavier") {
    options.law = Law::xavier;
  } else if (method == "orthogonal") {
    options.law = Law::orthogonal;
  } else {
    throw Error(ErrorCode::usage,
                "method: expected he, xavier, orthogonal or lsuv, found '" + std::string(method) + "'");
  }
  initialize_baseline(model, options, context);
}

void flatten(const Model& model) {
  weights.clear();
  for (const Layer& layer : model.layers()) {
    if (!layer.has_neurons()) continue;
    const auto append = [](const auto& tensor) {
      weights.insert(weights.end(), tensor.data(), tensor.data() + tensor.size());
    };
    append(layer.weight);
    append(layer.bias);
  }
}

}  // namespace
}  // namespace kindling

#define KINDLING_EXPORT(name) extern "C" __attribute__((export_name(#name)))

/// Memory for a string that the caller writes into the module's memory.
KINDLING_EXPORT(kindling_module_allocate) void* kindling_module_allocate(std::uint32_t bytes) {
  return std::malloc(bytes);
}
KINDLING_EXPORT(kindling_module_free) void kindling_module_free(void* memory) { std::free(memory); }

/// Initializes `model` (the notation of --model, zero-terminated) by `method` (he, xavier, orthogonal, or lsuv on the
/// glyphs that the library draws) and returns how many numbers kindling_module_weights() then points to: weight and
/// bias of every layer that has them, in the model's order, row-major.
KINDLING_EXPORT(kindling_module_initialize)
std::uint32_t kindling_module_initialize(const char* model, const char* method, std::uint32_t seed) {
  kindling::Context context;
  context.seed = seed;
  context.threads = 1;
  kindling::Model parsed = kindling::Model::parse(model);
  kindling::initialize(parsed, method, context);
  kindling::flatten(parsed);
  return static_cast<std::uint32_t>(kindling::weights.size());
}

KINDLING_EXPORT(kindling_module_weights) const float* kindling_module_weights() { return kindling::weights.data(); }
