#include <fmt/format.h>
#include <kindling/correlated.h>
#include <kindling/mean_field.h>
#include <kindling/random.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/device_log.h"
#include "kernels/jacobian.h"
#include "kernels/random.h"
#include "kernels/residency.h"
#include "methods/class_moments.h"
#include "methods/draw.h"
#include "nn/forward_pass.h"

namespace kindling {
namespace {

constexpr std::int64_t probe_rows = 256;

void check_options(const CorrelatedOptions& o) {
  const auto refuse = [](const char* option, const char* expected, double found) {
    throw Error(ErrorCode::usage,
                fmt::format("correlated weights: {}: expected {}, found {}", option, expected, found));
  };
  if (!std::isfinite(o.k) || !(o.k > -1)) refuse("k", "a finite number above -1", o.k);
  if (!std::isfinite(o.weight_variance) || !(o.weight_variance > 0))
    refuse("weight_variance", "a finite number above 0", o.weight_variance);
  if (!std::isfinite(o.bias_variance) || !(o.bias_variance >= 0))
    refuse("bias_variance", "a finite number, 0 or more", o.bias_variance);
  if (o.bias_entry && o.bias_variance != 0)
    refuse("bias_variance", "0 where the bias is an entry of the row (bias=entry)", o.bias_variance);
  if (o.beta_entry && o.keep_length)
    throw Error(ErrorCode::usage, "correlated weights: weight_variance=keep is for laws without a Beta entry");
}

double kappa_of(double k) { return k / (1 + k); }

// sigma_w^2 of a layer whose inputs went through this activation.
double variance_of(const CorrelatedOptions& options, const Activation& feeding) {
  return options.keep_length ? length_keeping_variance(nonlinearity(feeding), options.k) : options.weight_variance;
}

// Mean correlation of two entries of a row with the law's mean 0: rows' sums against rows' squares. A loop over what
// was drawn, for the report.
double row_correlation(ConstTensorView w) {
  double sums = 0;
  double squares = 0;
  for (std::int64_t r = 0; r < w.rows(); ++r) {
    double sum = 0;
    for (const float v : std::span(w.row(r), static_cast<std::size_t>(w.cols()))) {
      sum += v;
      squares += static_cast<double>(v) * v;
    }
    sums += sum * sum;
  }
  if (w.cols() < 2 || squares == 0) return std::numeric_limits<double>::quiet_NaN();
  return (sums - squares) / (static_cast<double>(w.cols() - 1) * squares);
}

CorrelatedLayerReport draw_layer(Layer& layer, std::uint32_t index, const CorrelatedOptions& options,
                                 const Activation& feeding, const Context& context) {
  const double variance = variance_of(options, feeding);
  const TensorView weight = layer.weight.view().matrix();
  const std::span<float> bias = options.bias_entry ? layer.bias.flat() : std::span<float>();
  fill_correlated_rows({context.seed, Purpose::weights, index, 0},
                       {.k = options.k, .sigma_squared = variance, .beta_entry = options.beta_entry}, weight, bias,
                       context);
  if (!options.bias_entry) {
    fill_normal({context.seed, Purpose::biases, index, 0}, 0, static_cast<float>(std::sqrt(options.bias_variance)),
                layer.bias.flat(), context);
  }
  const auto fan_in = static_cast<double>(layer.fan_in());
  const double entries = fan_in + (options.bias_entry ? 1 : 0);
  const double kappa = kappa_of(options.k);
  double entry_variance = variance / fan_in * (1 - kappa / entries);
  // E u^2 = 1/2 for Beta(2, 1), which replaces one of the row's entries.
  if (options.beta_entry) entry_variance += (0.5 - entry_variance) / entries;
  CorrelatedLayerReport report{.layer = layer.name};
  report.weight_variance = variance;
  report.law_stddev = std::sqrt(entry_variance);
  report.law_correlation = entries < 2 ? std::numeric_limits<double>::quiet_NaN() : 0 - kappa / (entries - kappa);
  report.correlation = row_correlation(weight);
  if (layer.fan_in() == 1) report.note = "fan-in 1: the one weight of a row has no other to correlate with";
  return report;
}

double mean_square(const kernels::Execution& exec, ConstTensorView z) {
  std::vector<float> norms(static_cast<std::size_t>(z.rows()));
  kernels::row_norms(exec, z, norms);
  double sum = 0;
  for (const float n : norms) sum += static_cast<double>(n) * n;
  return sum / static_cast<double>(z.size());
}

// Both networks' activations at one layer, for the probe inputs.
struct Probe {
  ForwardPass pass;
  ConstTensorView x;

