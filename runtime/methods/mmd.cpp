#include <fmt/format.h>
#include <kindling/mmd.h>

#include <chrono>
#include <cmath>
#include <numbers>

#include "methods/mmd_checkpoint.h"
#include "methods/mmd_objective.h"
#include "methods/pretraining.h"
#include "nn/batches.h"
#include "nn/forward_pass.h"

namespace kindling {
namespace {

double rate_at(const MmdOptions& options, std::int64_t step) {
  const double done = static_cast<double>(step - 1) / static_cast<double>(options.steps);
  switch (options.schedule) {
    case RateSchedule::constant: break;
    case RateSchedule::linear: return options.learning_rate * (1 - done);
    case RateSchedule::cosine: return options.learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * done));
  }
  return options.learning_rate;
}

MmdTerms evaluate_step(MmdObjective& objective, const Model& model, ConstTensorView x, std::int64_t step,
                       const MmdOptions& options, const Context& context) {
  const auto diverged = [&](const std::string& why) {
    return Error(ErrorCode::numerical,
                 fmt::format("mmd diverged at step {} (learning rate {}): {}", step, options.learning_rate, why));
  };
  try {
    const MmdTerms terms = objective.evaluate(model, x, static_cast<std::uint32_t>(step), true, context);
    if (!std::isfinite(terms.total)) {
      throw diverged(fmt::format("L_uni {}, L_sd {}, L_iod {}", terms.uniformity, terms.softmax, terms.detachment));
    }
    return terms;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::numerical) throw;
    throw diverged(error.what());
  }
}

std::string progress_text(const MmdTerms& terms) {
  return fmt::format("loss {:.4f}: L_uni {:.4f}, L_sd {:.4f}, L_iod {:.4f}", terms.total, terms.uniformity,
                     terms.softmax, terms.detachment);
}

}  // namespace

MmdReport initialize_mmd(Model& model, const Dataset& data, const MmdOptions& options, const Context& context) {
  check_mmd(model, options);
  check_fits(model, data.train.features, 0);
  const auto start = std::chrono::steady_clock::now();
  const kernels::Execution exec = kernels::execution(context);
  UnlabelledBatches batches("mmd", data, options.batch, context.seed);
  Model current = model.clone();
  initialize_baseline(current, options.law, context);
  const Model initial = current.clone();
  std::vector<AdamState> adam = adam_states(current);
  BestWindow windows(options.window, options.patience, options.steps);
  MmdReport report;
  std::string settings;
  if (!options.checkpoint.empty()) {
    settings = mmd_settings(model, data, options, context.seed);
    report.steps = read_checkpoint(options.checkpoint, settings, current, adam, windows);
    report.resumed = report.steps > 0;
  }
  MmdObjective objective(current, options, batches.batch());
  Tensor x({batches.batch(), model.inputs()});
  kernels::Residency residency(exec);
  keep_samples(residency, data, data.train);
  keep_parameters(residency, current);
  objective.keep_on(residency);
  residency.keep(kernels::Residency::Role::scratch, x);
  for (const AdamState& state : adam)
    for (const Tensor* t : state.moments()) residency.keep(kernels::Residency::Role::input, *t);
  while (report.steps < options.steps && !windows.exhausted()) {
    context.check_stop();
    const std::int64_t step = ++report.steps;
    batches.read(exec, step, x);
    const MmdTerms terms = evaluate_step(objective, current, x, step, options, context);
    adam_update(exec, current, objective.gradients(), adam, rate_at(options, step), step);
    if (!windows.add(step, terms)) continue;
    fetch_parameters(current);
    windows.keep_if_best(current);
    if (!options.checkpoint.empty()) {
      for (const AdamState& state : adam)
        for (const Tensor* t : state.moments()) kernels::fetch(*t);
      write_checkpoint(options.checkpoint, settings, step, current, adam, windows);
    }
    context.report({"mmd", step, options.steps, progress_text(windows.curve.back().terms)});
  }
  windows.finish(model, initial, data, report, context);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace kindling
