#include <fmt/format.h>
#include <kindling/ibci.h>
#include <kindling/random.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "kernels/device_log.h"
#include "kernels/jacobian.h"
#include "methods/class_moments.h"
#include "methods/draw.h"
#include "methods/ibci_scores.h"
#include "methods/ibci_select.h"

namespace kindling {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void check_options(const Model& model, const Dataset& data, const IbciOptions& options) {
  check_fits(model, data.train.features, data.classes);
  if (options.k < 1) throw Error(ErrorCode::usage, fmt::format("ibci: k: expected 1 or more, found {}", options.k));
  if (options.samples < 0)
    throw Error(ErrorCode::usage, fmt::format("ibci: samples: expected 0 or more, found {}", options.samples));
  if (!(options.cache_mb >= 0))
    throw Error(ErrorCode::usage, fmt::format("ibci: cache_mb: expected 0 or more, found {}", options.cache_mb));
  for (std::size_t i = 0; i < model.neuron_layers(); ++i) (void)options.alpha.at(i, model.neuron_layers());
  if (options.batch < 0 || options.batch % kernels::moment_group_rows != 0) {
    throw Error(ErrorCode::usage, fmt::format("ibci: batch: expected a multiple of {}, found {}",
                                              kernels::moment_group_rows, options.batch));
  }
}

std::int64_t candidate_count(const Layer& layer, const IbciOptions& options) {
  const std::int64_t wanted = options.k * layer.units();
  if (options.variant == IbciVariant::paper) return wanted;
  const std::int64_t most = options.max_program_candidates;
  if (layer.units() > most) {
    throw Error(ErrorCode::usage,
                fmt::format("ibci: {}: the published program draws at most {} candidates, the layer has "
                            "{} neurons; raise max_program_candidates",
                            layer.name, most, layer.units()));
  }
  return std::min(wanted, most);
}

Activation scored_activation(const Activation& activation, bool last, ScoreOn score_on) {
  const bool post = score_on == ScoreOn::post_activation || (score_on == ScoreOn::automatic && !last);
  return post ? activation : Activation{ActivationKind::identity};
}

// Candidates as the batch-norm after their layer will pass them on: each divided by its standard deviation over the
// data, about its mean.
void normalise(const kernels::Execution& exec, const LayerScatter& scatter, ConstTensorView candidates,
               TensorView weight, std::span<float> bias) {
  std::vector<float> scales;
  for (std::size_t j = 0; j < bias.size(); ++j) {
    const double scale = 1 / std::sqrt(scatter.total[j] + double{Layer::batch_norm_epsilon});
    scales.push_back(static_cast<float>(scale));
    bias[j] = static_cast<float>((double{bias[j]} - scatter.mean[j]) * scale);
  }
  kernels::scale_rows(exec, candidates, scales, weight);
}

// Which of the layers with neurons layer `index` is.
std::size_t neuron_number(const Model& model, std::size_t index) {
  std::size_t number = 0;
  for (std::size_t i = 0; i < index; ++i) number += model.layers()[i].has_neurons() ? 1 : 0;
  return number;
}

double mean_over(const std::vector<std::int64_t>& rows, const auto& values) {
  double sum = 0;
  for (const std::int64_t row : rows) sum += values[static_cast<std::size_t>(row)];
  return rows.empty() ? 0 : sum / static_cast<double>(rows.size());
}

void describe_choice(const IbciChoice& choice, const IbciScores& scores, IbciLayerReport& report) {
  std::vector<bool> taken(scores.score.size());
  for (const std::int64_t j : choice.selected) taken[static_cast<std::size_t>(j)] = true;
  std::vector<std::int64_t> refused;
  for (std::size_t j = 0; j < taken.size(); ++j) {
    if (!taken[j]) refused.push_back(static_cast<std::int64_t>(j));
  }
  report.rounds = choice.rounds;
  report.selected = choice.selected;
  report.residual_ratio = choice.residual_ratio;
  for (const std::int64_t j : choice.selected)
    report.selected_score.push_back(scores.score[static_cast<std::size_t>(j)]);
  report.mean_score_chosen = mean_over(choice.selected, scores.score);
  report.mean_score_refused = mean_over(refused, scores.score);
  report.input_criterion_chosen = mean_over(choice.selected, scores.input);
  report.input_criterion_refused = mean_over(refused, scores.input);
  report.target_criterion_chosen = mean_over(choice.selected, scores.target);
  report.target_criterion_refused = mean_over(refused, scores.target);
}

// One layer's campaign: candidates, scores, choice; the layer's weights and biases are those of the chosen.
IbciLayerReport initialize_layer(const kernels::Execution& exec, Model& model, std::size_t index, const Dataset& data,
                                 const IbciOptions& options, LayerInputs& inputs, const Context& context) {
  Layer& layer = model.layers()[index];
  const std::size_t number = neuron_number(model, index), numbers = model.neuron_layers();
  const bool last = number + 1 == numbers;
  const Activation& activation = model.neuron_activation(index);
  IbciLayerReport report{.layer = layer.name, .alpha = options.alpha.at(number, numbers)};
  report.candidates = candidate_count(layer, options);
  report.chosen = layer.units();
  report.law_stddev = options.variant == IbciVariant::program
                          ? std::sqrt(2.0 / static_cast<double>(report.candidates))
                          : law_stddev(options.law, layer.fan_in(), layer.fan_out(), activation);

  auto start = Clock::now();
  const auto unit = static_cast<std::uint32_t>(number);
  Tensor candidates({report.candidates, layer.fan_in()}), weight;
  kernels::Residency residency(exec);
  residency.keep(kernels::Residency::Role::scratch, candidates);
  kernels::on_host("ibci: scores of the candidates from their moments");
  draw_weights(options.law, report.law_stddev, {context.seed, Purpose::candidates, unit, 0}, activation, candidates,
               context);
  Tensor bias({report.candidates});
  draw_biases(options.law, {context.seed, Purpose::biases, unit, 0}, layer.fan_in(), bias.flat(), context);
  const auto scatter_of = [&](ConstTensorView w, std::span<const float> b, const Activation& f, int classes) {
    return layer_scatter(exec, model, index, w, b, f, classes, inputs, context);
  };
  const Activation scored = scored_activation(activation, last, options.score_on);
  const bool normed = index + 1 < model.layers().size() && &activation == &model.layers()[index + 1].activation;
  LayerScatter scatter;
  if (normed) {
    weight = Tensor(candidates.shape());
    residency.keep(kernels::Residency::Role::scratch, weight);
    Tensor shifted = bias.clone();
    normalise(exec, scatter_of(candidates, bias.flat(), {ActivationKind::identity}, 1), candidates, weight,
              shifted.flat());
    scatter = scatter_of(weight, shifted.flat(), scored, data.classes);
  } else {
    scatter = scatter_of(candidates, bias.flat(), scored, data.classes);
  }
  report.seconds_moments = seconds_since(start);

  start = Clock::now();
  const IbciScores scores = ibci_scores(scatter, options, report.alpha, layer.name);
  const IbciChoice choice = ibci_select(exec, candidates, scores, scatter, data.classes, layer.units(), options);
  pick_rows(exec, candidates, choice.selected, layer.weight.view().matrix());
  for (std::size_t i = 0; i < choice.selected.size(); ++i) layer.bias.data()[i] = bias.data()[choice.selected[i]];
  report.weight_stddev = root_mean_square(layer.weight.flat());
  describe_choice(choice, scores, report);
  report.seconds_selection = seconds_since(start);
  return report;
}

// Running statistics for weights that are final.
void calibrate_batch_norms(Model& model, const Dataset& data, const IbciOptions& options, const Context& context) {
  const kernels::Execution exec = kernels::execution(context);
  LayerInputs inputs(exec, data, sample_subset(data, options.samples, context), moment_rows(model),
                     options.cache_mb * 1e6);
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    if (model.layers()[i].kind == LayerKind::batch_norm) calibrate_batch_norm(exec, model, i, inputs, context);
  }
}

}  // namespace