  // Mean square of the pre-activations of layer i.
  double length(const kernels::Execution& exec, Model& model, std::size_t i) {
    Layer& layer = model.layers()[i];
    const Activation own = layer.activation;
    layer.activation = {ActivationKind::identity};
    Tensor z({x.rows(), layer.output.features()});
    kernels::Residency residency(exec);
    residency.keep(kernels::Residency::Role::scratch, z);
    layer_forward(exec, layer, x, z);
    layer.activation = own;
    return mean_square(exec, z);
  }
  void advance(const kernels::Execution& exec, const Model& model, std::size_t i) {
    x = pass.run_from(exec, model, i, x, i + 1);
  }
};

void match_lengths(Model& model, const CorrelatedOptions& match, CorrelatedReport& report, const Context& context) {
  const kernels::Execution exec = kernels::execution(context);
  Model like = model.clone();
  initialize_correlated(like, match, std::nullopt, context);
  const std::int64_t rows = pass_rows(model, probe_rows);
  Tensor inputs({rows, model.inputs()});
  kernels::Residency residency(exec);
  residency.keep(kernels::Residency::Role::scratch, inputs);
  keep_parameters(residency, like);
  fill_normal({context.seed, Purpose::probe, 0, 0}, 0, 1, inputs.flat(), context);
  // In any order: the inputs are independent of each other.
  Probe own{ForwardPass(model, rows), inputs};
  Probe other{ForwardPass(like, rows), inputs};
  kernels::Residency buffers(exec);
  own.pass.keep_on(buffers);
  other.pass.keep_on(buffers);
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    context.check_stop();
    Layer& layer = model.layers()[i];
    kernels::Residency parameters(exec);
    for (const Tensor* t : {&layer.weight, &layer.bias}) parameters.keep(kernels::Residency::Role::result, *t);
    if (layer.has_neurons()) {
      const double wanted = other.length(exec, like, i);
      const double found = own.length(exec, model, i);
      const double factor = std::sqrt(wanted / found);
      if (!(found > 0) || !std::isfinite(factor)) {
        throw Error(
            ErrorCode::numerical,
            fmt::format("correlated weights: {}: the outputs' mean square is {}, which no factor can bring to {}",
                        layer.name, found, wanted));
      }
      const std::vector<float> factors(static_cast<std::size_t>(layer.units()), static_cast<float>(factor));
      const TensorView weight = layer.weight.view().matrix(), bias(layer.bias.data(), {1, layer.units()});
      kernels::scale_rows(exec, weight, factors, weight);
      kernels::scale_rows(exec, bias, std::span(factors).first(1), bias);
      report.layers[i].length_factor = factor;
    }
    own.advance(exec, model, i);
    other.advance(exec, like, i);
    parameters.finish();
  }
}

}  // namespace

CorrelatedOptions aci_options() { return {.k = 100, .weight_variance = 2}; }
CorrelatedOptions rai_options() { return {.k = 0, .weight_variance = 0.36, .bias_entry = true, .beta_entry = true}; }
CorrelatedOptions raai_options() { return {.k = 100, .weight_variance = 0.9, .bias_entry = true, .beta_entry = true}; }

CorrelatedReport initialize_correlated(Model& model, const CorrelatedOptions& options,
                                       const std::optional<CorrelatedOptions>& match, const Context& context) {
  check_options(options);
  if (match) check_options(*match);
  const auto start = std::chrono::steady_clock::now();
  CorrelatedReport report;
  std::uint32_t index = 0;
  Activation feeding{ActivationKind::identity};
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    context.check_stop();
    Layer& layer = model.layers()[i];
    if (layer.has_neurons()) {
      report.layers.push_back(draw_layer(layer, index++, options, feeding, context));
      feeding = model.neuron_activation(i);
    } else {
      reset_batch_norm(layer);
      report.layers.push_back({.layer = layer.name, .skipped = skipped_reason(layer)});
    }
  }
  kernels::on_host("statistics of the drawn weights, for the report");
  if (match) match_lengths(model, *match, report, context);
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    if (!model.layers()[i].has_neurons()) continue;
    report.layers[i].weight_stddev = root_mean_square(model.layers()[i].weight.flat());
    report.layers[i].bias_stddev = root_mean_square(model.layers()[i].bias.flat());
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace kindling
