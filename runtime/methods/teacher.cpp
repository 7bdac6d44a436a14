#include "methods/teacher.h"

#include <fmt/format.h>
#include <kindling/error.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

namespace kindling {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

void check_options(const TeacherOptions& o) {
  const auto at_least_one = [](const char* option, std::int64_t found) {
    if (found < 1)
      throw Error(ErrorCode::usage, fmt::format("teacher tasks: {}: expected 1 or more, found {}", option, found));
  };
  at_least_one("depth", o.depth);
  at_least_one("width", o.width);
  at_least_one("samples", o.samples);
  at_least_one("validation samples", o.validation);
  at_least_one("epochs", o.epochs);
  at_least_one("batch", o.batch);
  at_least_one("tasks", static_cast<std::int64_t>(o.tasks.size()));
  at_least_one("methods", static_cast<std::int64_t>(o.methods.size()));
  at_least_one("seeds", static_cast<std::int64_t>(o.seeds.size()));
  if (!(o.optimizer.learning_rate > 0) || !std::isfinite(o.optimizer.learning_rate)) {
    throw Error(ErrorCode::usage, fmt::format("teacher tasks: learning rate: expected a positive number, found {}",
                                              o.optimizer.learning_rate));
  }
  const auto twice = [](auto list) {
    std::sort(list.begin(), list.end());
    return std::adjacent_find(list.begin(), list.end()) != list.end();
  };
  std::vector<std::string> names;
  for (const MethodSpec& method : o.methods) {
    names.push_back(method.text());
    if (method_info(method.name).needs_data) {
      throw Error(ErrorCode::usage,
                  fmt::format("teacher tasks: method {} looks at data with classes, which a teacher's "
                              "samples do not have",
                              names.back()));
    }
  }
  if (twice(names) || twice(o.seeds) || twice(o.tasks))
    throw Error(ErrorCode::usage, "teacher tasks: a method, a seed or a task is named twice");
}

// Methods with each one's control after it, and whose control it is.
struct Plan {
  std::vector<MethodSpec> methods;
  std::map<std::string, std::string> control;  // method, its control
};

Plan plan_of(const TeacherOptions& options) {
  Plan plan;
  const auto add = [&](const MethodSpec& method) {
    const auto same = [&](const MethodSpec& m) { return m.text() == method.text(); };
    if (std::none_of(plan.methods.begin(), plan.methods.end(), same)) plan.methods.push_back(method);
  };
  for (const MethodSpec& method : options.methods) {
    add(method);
    const MethodSpec control = options.controls ? control_of(method) : MethodSpec{};
    if (control.name.empty()) continue;
    add(control);
    plan.control[method.text()] = control.text();
  }
  return plan;
}

// ln of the centred loss at an epoch; NaN for a run that ended before it.
double log_loss(const TeacherRun& run, int epoch) {
  const auto e = static_cast<std::size_t>(epoch);
  return e < run.centred_loss.size() ? std::log(run.centred_loss[e]) : nan;
}

class Table {
 public:
  Table(const TeacherOptions& options, const std::vector<TeacherRun>& runs) : options_(options), runs_(runs) {}

  TeacherRow row(TeacherTask task, const std::string& method, int epoch, const std::string& baseline,
                 const std::string& control) const {
    TeacherRow row{.task = task, .method = method, .epoch = epoch};
    std::vector<double> loss, centred;
    for (const TeacherRun& run : runs_) {
      if (run.task != task || run.method != method) continue;
      row.failed += run.failure.empty() ? 0 : 1;
      const auto e = static_cast<std::size_t>(epoch);
      if (e >= run.validation_loss.size()) continue;
      loss.push_back(run.validation_loss[e]);
      centred.push_back(run.centred_loss[e]);
    }
    row.loss = estimate_mean(loss);
    row.centred = estimate_mean(centred);
    row.over_baseline = difference(task, method, baseline, epoch);
    row.over_control = difference(task, method, control, epoch);
    return row;
  }

 private:
  // Over the seeds where neither run had failed by then.
  PairedTest difference(TeacherTask task, const std::string& method, const std::string& other, int epoch) const {
    std::vector<double> a, b;
    for (const std::uint64_t seed : options_.seeds) {
      const double x = find(task, method, seed, epoch), y = find(task, other, seed, epoch);
      if (std::isnan(x) || std::isnan(y) || method == other) continue;
      a.push_back(x);
      b.push_back(y);
    }
    return paired_t_test(a, b);
  }
  double find(TeacherTask task, const std::string& method, std::uint64_t seed, int epoch) const {
    for (const TeacherRun& run : runs_) {
      if (run.task == task && run.method == method && run.seed == seed) return log_loss(run, epoch);
    }
    return nan;
  }

  const TeacherOptions& options_;
  const std::vector<TeacherRun>& runs_;
};

}  // namespace

TeacherTask parse_teacher_task(std::string_view text) {
  if (text == "standard") return TeacherTask::standard;
  if (text == "simple") return TeacherTask::simple;
  if (text == "complex") return TeacherTask::complex;
  throw Error(ErrorCode::usage, fmt::format("teacher task: expected standard, simple or complex, found '{}'", text));
}

std::string to_string(TeacherTask task) {
  switch (task) {
    case TeacherTask::standard: return "standard";
    case TeacherTask::simple: return "simple";
    case TeacherTask::complex: return "complex";
  }
  return "?";
}

TeacherResult run_teacher_tasks(const TeacherOptions& options, const Context& context) {
  check_options(options);
  const Plan plan = plan_of(options);
  const kernels::Execution execution = kernels::execution(context);
  TeacherResults file(options);
  TeacherResult result;
  if (file.cut())
    result.notes.push_back(fmt::format("the last line of '{}' was cut off; that run is repeated", options.results));
  const std::size_t total = options.tasks.size() * options.seeds.size() * plan.methods.size();
  // Seeds outside, so that an early stop leaves every task and method with fewer seeds.
  for (const std::uint64_t seed : options.seeds) {
    Context own = context;
    own.seed = seed;
    own.progress = nullptr;
    for (const TeacherTask task : options.tasks) {
      std::optional<TeacherData> data;
      for (const MethodSpec& method : plan.methods) {
        std::optional<TeacherRun> run = file.find(task, method.text(), seed);
        if (!run) {
          if (!data) data = teacher_data(execution, options, task, own);
          run = train_student(execution, options, task, method, *data, own);
          file.append(*run);
        }
        result.runs.push_back(*run);
        context.report({"teacher", static_cast<std::int64_t>(result.runs.size()), static_cast<std::int64_t>(total),
                        fmt::format("{} {} seed {}: loss {:.4g}", to_string(task), run->method, seed,
                                    run->validation_loss.back())});
      }
    }
  }
  const Table table(options, result.runs);
  std::set<int> epochs{1, std::max(1, options.epochs / 10), options.epochs};
  for (const TeacherTask task : options.tasks) {
    for (const MethodSpec& method : plan.methods) {
      const auto control = plan.control.find(method.text());
      for (const int epoch : epochs) {
        result.rows.push_back(table.row(task, method.text(), epoch, plan.methods.front().text(),
                                        control == plan.control.end() ? "" : control->second));
      }
    }
  }
  return result;
}

}  // namespace kindling
