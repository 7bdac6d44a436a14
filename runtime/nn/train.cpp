#include <fmt/format.h>
#include <kindling/random.h>
#include <kindling/train_observer.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "nn/batches.h"
#include "nn/evaluate.h"
#include "nn/trainer.h"

namespace kindling {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

EpochRecord evaluate_epoch(const kernels::Execution& exec, int epoch, double train_loss, const Model& model,
                           const Dataset& data, bool with_test, const Context& context) {
  EpochRecord record{.epoch = epoch, .train_loss = train_loss};
  const auto on = [&](const Samples& split) {
    return split.count == 0 ? Evaluation{nan, nan} : evaluate_on(exec, model, data, split, context);
  };
  const Evaluation validation = on(data.validation);
  const Evaluation test = with_test ? on(data.test) : Evaluation{nan, nan};
  record.validation_loss = validation.loss;
  record.validation_error = validation.error;
  record.test_loss = test.loss;
  record.test_error = test.error;
  return record;
}

void check_options(const Model& model, const Dataset& data, const TrainOptions& options) {
  check_fits(model, data.train.features, data.classes);
  if (options.epochs < 0)
    throw Error(ErrorCode::usage, fmt::format("epochs: expected 0 or more, found {}", options.epochs));
  if (options.batch < 1)
    throw Error(ErrorCode::usage, fmt::format("batch: expected 1 or more, found {}", options.batch));
  const OptimizerOptions& o = options.optimizer;
  if (!(o.learning_rate > 0) || !std::isfinite(o.learning_rate)) {
    throw Error(ErrorCode::usage, fmt::format("learning rate: expected a positive number, found {}", o.learning_rate));
  }
  if (!(o.weight_decay >= 0))
    throw Error(ErrorCode::usage, fmt::format("weight decay: expected 0 or more, found {}", o.weight_decay));
  if (o.kind == OptimizerKind::momentum && !(o.momentum >= 0 && o.momentum < 1)) {
    throw Error(ErrorCode::usage, fmt::format("momentum: expected a number in [0, 1), found {}", o.momentum));
  }
  if (o.kind == OptimizerKind::adam && !(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1 && o.epsilon > 0)) {
    throw Error(ErrorCode::usage, "adam: expected beta1 and beta2 in [0, 1) and a positive epsilon");
  }
  const Activation last = output_activation(model);
  if (last.kind != ActivationKind::identity) {
    throw Error(ErrorCode::usage,
                "cross-entropy training needs logits: the last activation must be identity, found " + to_string(last));
  }
  const std::int64_t left_over = data.train.count % std::min(options.batch, data.train.count);
  const bool single = options.batch == 1 || data.train.count == 1 || left_over == 1;
  for (const Layer& layer : model.layers()) {
    if (single && layer.kind == LayerKind::batch_norm && layer.input.height * layer.input.width == 1) {
      throw Error(
          ErrorCode::usage,
          fmt::format("batch: {} needs at least 2 samples in every batch, and {} training samples in batches of "
                      "{} leave one alone",
                      layer.name, data.train.count, options.batch));
    }
  }
  check_finite(model);
}

}  // namespace

OptimizerKind parse_optimizer(std::string_view text) {
  if (text == "sgd") return OptimizerKind::sgd;
  if (text == "momentum") return OptimizerKind::momentum;
  if (text == "adam") return OptimizerKind::adam;
  throw Error(ErrorCode::usage, fmt::format("optimizer: expected sgd, momentum or adam, found '{}'", text));
}

std::string to_string(OptimizerKind kind) {
  switch (kind) {
    case OptimizerKind::sgd: return "sgd";
    case OptimizerKind::momentum: return "momentum";
    case OptimizerKind::adam: return "adam";
  }
  return "?";
}

namespace {

void observe(std::int64_t steps, const Model& model, const TrainObserver& observer) {
  if (std::find(observer.at.begin(), observer.at.end(), steps) == observer.at.end()) return;
  for (const Layer& layer : model.layers()) {
    for (const Tensor* t : {&layer.weight, &layer.bias, &layer.running_mean, &layer.running_var})
      if (!t->empty()) kernels::fetch(*t);
  }
  observer.look(steps, model);
}

}  // namespace

