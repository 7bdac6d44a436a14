#include <fmt/format.h>
#include <kindling/mmd.h>
#include <kindling/random.h>

#include <chrono>
#include <cmath>

#include "methods/pretraining.h"
#include "nn/batches.h"
#include "nn/forward_pass.h"
#include "nn/trainer.h"

namespace kindling {
namespace {

constexpr std::uint32_t label_unit = 0x80000001U;

void check(const Model& model, const RandomLabelOptions& o) {
  const auto require = [](bool holds, const char* option, const char* expected, double found) {
    if (!holds)
      throw Error(ErrorCode::usage, fmt::format("random-label: {}: expected {}, found {}", option, expected, found));
  };
  require(o.batch >= 1, "batch", "1 or more", static_cast<double>(o.batch));
  require(o.steps >= 1 && o.steps <= 2000000000, "steps", "1 to 2e9", static_cast<double>(o.steps));
  require(o.learning_rate > 0 && std::isfinite(o.learning_rate), "lr", "a positive number", o.learning_rate);
  require(o.window >= 1, "window", "1 or more", static_cast<double>(o.window));
  require(o.patience >= 0, "patience", "0 or more", static_cast<double>(o.patience));
  require(model.outputs() >= 2, "model", "2 or more outputs", static_cast<double>(model.outputs()));
  const Activation last = output_activation(model);
  if (last.kind != ActivationKind::identity) {
    throw Error(ErrorCode::usage,
                "random-label: the model needs logits: the last activation must be identity, found " + to_string(last));
  }
}

}  // namespace

MmdReport initialize_random_label(Model& model, const Dataset& data, const RandomLabelOptions& options,
                                  const Context& context) {
  check(model, options);
  check_fits(model, data.train.features, 0);
  const auto start = std::chrono::steady_clock::now();
  const kernels::Execution exec = kernels::execution(context);
  UnlabelledBatches batches("random-label", data, options.batch, context.seed);
  Model current = model.clone();
  initialize_baseline(current, options.law, context);
  const Model initial = current.clone();
  Trainer trainer(current, batches.batch(), {.kind = OptimizerKind::adam, .learning_rate = options.learning_rate},
                  context.seed);
  kernels::Residency residency(exec);
  keep_samples(residency, data, data.train);
  trainer.keep_on(residency, current);
  BestWindow windows(options.window, options.patience, options.steps);
  MmdReport report;
  while (report.steps < options.steps && !windows.exhausted()) {
    context.check_stop();
    const std::int64_t step = ++report.steps;
    batches.read(exec, step, trainer.inputs(batches.batch()));
    PhiloxReader draw({context.seed, Purpose::search, label_unit, static_cast<std::uint32_t>(step)});
    for (std::int32_t& label : trainer.labels(batches.batch())) {
      label = static_cast<std::int32_t>(draw.below(static_cast<std::uint64_t>(model.outputs())));
    }
    const double loss = trainer.step(exec, current, batches.batch());
    if (!std::isfinite(loss)) {
      throw Error(ErrorCode::numerical,
                  fmt::format("random-label diverged at step {} (learning rate {}): the loss is {}", step,
                              options.learning_rate, loss));
    }
    if (!windows.add(step, {.total = loss})) continue;
    fetch_parameters(current);
    windows.keep_if_best(current);
    context.report({"random-label", step, options.steps, fmt::format("loss {:.4f}", windows.curve.back().terms.total)});
  }
  windows.finish(model, initial, data, report, context);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace kindling
