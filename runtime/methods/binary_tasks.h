// One binary task: its samples, and the fine-tuning of a network on them.
#pragma once

#include <kindling/binary_tasks.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/dispatch.h"

namespace kindling {

/// Numbers of training samples that a task trains and validates on, N and about N / 5 of each class.
struct TaskSamples {
  std::vector<std::int32_t> train, validation;
};
TaskSamples task_samples(const Dataset& data, std::uint64_t seed, std::int64_t task, std::int64_t labels);

struct TaskOutcome {
  double accuracy = 0;
  int epoch = 0;
};

/// The table of finished runs.
std::vector<BinaryTasksRow> tabulate(const std::vector<BinaryTasksRun>& runs, const BinaryTasksOptions& options);

/// Fine-tunes copies of a network on tasks; holds a copy of the test split, whose labels it changes. One a thread.
class TaskTuner {
 public:
  TaskTuner(const Dataset& data, const BinaryTasksOptions& options);
  TaskOutcome run(const Model& start, std::uint64_t seed, std::int64_t task, std::int64_t labels,
                  const Context& context);

 private:
  const Dataset& data_;
  const BinaryTasksOptions& options_;
  Dataset shell_;  // scaling, and the test split with the task's labels
};

}  // namespace kindling