TrainResult train(Model& model, const Dataset& data, const TrainOptions& options, const Context& context) {
  return train(model, data, options, {}, context);
}

TrainResult train(Model& model, const Dataset& data, const TrainOptions& options, const TrainObserver& observer,
                  const Context& context) {
  check_options(model, data, options);
  const auto start = std::chrono::steady_clock::now();
  kernels::Execution exec = kernels::execution(context);
  const std::int64_t count = data.train.count;
  const std::int64_t batch = std::min(options.batch, count);
  Trainer trainer(model, batch, options.optimizer, context.seed);
  // On a device everything but the batches' row numbers and labels stays there until the end.
  kernels::Residency residency(exec);
  trainer.keep_on(residency, model);
  keep_samples(residency, data, data.train);
  std::vector<std::int32_t> indices(static_cast<std::size_t>(count));

  TrainResult result;
  observe(0, model, observer);
  result.epochs.push_back(evaluate_epoch(exec, 0, nan, model, data, options.evaluate_test, context));
  for (int epoch = 1; epoch <= options.epochs; ++epoch) {
    const auto order =
        random_permutation({context.seed, Purpose::shuffle, 0, static_cast<std::uint32_t>(epoch)}, count);
    for (std::size_t i = 0; i < order.size(); ++i) indices[i] = static_cast<std::int32_t>(order[i]);
    double loss_sum = 0;
    for (std::int64_t first = 0; first < count; first += batch) {
      context.check_stop();
      const std::int64_t rows = std::min(batch, count - first);
      const std::span<const std::int32_t> chosen(indices.data() + first, static_cast<std::size_t>(rows));
      gather_rows(exec, data, data.train, chosen, trainer.inputs(rows));
      gather_labels(data.train, chosen, trainer.labels(rows));
      const double loss = trainer.step(exec, model, rows);
      if (!std::isfinite(loss)) {
        throw Error(ErrorCode::numerical,
                    fmt::format("training diverged: the loss is {} in epoch {}, step {} (learning rate {})", loss,
                                epoch, first / batch + 1, options.optimizer.learning_rate));
      }
      loss_sum += loss * static_cast<double>(rows);
      ++result.steps;
      observe(result.steps, model, observer);
    }
    result.epochs.push_back(evaluate_epoch(exec, epoch, loss_sum / static_cast<double>(count), model, data,
                                           options.evaluate_test, context));
    const EpochRecord& last = result.epochs.back();
    std::string detail = fmt::format("loss {:.4f}", last.train_loss);
    if (!std::isnan(last.validation_error))
      detail += fmt::format(", validation error {:.2f} %", 100 * last.validation_error);
    if (!std::isnan(last.test_error)) detail += fmt::format(", test error {:.2f} %", 100 * last.test_error);
    context.report({"train", epoch, options.epochs, detail});
  }
  residency.finish();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

ResultSummary summarize(const TrainResult& result) {
  ResultSummary summary{nan, 0, nan, 0, nan};
  double best_validation = std::numeric_limits<double>::infinity();
  for (const EpochRecord& record : result.epochs) {
    if (record.epoch == 0 && result.epochs.size() > 1) continue;
    if (std::isnan(summary.min_test_error) || record.test_error < summary.min_test_error) {
      summary.min_test_error = record.test_error;
      summary.min_test_epoch = record.epoch;
    }
    if (record.validation_error < best_validation) {
      best_validation = record.validation_error;
      summary.chosen_test_error = record.test_error;
      summary.chosen_epoch = record.epoch;
    }
    summary.final_test_error = record.test_error;
  }
  return summary;
}

int epochs_to_reach(const TrainResult& result, double error) {
  for (const EpochRecord& record : result.epochs) {
    if (record.test_error <= error) return record.epoch;
  }
  return -1;
}

}  // namespace kindling
