#pragma once

#include <kindling/context.h>
#include <kindling/methods.h>
#include <kindling/statistics.h>
#include <kindling/train.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Students that learn the outputs of a random teacher network: section 4 of "Initializing ReLU networks in an
// expressive subspace of weights" (ICLR 2022 submission).
namespace kindling {

enum class TeacherTask {
  standard,  ///< the student's size, ReLU, He's law
  simple,    ///< one ReLU layer of 10 units, He's law
  complex    ///< the student's size, tanh, weight variance 1.5 / fan-in, biases 0: in the chaotic phase
};
/// "standard", "simple" or "complex". Throws Error{usage}.
TeacherTask parse_teacher_task(std::string_view text);
std::string to_string(TeacherTask task);

struct TeacherOptions {
  std::vector<TeacherTask> tasks{TeacherTask::standard, TeacherTask::simple, TeacherTask::complex};
  std::vector<MethodSpec> methods;  ///< the first one is the baseline; none that needs data
  bool controls = true;             ///< also run the control of every method that has one
  std::vector<std::uint64_t> seeds{0, 1, 2};
  int depth = 10;                  ///< weight layers of the student, the last one linear
  std::int64_t width = 100;        ///< inputs and hidden units of the student; its outputs are the teacher's
  std::int64_t samples = 100'000;  ///< training samples, inputs N(0, I)
  std::int64_t validation = 1000;
  int epochs = 100;
  std::int64_t batch = 32;
  OptimizerOptions optimizer{.kind = OptimizerKind::sgd, .learning_rate = 0.01};
  std::string results;  ///< file that keeps every finished run; empty: none
};

/// Losses are mean squared errors over samples and outputs; entry e is after epoch e, entry 0 before the first step.
/// A resumed run of more than a hundred epochs has some of them, with NaN between.
struct TeacherRun {
  TeacherTask task = TeacherTask::standard;
  std::string method;
  std::uint64_t seed = 0;
  std::vector<double> train_loss;  ///< mean over the epoch's batches; entry 0 is NaN
  std::vector<double> validation_loss;
  std::vector<double> centred_loss;  ///< validation, with the mean error of every output removed: what is left when
                                     ///< the output's offset is no longer counted
  double target_variance = 0;        ///< of the validation targets about their means: a constant's best loss
  double seconds = 0;
  std::string failure;  ///< empty, or why the run ended early; then the lists stop at the epoch before
  bool resumed = false;
};

/// One method in one task at one epoch, over the seeds; differences are of ln(loss), so that -0.69 is half the loss.
struct TeacherRow {
  TeacherTask task = TeacherTask::standard;
  std::string method;
  int epoch = 0;
  int failed = 0;
  Estimate loss, centred;
  PairedTest over_baseline;  ///< of ln(centred loss), this method less the first one
  PairedTest over_control;   ///< likewise, less its control; no samples where it has none
};
struct TeacherResult {
  std::vector<TeacherRun> runs;
  std::vector<TeacherRow> rows;  ///< by task, method, epoch: 1, a tenth of the epochs, and the last
  std::vector<std::string> notes;
};

/// Runs what of the experiment the results file does not hold yet. Under one seed all methods have the same teacher,
/// samples and batches, so that their differences are paired. A loss that is no longer finite ends its run, not the
/// experiment. Throws Error{usage} naming an option out of range or a method that needs data, Error{bad_input} for a
/// results file with foreign content, Error{file}, Error{interrupted}.
TeacherResult run_teacher_tasks(const TeacherOptions& options, const Context& context);

}  // namespace kindling
