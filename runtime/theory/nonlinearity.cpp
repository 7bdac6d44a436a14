#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/mean_field.h>

#include <cmath>
#include <numbers>

namespace kindling {
namespace {

Nonlinearity piecewise_linear(std::string name, double negative, double positive) {
  return {.name = std::move(name),
          .value = [=](double u) { return u * (u > 0 ? positive : negative); },
          .slope = [=](double u) { return u > 0 ? positive : negative; },
          .kinks = {0.0},
          .linear = Nonlinearity::Slopes{negative, positive}};
}

double density(double u) { return std::exp(-u * u / 2) / std::sqrt(2 * std::numbers::pi); }
double probability(double u) { return std::erfc(-u / std::numbers::sqrt2) / 2; }
double logistic(double u) { return 1 / (1 + std::exp(-u)); }

// scale * u for u > 0, scale * alpha (e^u - 1) below.
Nonlinearity exponential_linear(std::string name, double scale, double alpha) {
  return {.name = std::move(name),
          .value = [=](double u) { return scale * (u > 0 ? u : alpha * std::expm1(u)); },
          .slope = [=](double u) { return scale * (u > 0 ? 1 : alpha * std::exp(u)); },
          .kinks = {0.0}};
}

Nonlinearity hyperbolic_tangent() {
  return {.name = "tanh",
          .value = [](double u) { return std::tanh(u); },
          .slope = [](double u) { return 1 / (std::cosh(u) * std::cosh(u)); }};
}

Nonlinearity sigmoid() {
  return {.name = "sigmoid", .value = logistic, .slope = [](double u) { return logistic(u) * logistic(-u); }};
}

const std::vector<Nonlinearity>& known() {
  static const std::vector<Nonlinearity> all = {
      piecewise_linear("identity", 1, 1),
      piecewise_linear("relu", 0, 1),
      hyperbolic_tangent(),
      sigmoid(),
      {.name = "erf",
       .value = [](double u) { return std::erf(u); },
       .slope = [](double u) { return 2 / std::sqrt(std::numbers::pi) * std::exp(-u * u); }},
      {.name = "hard_tanh",
       .value = [](double u) { return std::fmin(1, std::fmax(-1, u)); },
       .slope = [](double u) { return std::abs(u) < 1 ? 1.0 : 0.0; },
       .kinks = {-1.0, 1.0}},
      {.name = "gelu",
       .value = [](double u) { return u * probability(u); },
       .slope = [](double u) { return probability(u) + u * density(u); }},
      {.name = "silu",
       .value = [](double u) { return u * logistic(u); },
       .slope = [](double u) { return logistic(u) * (1 + u * logistic(-u)); }},
      exponential_linear("elu", 1, 1),
      exponential_linear("selu", 1.0507009873554804934, 1.6732632423543772848),
      {.name = "softplus",
       .value = [](double u) { return u > 0 ? u + std::log1p(std::exp(-u)) : std::log1p(std::exp(u)); },
       .slope = logistic}};
  return all;
}

}  // namespace

Nonlinearity nonlinearity(const Activation& activation) {
  if (activation.kind != ActivationKind::leaky_relu) return parse_nonlinearity(to_string(activation));
  return piecewise_linear(to_string(activation), static_cast<double>(activation.negative_slope), 1);
}

Nonlinearity parse_nonlinearity(std::string_view text) {
  if (text.starts_with("leaky_relu")) return nonlinearity(parse_activation(text));
  std::string names;
  for (const Nonlinearity& f : known()) {
    if (f.name == text) return f;
    names += ", " + f.name;
  }
  throw Error(ErrorCode::usage, fmt::format("activation: expected leaky_relu[:slope]{}, found '{}'", names, text));
}

}  // namespace kindling
