// Jacobian-norm initialization, see include/kindling/jacobian.h and docs/curvature.md.
#include <fmt/format.h>
#include <kindling/jacobian.h>

#include <algorithm>
#include <boost/math/tools/roots.hpp>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include "methods/class_moments.h"
#include "methods/draw.h"
#include "nn/power_iteration.h"

namespace kindling {
namespace {

// Upper edge of the singular values of an m x n matrix with unit entries, half of whose rows are scaled by `slope`:
// sqrt(n z) at the minimum over -1 < s < 0 of z(s) = -1/s + (m / n) mean over the rows' squared scales t of
// t / (1 + t s).
double two_scale_edge(double m, double n, double slope) {
  const double c = m / n, t = slope * slope;
  const auto derivative = [&](double s) {
    const double strong = 1 / (1 + s), weak = t / (1 + t * s);
    return 1 / (s * s) - c / 2 * (strong * strong + weak * weak);
  };
  constexpr double least = 1e-9;
  const auto close = [](double a, double b) { return b - a <= 1e-13 * std::abs(a); };
  const auto [low, high] = boost::math::tools::bisect(derivative, -1 + least, -least, close);
  const double s = (low + high) / 2;
  return std::sqrt(n * (-1 / s + c / 2 * (1 / (1 + s) + t / (1 + t * s))));
}

void check_options(const JacobianOptions& o) {
  const auto refuse = [](const char* name, const char* expected, auto found) {
    throw Error(ErrorCode::usage, fmt::format("jacobian: {}: expected {}, found {}", name, expected, found));
  };
  if (!(o.norm > 0) || !std::isfinite(o.norm)) refuse("norm", "a positive number", o.norm);
  if (!(o.tolerance > 0) || !std::isfinite(o.tolerance)) refuse("tolerance", "a positive number", o.tolerance);
  if (o.max_iterations < 1) refuse("iterations", "1 or more", o.max_iterations);
  if (o.samples < 0) refuse("samples", "0 or more", o.samples);
}

struct Norms {
  double mean = 0, least = std::numeric_limits<double>::infinity(), greatest = 0;
  std::int64_t count = 0;

  void add(const std::vector<float>& values) {
    for (const float v : values) {
      mean += double{v};
      // A NaN shows in the mean.
      least = std::min(least, double{v});
      greatest = std::max(greatest, double{v});
    }
    count += static_cast<std::int64_t>(values.size());
  }
  void finish() { mean /= static_cast<double>(count); }
};

PowerIterationOptions power_options(std::uint32_t layer, std::uint32_t batch) {
  return {.start = {.purpose = Purpose::search, .unit = layer, .step = batch}};
}

// Norms of the layer's Jacobians on its inputs in the data.
Norms norms_on_data(const kernels::Execution& exec, const Model& model, std::size_t index, LayerInputs& inputs,
                    const Context& context) {
  const Layer& layer = model.layers()[index];
  Norms norms;
  std::uint32_t batch = 0;
  Tensor outputs;
  kernels::Residency residency(exec);
  keep_parameters(residency, layer);
  inputs.for_each(exec, model, index, context, [&](ConstTensorView x, std::span<const std::int32_t>) {
    if (outputs.empty()) {
      outputs = Tensor({x.rows(), layer.output.features()});
      residency.keep(kernels::Residency::Role::scratch, outputs);
    }
    const TensorView y = outputs.view().rows(0, x.rows());
    layer_forward(exec, layer, x, y);
    norms.add(largest_singular_values(layer_jacobians(exec, layer, y),
                                      power_options(static_cast<std::uint32_t>(index), batch++), context)
                  .value);
  });
  norms.finish();
  return norms;
}

// The same on random inputs so small that f' is that of 0 or, at a kink, of either side by chance.
Norms norms_near_zero(const kernels::Execution& exec, const Layer& layer, std::uint32_t index, const Context& context) {
  constexpr std::int64_t count = 8;
  Layer bare{.kind = layer.kind, .name = layer.name, .activation = layer.activation, .weight = layer.weight.clone()};
  bare.input = layer.input;
  bare.output = layer.output;
  bare.bias = Tensor({layer.units()});
  Tensor x({count, layer.fan_in()}), y({count, layer.units()});
  fill_normal({context.seed, Purpose::search, index, 1}, 0, 1e-3F, x.flat(), context);
  kernels::Residency residency(exec);
  for (const Tensor* t : {&bare.weight, &bare.bias, &x}) residency.keep(kernels::Residency::Role::input, *t);
  residency.keep(kernels::Residency::Role::scratch, y);
  layer_forward(exec, bare, x, y);
  Norms norms;
  norms.add(largest_singular_values(layer_jacobians(exec, bare, y), power_options(index, 0), context).value);
  norms.finish();
  return norms;
}

// The standard deviation that the widths suggest. For a convolution the norm of its frequency responses, which only
// starts the simulation.
double first_stddev(const Layer& layer, double norm) {
  const auto taps = static_cast<double>(layer.window.height * layer.window.width);
  if (layer.kind == LayerKind::dense) {
    return norm / jacobian_norm_factor(layer.fan_in(), layer.units(), layer.activation);
  }
  return norm / (std::sqrt(taps) * jacobian_norm_factor(layer.input.channels, layer.units(), layer.activation));
}

// Finds the factor at which the mean norm is `target`, in logarithms: log norm is 1 log factor + constant for piecewise
// linear f, and bends where f saturates.
class FactorSearch {
 public:
  explicit FactorSearch(double target) : target_(target) {}

