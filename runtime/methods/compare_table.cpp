#include <fmt/format.h>
#include <kindling/compare.h>
#include <kindling/error.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "methods/compare_plan.h"

namespace kindling {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double level = 0.05;

double metric_of(const ResultSummary& summary, ErrorMetric metric) {
  switch (metric) {
    case ErrorMetric::minimum: return summary.min_test_error;
    case ErrorMetric::chosen: return summary.chosen_test_error;
    default: return summary.final_test_error;
  }
}

// The finished runs of one model and method by seed.
using RunsBySeed = std::map<std::uint64_t, const CompareRun*>;

template <class Value>
std::vector<double> collect(const RunsBySeed& runs, Value&& value) {
  std::vector<double> values;
  for (const auto& [seed, run] : runs) values.push_back(value(*run));
  return values;
}

double mean_of(const std::vector<double>& values) { return estimate_mean(values).mean; }

ComparisonRow describe(const RunsBySeed& finished) {
  ComparisonRow row;
  const auto summaries = [&](auto member) {
    return collect(finished,
                   [&](const CompareRun& run) { return static_cast<double>(summarize(run.training).*member); });
  };
  row.min_test_error = estimate_mean(summaries(&ResultSummary::min_test_error));
  row.min_test_epoch = mean_of(summaries(&ResultSummary::min_test_epoch));
  row.chosen_test_error = estimate_mean(summaries(&ResultSummary::chosen_test_error));
  row.chosen_epoch = std::isnan(row.chosen_test_error.mean) ? nan : mean_of(summaries(&ResultSummary::chosen_epoch));
  row.final_test_error = estimate_mean(summaries(&ResultSummary::final_test_error));
  const std::size_t points = finished.empty() ? 0 : finished.begin()->second->train_errors.size();
  for (std::size_t i = 0; i < points; ++i) {
    row.train_errors.push_back(
        estimate_mean(collect(finished, [i](const CompareRun& run) { return run.train_errors.at(i); })));
  }
  return row;
}

void count_reached(ComparisonRow& row, const RunsBySeed& finished, double reach) {
  std::vector<double> epochs;
  for (const auto& [seed, run] : finished) {
    const int epoch = epochs_to_reach(run->training, reach);
    if (epoch >= 0) epochs.push_back(epoch);
  }
  row.reached = static_cast<int>(epochs.size());
  row.epochs_to_reach = mean_of(epochs);
}

PairedTest compare_pairs(const RunsBySeed& left, const RunsBySeed& right, ErrorMetric metric) {
  std::vector<double> a;
  std::vector<double> b;
  for (const auto& [seed, run] : left) {
    const auto other = right.find(seed);
    if (other == right.end()) continue;
    a.push_back(metric_of(summarize(run->training), metric));
    b.push_back(metric_of(summarize(other->second->training), metric));
  }
  return paired_t_test(a, b);
}

ErrorMetric resolve(ErrorMetric metric, const std::vector<CompareRun>& runs) {
  const bool validated = std::any_of(runs.begin(), runs.end(), [](const CompareRun& run) {
    return run.failure.empty() && !std::isnan(summarize(run.training).chosen_test_error);
  });
  if (metric == ErrorMetric::chosen && !validated && !runs.empty()) {
    throw Error(ErrorCode::usage,
                "the error at the epoch that validation chose was asked for, but there is no validation split");
  }
  if (metric != ErrorMetric::automatic) return metric;
  return validated ? ErrorMetric::chosen : ErrorMetric::last;
}

}  // namespace

ErrorMetric parse_error_metric(std::string_view text) {
  for (const ErrorMetric m : {ErrorMetric::automatic, ErrorMetric::minimum, ErrorMetric::chosen, ErrorMetric::last}) {
    if (text == to_string(m)) return m;
  }
  throw Error(ErrorCode::usage, fmt::format("metric: expected auto, min, chosen or final, found '{}'", text));
}

std::string to_string(ErrorMetric metric) {
  switch (metric) {
    case ErrorMetric::automatic: return "auto";
    case ErrorMetric::minimum: return "min";
    case ErrorMetric::chosen: return "chosen";
    case ErrorMetric::last: return "final";
  }
  throw Error(ErrorCode::usage, "an error metric that is none of the enumerators");
}

