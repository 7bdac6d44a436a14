#include <fmt/format.h>
#include <kindling/random.h>
#include <kindling/train.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "methods/binary_tasks.h"
#include "nn/batches.h"
#include "nn/trainer.h"

namespace kindling {
namespace {

constexpr std::uint32_t task_unit = 0x40000000U;  // beside other uses of a purpose

// Chosen rows of a split with new labels.
Samples subset(const Samples& from, std::span<const std::int32_t> rows, std::span<const std::int32_t> answers) {
  Samples result;
  result.count = static_cast<std::int64_t>(rows.size());
  result.features = from.features;
  result.sample_shape = from.sample_shape;
  for (const std::int32_t row : rows) {
    const std::int64_t first = row * from.features, last = first + from.features;
    if (from.eight_bit()) {
      result.bytes.insert(result.bytes.end(), from.bytes.begin() + first, from.bytes.begin() + last);
    } else {
      result.floats.insert(result.floats.end(), from.floats.begin() + first, from.floats.begin() + last);
    }
    result.labels.push_back(answers[static_cast<std::size_t>(from.labels[static_cast<std::size_t>(row)])]);
  }
  return result;
}

}  // namespace

std::vector<std::int32_t> binary_task(std::uint64_t seed, std::int64_t task, int classes) {
  if (classes < 2) {
    throw Error(ErrorCode::bad_input, fmt::format("binary tasks need 2 or more classes, found {}", classes));
  }
  PhiloxReader draw({seed, Purpose::split, task_unit + static_cast<std::uint32_t>(task), 0});
  std::vector<std::int32_t> answers(static_cast<std::size_t>(classes));
  std::int32_t ones = 0;
  while (ones == 0 || ones == classes) {
    for (std::int32_t& a : answers) a = static_cast<std::int32_t>(draw.below(2));
    ones = std::accumulate(answers.begin(), answers.end(), 0);
  }
  return answers;
}

TaskSamples task_samples(const Dataset& data, std::uint64_t seed, std::int64_t task, std::int64_t labels) {
  std::vector<std::vector<std::int32_t>> members(static_cast<std::size_t>(data.classes));
  for (std::size_t i = 0; i < data.train.labels.size(); ++i) {
    members[static_cast<std::size_t>(data.train.labels[i])].push_back(static_cast<std::int32_t>(i));
  }
  const std::int64_t held_out = std::max<std::int64_t>(1, std::lround(0.2 * static_cast<double>(labels)));
  TaskSamples samples;
  for (std::size_t c = 0; c < members.size(); ++c) {
    std::vector<std::int32_t>& of_class = members[c];
    const auto count = static_cast<std::int64_t>(of_class.size());
    if (count < labels + held_out) {
      throw Error(ErrorCode::bad_input,
                  fmt::format("binary tasks with N = {} need {} training samples of every class, class {} has {}",
                              labels, labels + held_out, c, count));
    }
    PhiloxReader draw(
        {seed, Purpose::split, task_unit + static_cast<std::uint32_t>(task), 1 + static_cast<std::uint32_t>(c)});
    for (std::int64_t i = 0; i < labels + held_out; ++i) {
      const auto other = i + static_cast<std::int64_t>(draw.below(static_cast<std::uint64_t>(count - i)));
      std::swap(of_class[static_cast<std::size_t>(i)], of_class[static_cast<std::size_t>(other)]);
      (i < labels ? samples.train : samples.validation).push_back(of_class[static_cast<std::size_t>(i)]);
    }
  }
  return samples;
}

TaskTuner::TaskTuner(const Dataset& data, const BinaryTasksOptions& options) : data_(data), options_(options) {
  shell_.name = data.name;
  shell_.classes = 2;
  shell_.test = data.test;
  shell_.mean = data.mean;
  shell_.inverse_std = data.inverse_std;
}

TaskOutcome TaskTuner::run(const Model& start, std::uint64_t seed, std::int64_t task, std::int64_t labels,
                           const Context& context) {
  const kernels::Execution exec = kernels::execution(context);
  const std::vector<std::int32_t> answers = binary_task(seed, task, data_.classes);
  const TaskSamples chosen = task_samples(data_, seed, task, labels);
  const Samples train = subset(data_.train, chosen.train, answers);
  const Samples validation = subset(data_.train, chosen.validation, answers);
  Model model = start.clone(), best;
  const std::int64_t batch = std::min(options_.batch, train.count);
  Trainer trainer(model, batch, {.kind = OptimizerKind::adam, .learning_rate = options_.learning_rate}, seed);
  TaskOutcome outcome;
  double lowest = std::numeric_limits<double>::infinity();
  for (int epoch = 1; epoch <= options_.epochs; ++epoch) {
    context.check_stop();
    const auto order = random_permutation(
        {seed, Purpose::shuffle, task_unit + static_cast<std::uint32_t>(task), static_cast<std::uint32_t>(epoch)},
        train.count);
    const std::vector<std::int32_t> indices(order.begin(), order.end());
    for (std::int64_t first = 0; first < train.count; first += batch) {
      const std::int64_t rows = std::min(batch, train.count - first);
      const std::span<const std::int32_t> part(indices.data() + first, static_cast<std::size_t>(rows));
      gather_rows(exec, shell_, train, part, trainer.inputs(rows));
      gather_labels(train, part, trainer.labels(rows));
      const double loss = trainer.step(exec, model, rows);
      if (!std::isfinite(loss)) {
        throw Error(ErrorCode::numerical, fmt::format("fine-tuning on task {} diverged in epoch {}", task, epoch));
      }
    }
    const double loss = evaluate(model, shell_, validation, context).loss;
    if (loss < lowest) {
      lowest = loss;
      best = model.clone();
      outcome.epoch = epoch;
    }
  }
  if (outcome.epoch == 0) {
    throw Error(ErrorCode::numerical, fmt::format("task {}: no validation loss was finite", task));
  }
  for (std::size_t i = 0; i < shell_.test.labels.size(); ++i) {
    shell_.test.labels[i] = answers[static_cast<std::size_t>(data_.test.labels[i])];
  }
  outcome.accuracy = 1 - evaluate(best, shell_, shell_.test, context).error;
  return outcome;
}

}  // namespace kindling
