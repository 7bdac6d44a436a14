#include <fmt/format.h>
#include <kindling/initialize.h>

#include <chrono>
#include <cmath>

#include "kernels/jacobian.h"
#include "methods/class_moments.h"

namespace kindling {
namespace {

// Variance of all pre-activations of a layer, over samples and units together.
double output_variance(const kernels::Execution& exec, const Model& model, std::size_t index, LayerInputs& inputs,
                       const Context& context) {
  const Layer& layer = model.layers()[index];
  const LayerScatter scatter = layer_scatter(exec, model, index, layer.weight.view().matrix(), layer.bias.flat(),
                                             {ActivationKind::identity}, 1, inputs, context);
  double mean = 0;
  double square = 0;
  for (std::size_t j = 0; j < scatter.mean.size(); ++j) {
    mean += scatter.mean[j];
    square += scatter.total[j] + scatter.mean[j] * scatter.mean[j];
  }
  const auto units = static_cast<double>(scatter.mean.size());
  return square / units - (mean / units) * (mean / units);
}

void check_options(const LsuvOptions& options) {
  if (!(options.target_variance > 0) || !std::isfinite(options.target_variance)) {
    throw Error(ErrorCode::usage,
                fmt::format("lsuv: target variance: expected a positive number, found {}", options.target_variance));
  }
  if (!(options.tolerance > 0))
    throw Error(ErrorCode::usage,
                fmt::format("lsuv: tolerance: expected a positive number, found {}", options.tolerance));
  if (options.max_iterations < 1)
    throw Error(ErrorCode::usage,
                fmt::format("lsuv: iterations: expected 1 or more, found {}", options.max_iterations));
  if (options.samples < 0)
    throw Error(ErrorCode::usage, fmt::format("lsuv: samples: expected 0 or more, found {}", options.samples));
}

}  // namespace

LsuvReport initialize_lsuv(Model& model, const Dataset& data, const LsuvOptions& options, const Context& context) {
  check_options(options);
  check_fits(model, data.train.features, data.classes);
  const auto start = std::chrono::steady_clock::now();
  const kernels::Execution exec = kernels::execution(context);
  initialize_baseline(model, options.base, context);
  LayerInputs inputs(exec, data, sample_subset(data, options.samples, context), moment_rows(model), 100e6);
  LsuvReport report;
  const std::size_t layers = model.layers().size(), last = model.last_neuron_layer();
  for (std::size_t i = 0; i < layers; ++i) {
    Layer& layer = model.layers()[i];
    LsuvLayerReport entry{.layer = layer.name};
    if (!layer.has_neurons()) {
      if (layer.kind == LayerKind::batch_norm) calibrate_batch_norm(exec, model, i, inputs, context);
      entry.skipped = skipped_reason(layer);
    } else if (i == last && !options.last_layer) {
      entry.skipped = "the output layer keeps its base law (last_layer=false)";
    } else {
      kernels::Residency residency(exec);
      residency.keep(kernels::Residency::Role::result, layer.weight);
      double variance = entry.variance_before = output_variance(exec, model, i, inputs, context);
      while (std::abs(variance - options.target_variance) > options.tolerance &&
             entry.iterations < options.max_iterations) {
        if (!(variance > 0) || !std::isfinite(variance)) {
          throw Error(ErrorCode::numerical,
                      fmt::format("lsuv: {}: the output variance is {}, which no factor can bring to {}", layer.name,
                                  variance, options.target_variance));
        }
        const auto factor = static_cast<float>(std::sqrt(options.target_variance / variance));
        const std::vector<float> factors(static_cast<std::size_t>(layer.units()), factor);
        kernels::scale_rows(exec, layer.weight.view().matrix(), factors, layer.weight.view().matrix());
        ++entry.iterations;
        variance = output_variance(exec, model, i, inputs, context);
      }
      entry.variance_after = variance;
      residency.finish();
      entry.converged = std::abs(variance - options.target_variance) <= options.tolerance;
    }
    if (i + 1 < layers) inputs.freeze(exec, model, i, context);
    report.layers.push_back(entry);
    context.report({"lsuv", static_cast<std::int64_t>(i + 1), static_cast<std::int64_t>(layers), entry.layer});
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace kindling