  // The logarithm of the factor to apply next, given the norm at the present one.
  double step(double norm) {
    const double miss = std::log(norm / target_);
    double slope = 1;
    if (moved_ != 0) slope = std::clamp((miss - miss_) / moved_, 0.25, 1.5);
    miss_ = miss;
    moved_ = -miss / slope;
    return moved_;
  }

 private:
  double target_, miss_ = 0, moved_ = 0;
};

void scale_to_norm(const kernels::Execution& exec, Model& model, std::size_t index, LayerInputs& inputs,
                   const JacobianOptions& options, JacobianLayerReport& entry, const Context& context) {
  Layer& layer = model.layers()[index];
  kernels::Residency residency(exec);
  residency.keep(kernels::Residency::Role::result, layer.weight);
  Norms norms = norms_on_data(exec, model, index, inputs, context);
  entry.norm_before = norms.mean;
  FactorSearch search(options.norm);
  const auto close = [&] { return std::abs(norms.mean - options.norm) <= options.tolerance * options.norm; };
  while (!close() && entry.iterations < options.max_iterations) {
    if (!(norms.mean > 0) || !std::isfinite(norms.mean)) break;
    const auto factor = static_cast<float>(std::exp(search.step(norms.mean)));
    const std::vector<float> factors(static_cast<std::size_t>(layer.units()), factor);
    kernels::scale_rows(exec, layer.weight.view().matrix(), factors, layer.weight.view().matrix());
    ++entry.iterations;
    norms = norms_on_data(exec, model, index, inputs, context);
  }
  if (!(norms.mean > 0) || !std::isfinite(norms.mean)) {
    throw Error(ErrorCode::numerical,
                fmt::format("jacobian: {}: the Jacobian's norm is {}, which no factor can bring to {}", layer.name,
                            norms.mean, options.norm));
  }
  residency.finish();
  entry.norm_after = norms.mean;
  entry.norm_least = norms.least;
  entry.norm_greatest = norms.greatest;
  entry.converged = close();
}

void check_layers(const Model& model, const Dataset* data, const JacobianOptions& options) {
  if (options.simulate && data == nullptr) {
    throw Error(ErrorCode::usage, "jacobian: simulate=true looks at data: name a data set (--data)");
  }
  if (data != nullptr) check_fits(model, data->train.features, data->classes);
  if (options.simulate) return;
  for (const Layer& layer : model.layers()) {
    if (layer.kind != LayerKind::conv2d) continue;
    throw Error(ErrorCode::usage,
                fmt::format("jacobian: {} is a convolution, for which there is no closed form: expected simulate=true",
                            layer.name));
  }
}

}  // namespace

double jacobian_norm_factor(std::int64_t fan_in, std::int64_t fan_out, const Activation& activation) {
  if (fan_in < 1 || fan_out < 1) {
    throw Error(ErrorCode::usage, fmt::format("jacobian_norm_factor: expected positive widths, found {} inputs and {} "
                                              "outputs",
                                              fan_in, fan_out));
  }
  const auto n = static_cast<double>(fan_in), m = static_cast<double>(fan_out);
  switch (activation.kind) {
    case ActivationKind::identity:
    case ActivationKind::tanh: return std::sqrt(m) + std::sqrt(n);
    case ActivationKind::sigmoid: return (std::sqrt(m) + std::sqrt(n)) / 4;
    case ActivationKind::relu: return std::sqrt(m / 2) + std::sqrt(n);
    case ActivationKind::leaky_relu: break;
  }
  const double slope = std::abs(double{activation.negative_slope});
  return slope > 1 ? slope * two_scale_edge(m, n, 1 / slope) : two_scale_edge(m, n, slope);
}

JacobianReport initialize_jacobian(Model& model, const Dataset* data, const JacobianOptions& options,
                                   const Context& context) {
  check_options(options);
  check_layers(model, data, options);
  const auto start = std::chrono::steady_clock::now();
  const kernels::Execution exec = kernels::execution(context);
  const BaselineOptions law{.distribution = options.distribution, .bias = options.bias};
  std::optional<LayerInputs> inputs;
  if (options.simulate) {
    inputs.emplace(exec, *data, sample_subset(*data, options.samples, context), pass_rows(model, 256), 100e6);
  }
  JacobianReport report{.simulated = options.simulate};
  const std::size_t layers = model.layers().size();
  std::uint32_t neurons = 0;
  for (std::size_t i = 0; i < layers; ++i) {
    context.check_stop();
    Layer& layer = model.layers()[i];
    JacobianLayerReport entry{.layer = layer.name};
    if (!layer.has_neurons()) {
      reset_batch_norm(layer);
      if (layer.kind == LayerKind::batch_norm && inputs) calibrate_batch_norm(exec, model, i, *inputs, context);
      entry.skipped = skipped_reason(layer);
    } else {
      draw_weights(law, first_stddev(layer, options.norm), {context.seed, Purpose::weights, neurons}, layer.activation,
                   layer.weight.view().matrix(), context);
      draw_biases(law, {context.seed, Purpose::biases, neurons}, layer.fan_in(), layer.bias.flat(), context);
      if (options.simulate) {
        scale_to_norm(exec, model, i, *inputs, options, entry, context);
      } else {
        const Norms norms = norms_near_zero(exec, layer, neurons, context);
        entry.norm_before = entry.norm_after = norms.mean;
        entry.norm_least = norms.least;
        entry.norm_greatest = norms.greatest;
      }
      entry.weight_stddev = root_mean_square(layer.weight.flat());
      ++neurons;
    }
    if (inputs && i + 1 < layers) inputs->freeze(exec, model, i, context);
    report.layers.push_back(entry);
    context.report({"jacobian", static_cast<std::int64_t>(i + 1), static_cast<std::int64_t>(layers), entry.layer});
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace kindling
