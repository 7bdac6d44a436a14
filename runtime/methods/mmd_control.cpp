// Random weights that share simple statistics with those that MMD learned.
#include <fmt/format.h>
#include <kindling/mmd.h>
#include <kindling/random.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "methods/layer_inputs.h"
#include "methods/pretraining.h"
#include "nn/batches.h"
#include "nn/jacobian.h"

namespace kindling {
namespace {

constexpr std::int64_t matched_samples = 500;
constexpr int sweeps = 20;

// Normal draws of the mean and the norm of `values`, in its place.
void redraw(const Stream& stream, std::span<float> values, const Context& context) {
  if (values.empty()) return;
  const auto n = static_cast<double>(values.size());
  double mean = 0, square = 0;
  for (const float v : values) {
    mean += v;
    square += double{v} * double{v};
  }
  mean /= n;
  const double spread = std::sqrt(std::max(0.0, square - n * mean * mean));
  std::vector<float> z(values.size());
  fill_normal(stream, 0, 1, z, context);
  double z_mean = 0, z_square = 0;
  for (const float v : z) z_mean += v / n;
  for (const float v : z) z_square += (v - z_mean) * (v - z_mean);
  const double scale = z_square > 0 ? spread / std::sqrt(z_square) : 0;
  for (std::size_t i = 0; i < z.size(); ++i) values[i] = static_cast<float>(mean + scale * (z[i] - z_mean));
}

// Mean over samples and outputs of ||J_(l:L)||, layer by layer.
std::vector<double> mean_norms(const Model& model, ConstTensorView x, const Context& context) {
  const Tensor norms = jacobian_row_norms(model, x, context);
  const std::int64_t layers = norms.shape()[0], rows = norms.size() / layers;
  std::vector<double> means;
  for (std::int64_t l = 0; l < layers; ++l) {
    double sum = 0;
    for (std::int64_t r = 0; r < rows; ++r) sum += norms.data()[l * rows + r];
    means.push_back(sum / static_cast<double>(rows));
  }
  return means;
}

// Scales the weights so that ||J_(l:L)||, which is a product over the layers from l on, gets the wanted means.
void match(Model& model, const Model& learned, const Dataset& data, MmdControlReport& report, const Context& context) {
  const kernels::Execution exec = kernels::execution(context);
  const std::int64_t count = std::min(matched_samples, data.train.count);
  std::vector<std::int32_t> chosen = sample_subset(data, count, context);
  if (chosen.empty()) {  // all of them
    chosen.resize(static_cast<std::size_t>(count));
    std::iota(chosen.begin(), chosen.end(), 0);
  }
  Tensor x({count, model.inputs()});
  gather_rows(exec, data, data.train, chosen, x);
  const std::vector<double> wanted = mean_norms(learned, x, context);
  const std::size_t layers = wanted.size();
  std::vector<double> factor(layers, 1.0);
  for (int sweep = 0; sweep <= sweeps; ++sweep) {
    const std::vector<double> found = mean_norms(model, x, context);
    report.jacobian_mismatch = 0;
    for (std::size_t l = 0; l < layers; ++l) {
      if (!(found[l] > 0) || !(wanted[l] > 0)) {
        throw Error(ErrorCode::numerical, fmt::format("mmd-control: the Jacobian at layer {} vanishes", l));
      }
      report.jacobian_mismatch = std::max(report.jacobian_mismatch, std::abs(found[l] / wanted[l] - 1));
    }
    if (sweep == sweeps || report.jacobian_mismatch < 1e-3) break;
    for (std::size_t l = 0; l < layers; ++l) {
      const double above = l + 1 < layers ? wanted[l + 1] / found[l + 1] : 1;
      const double scale = wanted[l] / found[l] / above;
      factor[l] *= scale;
      for (float& w : model.layers()[l].weight.flat()) w *= static_cast<float>(scale);
    }
  }
  for (std::size_t l = 0; l < layers; ++l) report.weight_scale.emplace_back(model.layers()[l].name, factor[l]);
}

}  // namespace

MmdControlReport initialize_mmd_control(Model& model, const Dataset& data, const MmdOptions& options,
                                        bool match_jacobian, const Context& context) {
  if (match_jacobian) {
    for (const Layer& layer : model.layers()) {
      if (layer.kind == LayerKind::dense) continue;
      throw Error(ErrorCode::usage,
                  fmt::format("mmd-control: Jacobians are matched for dense layers alone, found {} ({})", layer.name,
                              to_string(layer.kind)));
    }
  }
  Model learned = model.clone();
  MmdControlReport report;
  report.learned = initialize_mmd(learned, data, options, context);
  Model control = learned.clone();
  for (std::size_t i = 0; i < control.layers().size(); ++i) {
    Layer& layer = control.layers()[i];
    const auto unit = static_cast<std::uint32_t>(i);
    redraw({context.seed, Purpose::candidates, unit, 0}, layer.weight.flat(), context);
    redraw({context.seed, Purpose::candidates, unit, 1}, layer.bias.flat(), context);
  }
  if (match_jacobian) {
    match(control, learned, data, report, context);
  } else {
    for (const Layer& layer : control.layers())
      if (layer.has_neurons()) report.weight_scale.emplace_back(layer.name, 1.0);
  }
  calibrate_batch_norms(control, data, context);
  model = std::move(control);
  return report;
}

}  // namespace kindling
