#include "methods/bottleneck_stage.h"

#include <algorithm>
#include <utility>

#include "methods/checkpoint.h"
#include "nn/batches.h"
#include "nn/pair_indices.h"

namespace kindling {
namespace {

// Streams of bottleneck training, apart from those of plain estimates.
constexpr std::uint32_t first_unit = 1000;

OptimizerOptions adam(double learning_rate) { return {.kind = OptimizerKind::adam, .learning_rate = learning_rate}; }

}  // namespace

double BottleneckStage::beta_of(const Layer& layer, const BottleneckOptions& options) {
  return layer.kind == LayerKind::conv2d ? options.conv_beta : options.beta;
}

BottleneckStage::BottleneckStage(const Model& model, const Stage& stage, std::size_t number, const Dataset& data,
                                 const BottleneckOptions& options, const Context& context)
    : options_(options),
      data_(data),
      stage_(stage),
      seed_(context.seed),
      unit_(first_unit + static_cast<std::uint32_t>(number)),
      exec_(kernels::execution(context)),
      model_(clone_layers(model, stage.begin, stage.end)),
      inputs_(exec_, model, stage.begin, data, data.train, 2 * options.terms.batch, options.cache_mb * 1e6),
      pass_(model_, 2 * options.terms.batch),
      terms_(model.layers()[stage.neurons].name, model_.outputs(), model.inputs(), data.classes,
             {.target = 1, .input = beta_of(model.layers()[stage.neurons], options)}, options.terms, unit_, context),
      trainer_(model_, terms_.rows(), adam(options.learning_rate), seed_ + number, true),
      target_plateau_(options.terms.warmup_window, options.terms.warmup_tolerance),
      input_plateau_(options.terms.warmup_window, options.terms.warmup_tolerance),
      stage_inputs_({terms_.rows(), model_.inputs()}),
      gradient_({terms_.rows(), model_.outputs()}),
      residency_(exec_) {
  if (terms_.needs_inputs()) samples_ = Tensor({options.terms.batch, model.inputs()});
  trainer_.keep_on(residency_, model_);
  pass_.keep_on(residency_);
  keep_samples(residency_, data, data.train);
  for (const Tensor* t : {&stage_inputs_, &samples_, &gradient_})
    residency_.keep(kernels::Residency::Role::scratch, *t);
}

void BottleneckStage::draw() {
  const std::int64_t n = options_.terms.batch;
  index_ = random_pairs({seed_, Purpose::pairs, unit_, static_cast<std::uint32_t>(batches_)}, n, data_.train.count,
                        options_.terms.product);
  ++batches_;
  labels_.resize(index_.size());
  gather_labels(data_.train, index_, labels_);
  const std::span<const std::int32_t> index(index_);
  inputs_.gather(exec_, index.first(static_cast<std::size_t>(terms_.rows())), stage_inputs_);
  if (terms_.needs_inputs()) gather_rows(exec_, data_, data_.train, index.first(static_cast<std::size_t>(n)), samples_);
}

TermBatch BottleneckStage::batch(ConstTensorView outputs) {
  return {labels_, outputs, terms_.needs_inputs() ? std::as_const(samples_).view() : ConstTensorView(),
          static_cast<std::uint32_t>(batches_)};
}

InformationTerms::Values BottleneckStage::update_critics() {
  draw();
  const ConstTensorView outputs =
      pass_.run_from(exec_, model_, 0, std::as_const(stage_inputs_).view(), model_.layers().size());
  const auto values = terms_.update(exec_, batch(outputs));
  target_sum_ += values.target;
  input_sum_ += values.input;
  ++summed_;
  return values;
}

bool BottleneckStage::warm_up() {
  if (warmup_updates_ >= options_.terms.warmup) warm_ = true;
  if (warm_) return false;
  const auto values = update_critics();
  ++warmup_updates_;
  target_plateau_.add(values.target);
  if (terms_.needs_partners()) input_plateau_.add(values.input);
  warm_ = target_plateau_.reached() && (!terms_.needs_partners() || input_plateau_.reached());
  return !warm_ && warmup_updates_ < options_.terms.warmup;
}

void BottleneckStage::iterate() {
  for (std::int64_t u = 0; u < options_.terms.critic_updates; ++u) update_critics();
  draw();
  const TensorView inputs = trainer_.inputs(terms_.rows());
  kernels::copy_rows(exec_, stage_inputs_.view().matrix(), inputs);
  const ConstTensorView outputs = trainer_.forward_step(exec_, model_, terms_.rows());
  kernels::zero(exec_, gradient_.flat());
  terms_.add_gradient(exec_, batch(outputs), gradient_);
  trainer_.backward_step(exec_, model_, gradient_);
  ++iterations_;
}

InformationTerms::Values BottleneckStage::take_means() {
  const auto n = static_cast<double>(summed_);  // NaN where there was no update
  const InformationTerms::Values means{target_sum_ / n, input_sum_ / n};
  target_sum_ = input_sum_ = 0;
  summed_ = 0;
  return means;
}

void BottleneckStage::finish(Model& model) {
  fetch_parameters(model_);
  check_finite(model_);
  Model trained = model_.clone();
  for (std::size_t i = 0; i < trained.layers().size(); ++i) {
    Layer& from = trained.layers()[i];
    Layer& to = model.layers()[stage_.begin + i];
    to.weight = std::move(from.weight);
    to.bias = std::move(from.bias);
    to.running_mean = std::move(from.running_mean);
    to.running_var = std::move(from.running_var);
    to.batches_tracked = from.batches_tracked;
  }
}

void BottleneckStage::archive(StateArchive& archive) {
  archive_model(archive, "stage", model_);
  trainer_.archive(archive, "trainer");
  terms_.archive(archive, "critic");
  target_plateau_.archive(archive, "plateau.target");
  input_plateau_.archive(archive, "plateau.input");
  archive.count("stage.batches", batches_);
  archive.count("stage.warmup_updates", warmup_updates_);
  archive.count("stage.iterations", iterations_);
  archive.count("stage.summed", summed_);
  archive.number("stage.target_sum", target_sum_);
  archive.number("stage.input_sum", input_sum_);
  std::int64_t warm = warm_ ? 1 : 0;
  archive.count("stage.warm", warm);
  warm_ = warm != 0;
}

}  // namespace kindling
