#include <fmt/format.h>
#include <kindling/compare.h>
#include <kindling/error.h>
#include <kindling/targets.h>
#include <kindling/train_observer.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stop_token>

#include "kernels/dispatch.h"
#include "methods/compare_plan.h"
#include "methods/compare_results.h"
#include "methods/worker_threads.h"

namespace kindling {
namespace {

// The report without what has one entry a neuron: a results file of many runs stays small.
std::string report_without_lists(const std::string& report) {
  nlohmann::json parsed = nlohmann::json::parse(report);
  if (parsed.contains("layers")) {
    for (auto& layer : parsed["layers"]) {
      for (auto member = layer.begin(); member != layer.end();) {
        member = member->is_array() ? layer.erase(member) : std::next(member);
      }
    }
  }
  return parsed.dump();
}

CompareRun named_run(const std::string& model, const std::string& method, std::uint64_t seed) {
  CompareRun run;
  run.model = model;
  run.method = method;
  run.seed = seed;
  return run;
}

struct Task {
  const PlannedMethod* method;
  std::string model;
  std::uint64_t seed;
  std::size_t slot;  // position in Comparison::runs
};

// Works the tasks off with a number of threads, keeps the results and the first error.
class Runner {
 public:
  Runner(const CompareOptions& options, const Dataset& data, const Context& context, ResultsFile* file,
         std::vector<CompareRun>& runs, std::vector<Task> tasks)
      : options_(options),
        data_(data),
        context_(context),
        file_(file),
        runs_(runs),
        tasks_(std::move(tasks)),
        epochs_done_(tasks_.size(), 0),
        finished_(runs.size() - tasks_.size()) {
    target_ = kernels::execution(context).target->name;
  }

  void run_all() {
    const std::stop_callback forward(context_.stop, [this] { stop_.request_stop(); });
    report("");
    run_on_threads(std::min(static_cast<std::size_t>(options_.jobs), tasks_.size()), [this] { work(); });
    if (error_) std::rethrow_exception(error_);
  }
  /// Runs finished now or before.
  [[nodiscard]] std::size_t finished() const { return finished_; }

 private:
  void work() {
    while (!stop_.stop_requested()) {
      const std::size_t index = next_.fetch_add(1);
      if (index >= tasks_.size()) return;
      try {
        CompareRun run = run_one(index);
        const std::lock_guard lock(mutex_);
        if (file_ != nullptr) file_->append(run);
        ++finished_;
        epochs_done_[index] = options_.train.epochs;
        const std::string detail = describe(run);
        runs_[tasks_[index].slot] = std::move(run);
        report(detail);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
        stop_.request_stop();
      }
    }
    const std::lock_guard lock(mutex_);
    if (!error_ && next_ < tasks_.size()) {
      error_ = std::make_exception_ptr(Error(ErrorCode::interrupted, "interrupted"));
    }
  }

  CompareRun run_one(std::size_t index) {
    const Task& task = tasks_[index];
    CompareRun run = named_run(task.model, task.method->text, task.seed);
    run.target = target_;
    run.version = version();
    Context context;
    context.seed = task.seed;
    context.threads = options_.jobs > 1 ? 1 : context_.threads;
    context.target = target_;
    context.stop = stop_.get_token();
    try {
      Model model = Model::parse(task.model);
      const auto start = std::chrono::steady_clock::now();
      const std::string init_report = initialize(model, task.method->spec, &data_, context);
      run.init_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      run.init_report = report_without_lists(init_report);
      if (context_.progress) {
        context.progress = [&](const Progress& p) {
          const std::lock_guard lock(mutex_);
          if (p.total > 0) epochs_done_[index] = p.done * options_.train.epochs / p.total;
          report(fmt::format("{} {} seed {} epoch {}/{}: {}", task.model, run.method, run.seed, p.done, p.total,
                             p.detail));
        };
      }
      TrainObserver curve{options_.curve_at, {}};
      curve.look = [&](std::int64_t, const Model& now) {
        run.train_errors.push_back(evaluate(now, data_, data_.train, context).error);
      };
      run.training = train(model, data_, options_.train, curve, context);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::numerical) throw;
      run.failure = error.what();
      run.training = {};
      run.train_errors.clear();
    }
    return run;
  }

