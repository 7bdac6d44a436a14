#include <fmt/format.h>
#include <kindling/model.h>

#include <charconv>
#include <cmath>

#include "kernels/dense.h"
#include "kernels/dispatch.h"

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
    model.layers_.push_back(std::move(layer));
  }
  return model;
}

Model Model::parse(std::string_view text) {
  const std::size_t colon = text.find(':');
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

std::int64_t Model::inputs() const { return layers_.empty() ? 0 : layers_.front().fan_in(); }
std::int64_t Model::outputs() const { return layers_.empty() ? 0 : layers_.back().fan_out(); }

std::int64_t Model::parameters() const {
  std::int64_t count = 0;
  for (const Layer& layer : layers_) count += layer.weight.size() + layer.bias.size();
  return count;
}

std::string Model::description() const {
  std::string text = std::to_string(inputs());
  for (const Layer& layer : layers_) text += "-" + std::to_string(layer.fan_out());
  const Activation& hidden = layers_.front().activation;
  if (layers_.size() > 1 && hidden.kind != ActivationKind::relu) text += ":" + to_string(hidden);
  return text;
}

Model Model::clone() const {
  Model copy;
  for (const Layer& layer : layers_) {
    copy.layers_.push_back({layer.kind, layer.name, layer.activation, layer.weight.clone(), layer.bias.clone()});
  }
  return copy;
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
  }
}

Tensor forward(const Model& model, ConstTensorView inputs, const Context& context) {
  if (model.layers().empty()) throw Error(ErrorCode::usage, "the model has no layers");
  if (inputs.cols() != model.inputs()) {
    throw Error(ErrorCode::usage, fmt::format("forward: model {} takes {} inputs, found rows of {}",
                                              model.description(), model.inputs(), inputs.cols()));
  }
  const kernels::Execution exec = kernels::execution(context);
  Tensor current;
  ConstTensorView x = inputs.matrix();
  for (const Layer& layer : model.layers()) {
    Tensor next({inputs.rows(), layer.fan_out()});
    kernels::dense_forward(exec, x, layer.weight, layer.bias.flat(), layer.activation, next);
    current = std::move(next);
    x = current.view();
  }
  return current;
}

}  // namespace kindling
