#include <fmt/format.h>
#include <kindling/activation.h>
#include <kindling/error.h>

#include <charconv>
#include <cmath>

namespace kindling {

Activation parse_activation(std::string_view text) {
  if (text == "identity" || text == "linear" || text == "none") return {ActivationKind::identity};
  if (text == "relu") return {ActivationKind::relu};
  if (text == "tanh") return {ActivationKind::tanh};
  if (text == "sigmoid") return {ActivationKind::sigmoid};
  constexpr std::string_view leaky = "leaky_relu";
  if (text.starts_with(leaky)) {
    Activation activation{ActivationKind::leaky_relu};
    std::string_view rest = text.substr(leaky.size());
    if (rest.empty()) return activation;
    if (rest.front() == ':') {
      rest.remove_prefix(1);
      const auto [end, status] = std::from_chars(rest.data(), rest.data() + rest.size(), activation.negative_slope);
      if (status == std::errc() && end == rest.data() + rest.size() && std::isfinite(activation.negative_slope)) {
        return activation;
      }
    }
  }
  throw Error(
      ErrorCode::usage,
      fmt::format("activation: expected identity, relu, leaky_relu[:slope], tanh or sigmoid, found '{}'", text));
}

std::string to_string(const Activation& activation) {
  switch (activation.kind) {
    case ActivationKind::identity: return "identity";
    case ActivationKind::relu: return "relu";
    case ActivationKind::leaky_relu: return fmt::format("leaky_relu:{}", activation.negative_slope);
    case ActivationKind::tanh: return "tanh";
    case ActivationKind::sigmoid: return "sigmoid";
  }
  return "?";
}

float negative_slope(const Activation& activation) {
  switch (activation.kind) {
    case ActivationKind::identity: return 1.0F;
    case ActivationKind::relu: return 0.0F;
    case ActivationKind::leaky_relu: return activation.negative_slope;
    default: throw Error(ErrorCode::usage, to_string(activation) + " is not piecewise linear");
  }
}

double activation_gain(const Activation& activation) {
  switch (activation.kind) {
    case ActivationKind::relu: return std::sqrt(2.0);
    case ActivationKind::leaky_relu: {
      const double slope = activation.negative_slope;
      return std::sqrt(2.0 / (1.0 + slope * slope));
    }
    case ActivationKind::tanh: return 5.0 / 3.0;
    default: return 1.0;
  }
}

}  // namespace kindling