double AlphaSchedule::at(std::size_t index, std::size_t layers) const {
  for (const double v : values) {
    if (!(v >= 0 && v <= 1))
      throw Error(ErrorCode::usage, fmt::format("ibci: alpha: expected numbers in [0, 1], found {}", v));
  }
  if (values.size() == 1) return values.front();
  if (values.size() == layers) return values[index];
  if (values.size() == 2) {
    const double t = layers > 1 ? static_cast<double>(index) / static_cast<double>(layers - 1) : 0;
    return values[0] + (values[1] - values[0]) * t;
  }
  throw Error(ErrorCode::usage,
              fmt::format("ibci: alpha: expected 1 value, 2 (first and last layer) or {} (one per layer), found {}",
                          layers, values.size()));
}

IbciReport initialize_ibci(Model& model, const Dataset& data, const IbciOptions& options, const Context& context) {
  check_options(model, data, options);
  const auto start = Clock::now();
  const kernels::Execution exec = kernels::execution(context);
  const std::int64_t batch = options.batch > 0 ? options.batch : moment_rows(model);
  LayerInputs inputs(exec, data, sample_subset(data, options.samples, context), batch, options.cache_mb * 1e6);
  IbciReport report;
  const std::size_t layers = model.layers().size();
  for (std::size_t i = 0; i < layers; ++i) {
    context.report({"ibci", static_cast<std::int64_t>(i), static_cast<std::int64_t>(layers), model.layers()[i].name});
    Layer& layer = model.layers()[i];
    IbciLayerReport entry{.layer = layer.name};
    if (layer.has_neurons()) {
      entry = initialize_layer(exec, model, i, data, options, inputs, context);
    } else {
      reset_batch_norm(layer);
      if (layer.kind == LayerKind::batch_norm) calibrate_batch_norm(exec, model, i, inputs, context);
      entry.skipped = skipped_reason(layer);
    }
    if (i + 1 < layers) {
      const auto propagate = Clock::now();
      entry.cached = inputs.freeze(exec, model, i, context);
      entry.seconds_propagation = seconds_since(propagate);
    }
    report.layers.push_back(std::move(entry));
  }
  context.report({"ibci", static_cast<std::int64_t>(layers), static_cast<std::int64_t>(layers), "done"});
  report.seconds = seconds_since(start);
  return report;
}

