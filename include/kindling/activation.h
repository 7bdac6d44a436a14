#pragma once

#include <string>
#include <string_view>

namespace kindling {

/// Elementwise non-linearity. NaN propagates through every one of them.
enum class ActivationKind { identity, relu, leaky_relu, tanh, sigmoid };

/// An activation with its parameter. `negative_slope` is used by leaky_relu only.
struct Activation {
  ActivationKind kind = ActivationKind::relu;
  float negative_slope = 0.01F;

  bool operator==(const Activation&) const = default;
};

/// Parses "identity", "relu", "leaky_relu", "leaky_relu:0.2", "tanh" or "sigmoid". Throws Error{usage}.
Activation parse_activation(std::string_view text);
/// The inverse of parse_activation.
std::string to_string(const Activation& activation);

/// The slope of a piecewise-linear activation for negative arguments: 1 for identity, 0 for relu.
/// Throws Error{usage} for tanh and sigmoid.
float negative_slope(const Activation& activation);

/// Gain that keeps the variance of a forward signal, as in He et al. (2015) and PyTorch's calculate_gain:
/// identity and sigmoid 1, tanh 5/3, relu sqrt(2), leaky_relu sqrt(2 / (1 + slope^2)).
double activation_gain(const Activation& activation);

}  // namespace kindling