  static std::string describe(const CompareRun& run) {
    const std::string name = fmt::format("{} {} seed {}", run.model, run.method, run.seed);
    if (!run.failure.empty()) return fmt::format("{} failed: {}", name, run.failure);
    return fmt::format("{}: test error {:.2f} %", name, 100 * summarize(run.training).final_test_error);
  }

  // The caller holds mutex_, except before the first worker starts.
  void report(const std::string& detail) const {
    std::int64_t done = 0;
    for (const std::int64_t epochs : epochs_done_) done += epochs;
    const auto total = static_cast<std::int64_t>(tasks_.size()) * options_.train.epochs;
    context_.report({fmt::format("{} of {} runs", finished_, runs_.size()), done, total, detail});
  }

  const CompareOptions& options_;
  const Dataset& data_;
  const Context& context_;
  ResultsFile* file_;
  std::vector<CompareRun>& runs_;
  std::vector<Task> tasks_;
  std::string target_;
  std::stop_source stop_;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;                       // guards what follows, runs_, the file and the progress callback
  std::vector<std::int64_t> epochs_done_;  // by task
  std::size_t finished_;
  std::exception_ptr error_;
};

void note_resumed(Comparison& comparison, const std::string& path, const std::string& target) {
  std::size_t resumed = 0;
  std::size_t foreign = 0;
  for (const CompareRun& run : comparison.runs) {
    if (!run.resumed) continue;
    ++resumed;
    if (run.target != target || run.version != version()) ++foreign;
  }
  if (resumed > 0)
    comparison.notes.push_back(
        fmt::format("{} of {} runs were taken from '{}'", resumed, comparison.runs.size(), path));
  if (foreign > 0) {
    comparison.notes.push_back(
        fmt::format("{} of those were made on another target or by another version than {} {}; "
                    "rounding may differ",
                    foreign, target, version()));
  }
}

}  // namespace

Comparison run_comparison(const CompareOptions& wanted, const Dataset& data, const Context& context) {
  CompareOptions options = wanted;
  // One text for one model, however it was spelled: the results file knows runs by it.
  for (std::string& model : options.models) {
    const Model parsed = Model::parse(model);
    check_fits(parsed, data.train.features, data.classes);
    model = parsed.description();
  }
  check_options(options);
  const std::vector<PlannedMethod> plan = plan_methods(options);
  if (data.test.count == 0)
    throw Error(ErrorCode::bad_input, fmt::format("data set '{}' has no test split to compare on", data.name));
  check_curve(options, data.train.count);
  if (options.metric == ErrorMetric::chosen && data.validation.count == 0) {
    throw Error(ErrorCode::usage,
                "the error at the epoch that validation chose was asked for, but there is no validation split");
  }

  Comparison comparison;
  std::unique_ptr<ResultsFile> file;
  if (!options.results.empty()) {
    file = std::make_unique<ResultsFile>(options.results, run_settings(data, options));
    comparison.notes = file->notes();
  }
  for (const std::string& model : options.models) {
    for (const PlannedMethod& method : plan) {
      for (const std::uint64_t seed : options.seeds) comparison.runs.push_back(named_run(model, method.text, seed));
    }
  }
  // Seed by seed, so that what a stopped comparison leaves behind is a comparison over fewer seeds.
  std::vector<Task> tasks;
  for (std::size_t s = 0; s < options.seeds.size(); ++s) {
    for (std::size_t slot = s; slot < comparison.runs.size(); slot += options.seeds.size()) {
      CompareRun& run = comparison.runs[slot];
      const PlannedMethod& method = plan[slot / options.seeds.size() % plan.size()];
      if (auto found = file ? file->find(run.model, run.method, run.seed) : std::nullopt)
        run = std::move(*found);
      else
        tasks.push_back({&method, run.model, run.seed, slot});
    }
  }
  Runner runner(options, data, context, file.get(), comparison.runs, std::move(tasks));
  try {
    runner.run_all();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::interrupted || !file) throw;
    throw Error(ErrorCode::interrupted,
                fmt::format("interrupted: {} of {} runs are in '{}'; the same command goes on from there",
                            runner.finished(), comparison.runs.size(), options.results));
  }
  if (file) note_resumed(comparison, options.results, kernels::execution(context).target->name);
  comparison.table = tabulate(comparison.runs, options);
  return comparison;
}

}  // namespace kindling