IbciReport initialize_ibci_control(Model& model, const Dataset& data, const IbciOptions& options,
                                   const Context& context) {
  const auto start = Clock::now();
  IbciReport report = initialize_ibci(model, data, options, context);
  std::uint32_t unit = 0;
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    Layer& layer = model.layers()[i];
    IbciLayerReport& entry = report.layers[i];
    if (!layer.has_neurons()) continue;
    draw_weights(options.law, entry.law_stddev, {context.seed, Purpose::weights, unit, 0}, model.neuron_activation(i),
                 layer.weight.view().matrix(), context);
    const double drawn = root_mean_square(layer.weight.flat());
    const auto factor = static_cast<float>(drawn > 0 ? entry.weight_stddev / drawn : 1);
    for (float& w : layer.weight.flat()) w *= factor;
    draw_biases(options.law, {context.seed, Purpose::biases, unit++, 1}, layer.fan_in(), layer.bias.flat(), context);
    entry = {.layer = entry.layer,
             .candidates = entry.candidates,
             .chosen = entry.chosen,
             .weight_stddev = root_mean_square(layer.weight.flat()),
             .law_stddev = entry.law_stddev};
  }
  calibrate_batch_norms(model, data, options, context);
  report.seconds = seconds_since(start);
  return report;
}

}  // namespace kindling
