// What bottleneck training is measured against: matched random weights, and how well classes are separated.
#include <fmt/format.h>
#include <kindling/bottleneck.h>
#include <kindling/random.h>

#include <cmath>
#include <limits>

#include "kernels/scatter.h"
#include "nn/batches.h"
#include "nn/forward_pass.h"

namespace kindling {
namespace {

// Normal numbers with the mean and the standard deviation that `values` have.
void redraw(const Stream& stream, std::span<float> values, const Context& context) {
  const auto n = static_cast<double>(values.size());
  if (values.empty()) return;
  double mean = 0, variance = 0;
  for (const float v : values) mean += static_cast<double>(v) / n;
  for (const float v : values) variance += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean) / n;
  fill_normal(stream, static_cast<float>(mean), static_cast<float>(std::sqrt(variance)), values, context);
}

}  // namespace

void randomize_matched(Model& model, const Context& context) {
  std::uint32_t unit = 0;
  for (Layer& layer : model.layers()) {
    if (layer.has_neurons()) {
      redraw({context.seed, Purpose::weights, unit, 1}, layer.weight.flat(), context);
      redraw({context.seed, Purpose::biases, unit, 1}, layer.bias.flat(), context);
    }
    ++unit;
  }
}

double separation_ratio(const Model& model, std::size_t layer, const Dataset& data, const Samples& split,
                        const Context& context) {
  if (layer > model.layers().size()) {
    throw Error(ErrorCode::usage,
                fmt::format("separation ratio: layer {}: the model has {} layers", layer, model.layers().size()));
  }
  check_fits(model, split.features, 0);
  const kernels::Execution exec = kernels::execution(context);
  const std::int64_t width = layer == 0 ? model.inputs() : model.layers()[layer - 1].output.features();
  const auto classes = static_cast<std::size_t>(data.classes);
  const std::int64_t most = std::min<std::int64_t>(pass_rows(model, 960), std::max<std::int64_t>(split.count, 1));
  ForwardPass pass(model, most);
  Tensor samples({most, model.inputs()});
  std::vector<double> sum(classes * static_cast<std::size_t>(width)), squares(sum.size());
  const std::vector<float> shift(static_cast<std::size_t>(width), 0.0F);
  std::vector<double> count(classes);
  for (std::int64_t first = 0; first < split.count; first += most) {
    context.check_stop();
    const std::int64_t rows = std::min(most, split.count - first);
    read_rows(exec, data, split, first, samples.view().rows(0, rows));
    const std::span<const std::int32_t> labels(split.labels.data() + first, static_cast<std::size_t>(rows));
    const ConstTensorView z = pass.run(exec, model, samples.view().rows(0, rows), layer);
    kernels::class_scatter(exec, z, labels, shift, data.classes, sum, squares);
    for (const std::int32_t label : labels) count[static_cast<std::size_t>(label)] += 1;
  }
  double deviation = 0, distance = 0;
  int present = 0, pairs = 0;
  const auto at = [&](std::size_t c, std::int64_t k) {
    return c * static_cast<std::size_t>(width) + static_cast<std::size_t>(k);
  };
  for (std::size_t a = 0; a < classes; ++a) {
    if (count[a] == 0) continue;
    double spread = 0;
    for (std::int64_t k = 0; k < width; ++k) {
      const double mean = sum[at(a, k)] / count[a];
      spread += std::max(squares[at(a, k)] / count[a] - mean * mean, 0.0);
    }
    deviation += std::sqrt(spread);
    ++present;
    for (std::size_t b = 0; b < a; ++b) {
      if (count[b] == 0) continue;
      double squared = 0;
      for (std::int64_t k = 0; k < width; ++k)
        squared += std::pow(sum[at(a, k)] / count[a] - sum[at(b, k)] / count[b], 2);
      distance += std::sqrt(squared);
      ++pairs;
    }
  }
  if (present < 2)
    throw Error(ErrorCode::bad_input,
                fmt::format("separation ratio: expected 2 or more classes with samples, found {}", present));
  return (distance / pairs) / (deviation / present);
}

}  // namespace kindling
