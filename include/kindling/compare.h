#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>
#include <kindling/methods.h>
#include <kindling/statistics.h>
#include <kindling/train.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kindling {

/// The test error by which methods are judged; see ResultSummary.
enum class ErrorMetric {
  automatic,  ///< `chosen` when the data set has a validation split, else `last`
  minimum,    ///< over the epochs: the papers' metric, optimistic because it is chosen on the test set
  chosen,     ///< at the epoch of lowest validation error
  last        ///< after the last epoch
};
/// Parses "auto", "min", "chosen" or "final". Throws Error{usage}.
ErrorMetric parse_error_metric(std::string_view text);
std::string to_string(ErrorMetric metric);

/// Which runs make up a comparison: every model with every method under every seed.
struct CompareOptions {
  std::vector<std::string> models;                  ///< texts for Model::parse
  std::vector<MethodSpec> methods;                  ///< the first one is the baseline
  bool controls = true;                             ///< also run the control (control_of) of every method that has one
  std::vector<std::uint64_t> seeds{0, 1, 2, 3, 4};  ///< a seed fixes initial weights and order of the data
  TrainOptions train;
  std::string results;  ///< file that keeps every finished run; empty: none
  int jobs = 1;         ///< runs at once; with more than one each run has one thread
  ErrorMetric metric = ErrorMetric::automatic;
  std::vector<std::int64_t> curve_at;  ///< numbers of steps after which the training error is measured as well,
                                       ///< rising; 0: before the first step
  double reach = 0;  ///< test error, a fraction, for "epochs to reach"; 0: for each model the largest of its methods'
                     ///< mean final errors
};

/// One model, initialized by one method and trained under one seed.
struct CompareRun {
  std::string model;
  std::string method;
  std::uint64_t seed = 0;
  double init_seconds = 0;
  std::string init_report;  ///< JSON object: the method's report without lists per neuron
  TrainResult training;     ///< no epochs when the run failed
  /// Fraction of the training split that is misclassified after each of the steps of CompareOptions::curve_at.
  std::vector<double> train_errors;
  std::string failure;   ///< empty, or the message of the Error{numerical} that ended the run
  std::string target;    ///< hardware target it ran on
  std::string version;   ///< of the library that made it
  bool resumed = false;  ///< taken from the results file
};

/// One model and method over all seeds. Means are taken over the runs that did not fail.
struct ComparisonRow {
  std::string model;
  std::string method;
  bool control = false;  ///< added as the control of another method
  int runs = 0;
  int failed = 0;
  Estimate min_test_error;     ///< optimistic: chosen on the test set
  double min_test_epoch = 0;   ///< mean
  Estimate chosen_test_error;  ///< NaN without a validation split
  double chosen_epoch = 0;     ///< mean
  Estimate final_test_error;
  int reached = 0;                     ///< runs whose test error came down to the table's reach
  double epochs_to_reach = 0;          ///< mean over those; NaN when none did
  double init_seconds = 0;             ///< mean
  std::vector<Estimate> train_errors;  ///< at the steps of CompareOptions::curve_at
  /// What the row is compared with: its control, or the baseline for rows that have none; empty for the baseline.
  std::string reference;
  PairedTest difference;     ///< of the metric, this row minus the reference, over the seeds where neither failed
  double p_adjusted = 0;     ///< Holm's adjustment over all comparisons of the table
  bool significant = false;  ///< p_adjusted < 0.05
};

struct ComparisonTable {
  ErrorMetric metric = ErrorMetric::last;             ///< the one compared, never automatic
  int comparisons = 0;                                ///< tests that entered Holm's adjustment
  std::vector<std::pair<std::string, double>> reach;  ///< model, error to be reached
  std::vector<ComparisonRow> rows;
};

struct Comparison {
  std::vector<CompareRun> runs;  ///< by model, method, seed
  ComparisonTable table;
  std::vector<std::string> notes;  ///< what a reader should know: resumed runs, a cut line in the results file, ...
};

/// Runs the comparison, or what of it the results file does not hold yet, and tabulates it. Under one seed all methods
/// see the same batches, so that their differences are paired. Nothing but a run's own model, method, seed, data and
/// training options decides its result: neither jobs nor threads nor the other runs.
///
/// The results file holds JSON, one finished run a line, appended and flushed as a whole when the run ends. A run
/// found there with equal model, method, seed, data and training options is not repeated. Data are equal when their
/// contents, splits and scaling are, wherever they came from. A last line that a crash cut off is dropped with a note.
///
/// A run whose loss stops being finite counts as failed and does not end the comparison; any other error does, after
/// the runs under way were stopped. `context.seed` is not used. Progress comes from several threads, one call at a
/// time.
///
/// Throws Error{usage} for lists that are empty or name something twice and for options out of range, Error{bad_input}
/// for data without a test split or that do not fit a model, and for a results file with foreign content, Error{file},
/// Error{interrupted}.
Comparison run_comparison(const CompareOptions& options, const Dataset& data, const Context& context);

/// The table of finished runs, rows in the order of options.models and of methods with controls after the methods they
/// belong to. Runs that belong to no row are left out.
ComparisonTable tabulate(const std::vector<CompareRun>& runs, const CompareOptions& options);

}  // namespace kindling
