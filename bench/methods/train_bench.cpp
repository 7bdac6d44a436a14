// train(): one epoch of 784-256-100-10 over 10,000 images at batch 100, batches gathered and standardised on the way;
// on several threads beside one.
#include <fmt/format.h>
#include <kindling/initialize.h>
#include <kindling/train.h>

#include <cmath>
#include <cstring>

#include "methods/bench_data.h"
#include "methods/training_problem.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

constexpr std::int64_t samples = 10'000;
const std::vector<std::int64_t> widths{784, 256, 100, 10};

Context context(const kernels::Execution& execution) {
  Context c;
  c.seed = 1;
  c.threads = execution.threads;
  c.target = execution.target->name;
  return c;
}

TrainResult train_once(const Dataset& data, Model& model, const kernels::Execution& execution) {
  initialize_baseline(model, {}, context(execution));
  return train(model, data, {.epochs = 1, .batch = 100, .optimizer = {.learning_rate = 0.01}}, context(execution));
}

void verify(const Dataset& data, const kernels::Execution& execution) {
  Model model = Model::mlp(widths), again = Model::mlp(widths);
  const TrainResult result = train_once(data, model, execution);
  train_once(data, again, {execution.target, execution.threads == 1 ? 2 : 1});
  const double loss = result.epochs.back().train_loss;
  if (result.steps != samples / 100 || !std::isfinite(loss) || loss > 3) {
    throw WrongAnswer(fmt::format("wrong answer: {} steps, mean training loss {}", result.steps, loss));
  }
  for (std::size_t l = 0; l < model.layers().size(); ++l) {
    const Tensor& a = model.layers()[l].weight;
    const Tensor& b = again.layers()[l].weight;
    if (std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(float)) != 0) {
      throw WrongAnswer("wrong answer: weights differ between one thread and several");
    }
  }
}

Trial train_trial(const kernels::Execution& execution) {
  const auto data = first_samples(samples);
  const auto model = std::make_shared<Model>(Model::mlp(widths));
  return {[data, model, execution] { train_once(*data, *model, execution); },
          [data, execution] { verify(*data, execution); },
          {}};
}

void add_rows(Registry& registry, const Settings& settings) {
  for (const kernels::Target* target : settings.targets) {
    for (const int threads : settings.threads) {
      if (threads == 1) continue;
      registry.add({.kernel = "train_threads",
                    .shape = "784-256-100-10x100-" + std::to_string(samples),
                    .threads = threads,
                    .work = {.flops = samples / 100 * TrainingProblem::flops(widths, 100), .items = 1.0 * samples},
                    .goal = {.ratio = 1.6},
                    .contestants = {{target->name, false,
                                     [target, threads] {
                                       return train_trial({target, threads});
                                     }},
                                    {"one_thread_" + target->name, true, [target] {
                                       return train_trial({target, 1});
                                     }}}});
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
