#include "tools/compare_output.h"

#include <fmt/format.h>
#include <kindling/targets.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tools/text_table.h"

namespace kindling::tools {
namespace {

using nlohmann::json;

std::string half_width_text(const Estimate& e) {
  return std::isnan(e.half_width) ? " ± n/a" : fmt::format(" ± {:.2f}", 100 * e.half_width);
}

std::string percent(const Estimate& e) {
  return std::isnan(e.mean) ? "n/a" : fmt::format("{:.2f}", 100 * e.mean) + half_width_text(e);
}

std::string signed_percent(const Estimate& e) {
  if (std::isnan(e.mean)) return "n/a";
  std::string mean = fmt::format("{:+.2f}", 100 * e.mean);
  if (mean == "-0.00" || mean == "+0.00") mean = "0.00";
  return mean + half_width_text(e);
}

std::string number(double value, int digits) {
  return std::isnan(value) ? "n/a" : fmt::format("{:.{}f}", value, digits);
}

std::string p_text(double p) {
  if (std::isnan(p)) return "n/a";
  return p < 0.0001 ? "<0.0001" : fmt::format("{:.4f}", p);
}

std::string reached_text(const ComparisonRow& row) {
  const int finished = row.runs - row.failed;
  if (row.reached == 0) return "never";
  const std::string epochs = number(row.epochs_to_reach, 1);
  return row.reached == finished ? epochs : fmt::format("{} ({} of {})", epochs, row.reached, finished);
}

std::string metric_text(ErrorMetric metric) {
  switch (metric) {
    case ErrorMetric::minimum: return "the minimum test error";
    case ErrorMetric::chosen: return "the test error at the epoch that validation chose";
    default: return "the final test error";
  }
}

json estimate_json(const Estimate& e) { return {{"n", e.count}, {"mean", e.mean}, {"half_width", e.half_width}}; }

json row_json(const ComparisonRow& row) {
  json result = {{"model", row.model},
                 {"method", row.method},
                 {"control", row.control},
                 {"runs", row.runs},
                 {"failed", row.failed},
                 {"min_test_error", estimate_json(row.min_test_error)},
                 {"min_test_epoch", row.min_test_epoch},
                 {"chosen_test_error", estimate_json(row.chosen_test_error)},
                 {"chosen_epoch", row.chosen_epoch},
                 {"final_test_error", estimate_json(row.final_test_error)},
                 {"reached", row.reached},
                 {"epochs_to_reach", row.epochs_to_reach},
                 {"init_seconds", row.init_seconds}};
  for (const Estimate& e : row.train_errors) result["train_errors"].push_back(estimate_json(e));
  if (row.reference.empty()) return result;
  // JSON has no infinity; where all differences are equal t is given as null.
  result["difference"] = {{"reference", row.reference},
                          {"n", row.difference.difference.count},
                          {"mean", row.difference.difference.mean},
                          {"half_width", row.difference.difference.half_width},
                          {"t", row.difference.t},
                          {"p", row.difference.p},
                          {"p_holm", row.p_adjusted},
                          {"significant", row.significant}};
  return result;
}

json run_json(const CompareRun& run) {
  json result = {{"model", run.model},
                 {"method", run.method},
                 {"seed", run.seed},
                 {"init_seconds", run.init_seconds},
                 {"train_seconds", run.training.seconds},
                 {"target", run.target},
                 {"version", run.version},
                 {"resumed", run.resumed}};
  if (!run.failure.empty()) {
    result["failure"] = run.failure;
    return result;
  }
  result["init"] = json::parse(run.init_report);
  json losses = json::array();
  json validation = json::array();
  json test = json::array();
  for (const EpochRecord& e : run.training.epochs) {
    losses.push_back(e.train_loss);
    validation.push_back(e.validation_error);
    test.push_back(e.test_error);
  }
  result["epochs"] = {{"train_loss", losses}, {"validation_error", validation}, {"test_error", test}};
  if (!run.train_errors.empty()) result["train_errors"] = run.train_errors;
  return result;
}

std::vector<std::string> cells_of(const ComparisonRow& row, std::size_t index,
                                  const std::map<std::string, std::size_t>& numbers, bool validated) {
  std::string name = row.method + (row.control ? "  (control)" : "");
  if (row.failed > 0) name += fmt::format("  ({} of {} failed)", row.failed, row.runs);
  std::vector<std::string> cells = {fmt::format("{:>2}  {}", index, name), percent(row.min_test_error),
                                    number(row.min_test_epoch, 1)};
  if (validated) {
    cells.push_back(percent(row.chosen_test_error));
    cells.push_back(number(row.chosen_epoch, 1));
  }
  cells.push_back(percent(row.final_test_error));
  cells.push_back(reached_text(row));
  cells.push_back(number(row.init_seconds, 3));
  if (row.reference.empty()) {
    cells.insert(cells.end(), {"", "", "", "", ""});
  } else {
    const std::string verdict = std::isnan(row.p_adjusted) ? "n/a" : row.significant ? "yes" : "no";
    cells.insert(cells.end(), {std::to_string(numbers.at(row.reference)), signed_percent(row.difference.difference),
                               p_text(row.difference.p), p_text(row.p_adjusted), verdict});
  }
  return cells;
}

// Training accuracy after the steps of the curve.
std::string curve_text(const ComparisonTable& table, const CompareOptions& options) {
  if (options.curve_at.empty()) return "";
  std::vector<std::string> header = {"training accuracy % after steps"};
  for (const std::int64_t step : options.curve_at) header.push_back(std::to_string(step));
  TextTable text(header);
  for (const auto& [model, reach] : table.reach) {
    text.add_title(model);
    for (const ComparisonRow& row : table.rows) {
      if (row.model != model || row.train_errors.empty()) continue;
      std::vector<std::string> cells = {"    " + row.method};
      for (const Estimate& e : row.train_errors)
        cells.push_back(fmt::format("{:.2f}{}", 100 - 100 * e.mean, half_width_text(e)));
      text.add(cells);
    }
  }
  return text.text() + "\n";
}

std::string legend(const ComparisonTable& table, std::size_t seeds) {
  return fmt::format(
      "Errors in % of the test samples, mean over {} seed{} ± half width of the 95 % Student interval.\n"
      "min†: least over the epochs, optimistic because the epoch is chosen on the test set itself; final: after the "
      "last epoch.\n"
      "reach: epochs to the error named in the model's line, mean over the runs that came down to it. init s: seconds "
      "to initialize.\n"
      "difference: of {}, this row minus row vs, paired over seeds;\n"
      "p: two-sided paired t-test; significant: p by Holm over the table's {} comparison{} below 0.05.\n",
      seeds, seeds == 1 ? "" : "s", metric_text(table.metric), table.comparisons, table.comparisons == 1 ? "" : "s");
}

}  // namespace

std::string comparison_text(const Comparison& comparison, const CompareOptions& options) {
  const ComparisonTable& table = comparison.table;
  const bool validated = std::any_of(table.rows.begin(), table.rows.end(),
                                     [](const ComparisonRow& row) { return !std::isnan(row.chosen_test_error.mean); });
  std::vector<std::string> header = {" #  method", "min†", "epoch"};
  if (validated) header.insert(header.end(), {"by validation", "epoch"});
  header.insert(header.end(), {"final", "reach", "init s", "vs", "difference", "p", "p (Holm)", "significant"});
  TextTable text(header);
  for (const auto& [model, reach] : table.reach) {
    text.add_title(fmt::format("{}  (reach {:.2f} %)", model, 100 * reach));
    std::map<std::string, std::size_t> numbers;
    for (const ComparisonRow& row : table.rows) {
      if (row.model == model) numbers.emplace(row.method, numbers.size() + 1);
    }
    for (const ComparisonRow& row : table.rows) {
      if (row.model == model) text.add(cells_of(row, numbers.at(row.method), numbers, validated));
    }
  }
  std::string notes;
  for (const std::string& note : comparison.notes) notes += "note: " + note + "\n";
  for (const CompareRun& run : comparison.runs) {
    if (!run.failure.empty())
      notes += fmt::format("note: {} {} seed {} failed: {}\n", run.model, run.method, run.seed, run.failure);
  }
  return text.text() + "\n" + curve_text(table, options) + legend(table, options.seeds.size()) + notes;
}

json comparison_json(const Comparison& comparison, const CompareOptions& options) {
  json rows = json::array();
  for (const ComparisonRow& row : comparison.table.rows) rows.push_back(row_json(row));
  json runs = json::array();
  for (const CompareRun& run : comparison.runs) runs.push_back(run_json(run));
  json reach = json::object();
  for (const auto& [model, error] : comparison.table.reach) reach[model] = error;
  return {{"verb", "compare"},
          {"version", version()},
          {"seeds", options.seeds},
          {"metric", to_string(comparison.table.metric)},
          {"curve_at", options.curve_at},
          {"comparisons", comparison.table.comparisons},
          {"reach", reach},
          {"table", rows},
          {"runs", runs},
          {"notes", comparison.notes}};
}

}  // namespace kindling::tools
