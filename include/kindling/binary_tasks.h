#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>
#include <kindling/methods.h>
#include <kindling/model.h>
#include <kindling/statistics.h>

#include <cstdint>
#include <string>
#include <vector>

namespace kindling {

/// Fine-tuning on random binary tasks with few labels (arXiv 2302.04369, section 4): every repetition draws `tasks`
/// ways to call the classes of a labelled data set 0 or 1; every method initializes one network for it from all
/// training inputs, and that network is trained on each task anew.
struct BinaryTasksOptions {
  std::vector<std::string> models;                  ///< texts for Model::parse, 2 outputs
  std::vector<MethodSpec> methods;                  ///< the first one is the baseline
  std::int64_t tasks = 20;                          ///< random tasks, of the 2^C - 2 that use both answers
  std::vector<std::int64_t> labels{5, 10, 20, 40};  ///< N: of each class N samples train and about N / 5 validate
  std::int64_t repetitions = 4;                     ///< with seeds context.seed, context.seed + 1, ...
  double learning_rate = 1e-3;                      ///< Adam
  std::int64_t batch = 50;
  int epochs = 10;
  std::string results;  ///< file that keeps every finished run; empty: none
  std::string cache;    ///< folder for checkpoints of learned initializations, so that controls share them; empty: none
  int jobs = 1;         ///< tasks at once; with more than one, each has one thread
};

/// One model and method under one seed with one N: all tasks.
struct BinaryTasksRun {
  std::string model, method;
  std::uint64_t seed = 0;
  std::int64_t labels = 0;       ///< N
  std::vector<double> accuracy;  ///< of each task, on the test split, after the epoch of the lowest validation loss
                                 ///< (the first on ties)
  std::vector<int> epoch;        ///< that epoch
  double init_seconds = 0;
  std::string init_report;  ///< JSON object without curves
  std::string failure;      ///< empty, or the message of the Error{numerical} that ended the initialization
  bool resumed = false;
};

/// One model and method with one N over the repetitions that did not fail.
struct BinaryTasksCell {
  std::int64_t labels = 0;
  int repetitions = 0;
  double mean = 0, mean_sd = 0;      ///< of the mean accuracy over tasks; sd over repetitions (n - 1)
  double spread = 0, spread_sd = 0;  ///< of the standard deviation over tasks
  Estimate over_baseline;            ///< mean accuracy less that of the first method, paired by seed
  Estimate over_control;             ///< and less that of its control (control_of), where that is among the methods
};
struct BinaryTasksRow {
  std::string model, method;
  std::vector<BinaryTasksCell> cells;  ///< in the order of options.labels
};

struct BinaryTasksResult {
  std::vector<BinaryTasksRun> runs;
  std::vector<BinaryTasksRow> rows;
  std::vector<std::string> notes;
};

/// A task: the answer for every class, 0 or 1, both of them used. A function of seed and number.
std::vector<std::int32_t> binary_task(std::uint64_t seed, std::int64_t task, int classes);

/// Runs what the results file does not hold yet and tabulates all. Results depend on neither jobs nor threads. The
/// results file holds JSON, a run a line; runs of other data or training options in it are left alone.
/// Throws Error{usage} for lists that are empty or name something twice, options out of range and models without
/// exactly 2 outputs; Error{bad_input} for data without test split or with a class of too few samples and for a results
/// file with foreign content; Error{file}; Error{interrupted}.
BinaryTasksResult run_binary_tasks(const BinaryTasksOptions& options, const Dataset& data, const Context& context);

}  // namespace kindling
