// Drawing, comparing, and the activations of the references.
#include "fuzz/fuzz.h"

#include <cstdio>

#include "kindling/error.h"

namespace kindling::fuzz {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

}  // namespace

Case::Case(const kernels::Target& target, std::uint64_t seed, std::uint32_t number, Mutation m)
    : execution{&target, 1},
      mutation(m),
      random_({.seed = seed, .purpose = Purpose::test, .unit = number, .step = 0xF022}),
      small_(false),
      bad_(false),
      bad_value_(0) {
  small_ = below(4) == 0;
  bad_ = below(8) == 0;
  bad_value_ = below(6);
  execution.threads = 1 + static_cast<int>(below(2));
}

std::int64_t Case::extent(std::int64_t most, std::int64_t least) {
  if (small_) return least + below(std::max<std::int64_t>(1, 3 - least));
  if (execution.target->gpu) most = std::max<std::int64_t>(2, std::min<std::int64_t>(most, 40));
  std::int64_t n = 2 + below(most - 1);
  if (chance(0.4)) n = n / 8 * 8 + below(3) - 1;
  return std::clamp<std::int64_t>(n, 2, most);
}

std::int64_t Case::long_extent(std::int64_t most, std::int64_t rare, std::int64_t times, std::int64_t least) {
  std::int64_t n = !small_ && below(12) == 0 ? most + below(rare - most) : extent(most, least);
  // An emulated device is slow: a tenth of the work, and still sums of several blocks.
  const std::int64_t budget = execution.target->gpu ? 40000 : 400000;
  while (n > 2 && n * times > budget) n = n / 2 + 1;
  return n;
}

void Case::expect(double found, double expected, double bound, std::string_view what, std::int64_t row,
                  std::int64_t col) {
  ++compared;
  nonzero += found != 0 ? 1 : 0;
  const bool same = std::isnan(expected)   ? std::isnan(found)
                    : std::isinf(expected) ? found == expected || (std::isnan(bound) && std::isnan(found))
                                           : std::abs(found - expected) <= bound;
  if (same) return;
  throw Failure(std::string(what) + "(" + std::to_string(row) + ", " + std::to_string(col) + "): expected " +
                number(expected) + " within " + number(bound) + ", found " + number(found));
}

void Case::expect_refusal(std::string_view wrapper, const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::usage && std::string_view(error.what()).find(wrapper) != std::string_view::npos)
      return;
    throw Failure(std::string("refused as ") + error.what());
  }
  throw Failure("took a number that is not finite");
}

Activation draw_activation(Case& c, std::string_view form) {
  if (form == "tanh") return {ActivationKind::tanh};
  if (form == "sigmoid") return {ActivationKind::sigmoid};
  switch (c.below(4)) {
    case 0: return {ActivationKind::identity};
    case 1: return {ActivationKind::leaky_relu, c.scalar(0.01, 0.9)};
    default: return {ActivationKind::relu};
  }
}

double apply(const Activation& activation, double z) {
  if (std::isnan(z)) return z;
  switch (activation.kind) {
    case ActivationKind::identity: return z;
    case ActivationKind::relu: return z > 0 ? z : 0;
    case ActivationKind::leaky_relu: return z > 0 ? z : static_cast<double>(activation.negative_slope) * z;
    case ActivationKind::tanh: return std::tanh(z);
    case ActivationKind::sigmoid: return 1 / (1 + std::exp(-z));
  }
  return 0;
}

double derivative(const Activation& activation, double y) {
  if (std::isnan(y)) return y;
  switch (activation.kind) {
    case ActivationKind::identity: return 1;
    case ActivationKind::relu: return y > 0 ? 1 : 0;
    case ActivationKind::leaky_relu: return y > 0 ? 1 : static_cast<double>(activation.negative_slope);
    case ActivationKind::tanh: return 1 - y * y;
    case ActivationKind::sigmoid: return y * (1 - y);
  }
  return 0;
}

Array<float> draw_outputs(Case& c, const Activation& activation, std::int64_t rows, std::int64_t cols) {
  Array<float> x(c, rows, cols);
  x.fill([&] { return apply(activation, c.normal()); });
  x.bounded = activation.kind == ActivationKind::tanh || activation.kind == ActivationKind::sigmoid;
  return x;
}

// No activation here has a slope above 1.
Bounded activated(const Activation& activation, const Sum& z, std::int64_t terms) {
  const double y = apply(activation, z.value);
  return {y, sum_bound(terms, z) + 8 * eps * std::abs(y)};
}

// f' itself rounds to within 2 eps of 1.
Bounded through_derivative(const Activation& activation, double y, const Sum& g, std::int64_t terms) {
  const double slope = derivative(activation, y), size = std::abs(g.value);
  // (1 - y^2) g is compiled as g - y^2 g where that is faster.
  const bool smooth = activation.kind == ActivationKind::tanh || activation.kind == ActivationKind::sigmoid;
  if (smooth && std::isinf(g.value)) return {g.value * slope, std::nan("")};
  return {g.value * slope, (sum_bound(terms, g) + 2 * eps * size) * std::abs(slope) + 3 * eps * size};
}

Activation mutated(const Case& c, Activation activation) {
  if (c.mutation != Mutation::wrong_mask) return activation;
  if (activation.kind == ActivationKind::relu) return {ActivationKind::leaky_relu, 1e-3F};
  if (activation.kind == ActivationKind::tanh) return {ActivationKind::sigmoid};
  if (activation.kind == ActivationKind::sigmoid) return {ActivationKind::tanh};
  return {ActivationKind::relu};
}

}  // namespace kindling::fuzz