void check_options(const CompareOptions& options) {
  const auto check = [](bool good, const std::string& what) {
    if (!good) throw Error(ErrorCode::usage, what);
  };
  check(!options.models.empty(), "a comparison needs at least one model, found none");
  check(!options.seeds.empty(), "a comparison needs at least one seed, found none");
  check(options.jobs >= 1, fmt::format("jobs: expected 1 or more, found {}", options.jobs));
  check(options.reach >= 0 && options.reach < 1,
        fmt::format("the error to reach: expected a fraction in (0, 1), or 0 to choose it by the results, found {}",
                    options.reach));
  check(options.train.evaluate_test, "a comparison needs the test error of every epoch (TrainOptions::evaluate_test)");
  const std::set<std::uint64_t> seeds(options.seeds.begin(), options.seeds.end());
  check(seeds.size() == options.seeds.size(), "a seed was given twice");
  const std::set<std::string> models(options.models.begin(), options.models.end());
  check(models.size() == options.models.size(), "a model was given twice");
}

void check_curve(const CompareOptions& options, std::int64_t samples) {
  const std::int64_t batch = std::min(options.train.batch, samples);
  const std::int64_t steps = options.train.epochs * ((samples + batch - 1) / std::max<std::int64_t>(batch, 1));
  std::int64_t before = -1;
  for (const std::int64_t step : options.curve_at) {
    if (step <= before || step > steps) {
      throw Error(
          ErrorCode::usage,
          fmt::format("steps of the curve: expected rising numbers from 0 to {}, the training's last step, found {}{}",
                      steps, step, before < 0 ? "" : fmt::format(" after {}", before)));
    }
    before = step;
  }
}

std::vector<PlannedMethod> plan_methods(const CompareOptions& options) {
  if (options.methods.empty()) throw Error(ErrorCode::usage, "a comparison needs at least one method, found none");
  std::set<std::string> known;
  for (const MethodSpec& spec : options.methods) {
    if (!known.insert(spec.text()).second)
      throw Error(ErrorCode::usage, fmt::format("method '{}' was given twice", spec.text()));
  }
  const std::string baseline = options.methods.front().text();
  std::vector<PlannedMethod> plan;
  for (const MethodSpec& spec : options.methods) {
    const std::string text = spec.text();
    const MethodSpec control = control_of(spec);
    const std::string control_text = control.name.empty() ? "" : control.text();
    const bool add = options.controls && !control.name.empty() && known.insert(control_text).second;
    const std::string fallback = text == baseline ? "" : baseline;
    plan.push_back({spec, text, false, known.contains(control_text) ? control_text : fallback});
    if (add) plan.push_back({control, control_text, true, control_text == baseline ? "" : baseline});
  }
  return plan;
}

ComparisonTable tabulate(const std::vector<CompareRun>& runs, const CompareOptions& options) {
  ComparisonTable table;
  table.metric = resolve(options.metric, runs);
  std::map<std::pair<std::string, std::string>, RunsBySeed> finished;
  std::map<std::pair<std::string, std::string>, std::pair<int, int>> counts;  // runs, failed
  for (const CompareRun& run : runs) {
    auto& [all, failed] = counts[{run.model, run.method}];
    ++all;
    if (run.failure.empty())
      finished[{run.model, run.method}][run.seed] = &run;
    else
      ++failed;
  }
  const std::vector<PlannedMethod> plan = plan_methods(options);
  for (const std::string& model : options.models) {
    const std::size_t first = table.rows.size();
    double reach = options.reach;
    for (const PlannedMethod& method : plan) {
      const RunsBySeed& mine = finished[{model, method.text}];
      ComparisonRow row = describe(mine);
      row.model = model;
      row.method = method.text;
      row.control = method.added;
      std::tie(row.runs, row.failed) = counts[{model, method.text}];
      row.init_seconds = mean_of(collect(mine, [](const CompareRun& run) { return run.init_seconds; }));
      row.reference = method.reference;
      row.difference = method.reference.empty()
                           ? paired_t_test({}, {})
                           : compare_pairs(mine, finished[{model, method.reference}], table.metric);
      if (options.reach == 0 && !std::isnan(row.final_test_error.mean))
        reach = std::max(reach, row.final_test_error.mean);
      table.rows.push_back(std::move(row));
    }
    for (std::size_t i = first; i < table.rows.size(); ++i) {
      count_reached(table.rows[i], finished[{model, table.rows[i].method}], reach);
    }
    table.reach.emplace_back(model, reach);
  }
  std::vector<double> p;
  for (const ComparisonRow& row : table.rows) p.push_back(row.difference.p);
  const std::vector<double> adjusted = holm_adjusted(p);
  for (std::size_t i = 0; i < adjusted.size(); ++i) {
    table.rows[i].p_adjusted = adjusted[i];
    table.rows[i].significant = adjusted[i] < level;
    if (!std::isnan(adjusted[i])) ++table.comparisons;
  }
  return table;
}

}  // namespace kindling
