#include <fmt/format.h>
#include <kindling/model.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "kernels/dispatch.h"
#include "nn/forward_pass.h"

namespace kindling {
namespace {

std::int64_t parse_width(std::string_view text, std::string_view whole) {
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  // A row of weights is addressed by 32-bit numbers in the kernels; far below that limit a typing error is likelier.
  constexpr std::int64_t largest = 1 << 24;
  if (status != std::errc() || end != text.data() + text.size() || value < 1 || value > largest) {
    throw Error(ErrorCode::usage, fmt::format("model '{}': expected layer widths 1..{} joined by '-', as in "
                                              "784-256-100-10, found '{}'",
                                              whole, largest, text));
  }
  return value;
}

}  // namespace

Model Model::mlp(const std::vector<std::int64_t>& widths, Activation hidden, Activation output) {
  if (widths.size() < 2) {
    throw Error(ErrorCode::usage,
                fmt::format("a model needs at least inputs and outputs, found {} width(s)", widths.size()));
  }
  Model model;
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
    if (widths[i] < 1 || widths[i + 1] < 1) throw Error(ErrorCode::usage, "a model's layer widths are positive");
    Layer layer;
    layer.name = fmt::format("layers.{}", i);
    layer.activation = i + 2 < widths.size() ? hidden : output;
    layer.weight = Tensor({widths[i + 1], widths[i]});
    layer.bias = Tensor({widths[i + 1]});
    layer.input = {widths[i], 1, 1};
    layer.output = {widths[i + 1], 1, 1};
    model.layers_.push_back(std::move(layer));
  }
  return model;
}

Model Model::parse(std::string_view text) {
  const std::size_t colon = text.find(':');
  // Widths are joined by '-', which no input shape holds.
  if (colon != std::string_view::npos && text.substr(0, colon).find('-') == std::string_view::npos) {
    return parse_sequential(text, colon);
  }
  std::string_view rest = text.substr(0, colon);
  Activation hidden{ActivationKind::relu};
  if (colon != std::string_view::npos) hidden = parse_activation(text.substr(colon + 1));
  std::vector<std::int64_t> widths;
  while (true) {
    const std::size_t dash = rest.find('-');
    widths.push_back(parse_width(rest.substr(0, dash), text));
    if (dash == std::string_view::npos) break;
    rest.remove_prefix(dash + 1);
  }
  if (widths.size() < 2) {
    throw Error(ErrorCode::usage, fmt::format("model '{}': expected at least inputs and outputs, as in 784-10", text));
  }
  return mlp(widths, hidden);
}

std::int64_t Model::inputs() const { return layers_.empty() ? 0 : layers_.front().input.features(); }
std::int64_t Model::outputs() const { return layers_.empty() ? 0 : layers_.back().output.features(); }

std::size_t Model::neuron_layers() const {
  return static_cast<std::size_t>(
      std::count_if(layers_.begin(), layers_.end(), [](const Layer& l) { return l.has_neurons(); }));
}

std::size_t Model::last_neuron_layer() const {
  const auto last = std::find_if(layers_.rbegin(), layers_.rend(), [](const Layer& l) { return l.has_neurons(); });
  return last == layers_.rend() ? 0 : static_cast<std::size_t>(layers_.rend() - last) - 1;
}

const Activation& Model::neuron_activation(std::size_t index) const {
  const bool norm = index + 1 < layers_.size() && layers_[index + 1].kind == LayerKind::batch_norm;
  // A norm after an activation is a layer of its own.
  const bool plain = layers_[index].activation.kind == ActivationKind::identity;
  return layers_[norm && plain ? index + 1 : index].activation;
}

std::int64_t Model::parameters() const {
  std::int64_t count = 0;
  for (const Layer& layer : layers_) count += layer.weight.size() + layer.bias.size();
  return count;
}

std::string Model::description() const {
  if (!modules_.empty()) return modules_;
  std::string text = std::to_string(inputs());
  for (const Layer& layer : layers_) text += "-" + std::to_string(layer.units());
  const Activation& hidden = layers_.front().activation;
  if (layers_.size() > 1 && hidden.kind != ActivationKind::relu) text += ":" + to_string(hidden);
  return text;
}

Model Model::clone() const {
  Model copy;
  copy.modules_ = modules_;
  for (const Layer& layer : layers_) {
    Layer l;
    l.kind = layer.kind;
    l.name = layer.name;
    l.activation = layer.activation;
    l.weight = layer.weight.clone();
    l.bias = layer.bias.clone();
    l.input = layer.input;
    l.output = layer.output;
    l.window = layer.window;
    l.rate = layer.rate;
    l.running_mean = layer.running_mean.clone();
    l.running_var = layer.running_var.clone();
    l.batches_tracked = layer.batches_tracked;
    copy.layers_.push_back(std::move(l));
  }
  return copy;
}

std::string to_string(LayerKind kind) {
  switch (kind) {
    case LayerKind::dense: return "dense";
    case LayerKind::conv2d: return "conv2d";
    case LayerKind::max_pool: return "max-pool";
    case LayerKind::average_pool: return "average-pool";
    case LayerKind::flatten: return "flatten";
    case LayerKind::batch_norm: return "batch-norm";
    case LayerKind::dropout: return "dropout";
  }
  return "?";
}

void check_fits(const Model& model, std::int64_t features, int classes) {
  if (model.layers().empty()) throw Error(ErrorCode::usage, "the model has no layers");
  if (model.inputs() != features) {
    throw Error(ErrorCode::bad_input, fmt::format("model {} takes {} inputs, but a sample of the data has {} features",
                                                  model.description(), model.inputs(), features));
  }
  if (classes > 0 && model.outputs() < classes) {
    throw Error(ErrorCode::bad_input, fmt::format("model {} has {} outputs, but the data has {} classes",
                                                  model.description(), model.outputs(), classes));
  }
}

void check_finite(const Model& model) {
  for (const Layer& layer : model.layers()) {
    const auto check = [&](std::span<const float> values, const char* what) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (!std::isfinite(values[i])) {
          throw Error(ErrorCode::numerical, fmt::format("{}.{}: element {} is {}", layer.name, what, i, values[i]));
        }
      }
    };
    check(layer.weight.flat(), "weight");
    check(layer.bias.flat(), "bias");
    check(layer.running_mean.flat(), "running_mean");
    check(layer.running_var.flat(), "running_var");
  }
}

Tensor forward(const Model& model, ConstTensorView inputs, const Context& context) {
  if (model.layers().empty()) throw Error(ErrorCode::usage, "the model has no layers");
  if (inputs.cols() != model.inputs()) {
    throw Error(ErrorCode::usage, fmt::format("forward: model {} takes {} inputs, found rows of {}",
                                              model.description(), model.inputs(), inputs.cols()));
  }
  const kernels::Execution exec = kernels::execution(context);
  Tensor outputs({inputs.rows(), model.outputs()});
  ForwardPass pass(model, pass_rows(model, inputs.rows()));
  pass.run_all(exec, model, inputs.matrix(), outputs);
  return outputs;
}

}  // namespace kindling
