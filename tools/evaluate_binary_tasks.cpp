#include <fmt/format.h>
#include <kindling/binary_tasks.h>
#include <kindling/error.h>
#include <kindling/targets.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/commands.h"
#include "tools/evaluate_command.h"
#include "tools/print_result.h"
#include "tools/progress.h"
#include "tools/text_table.h"

namespace kindling::tools {
namespace {

using nlohmann::json;

struct Arguments {
  std::vector<std::string> methods;
  BinaryTasksOptions options;
  DataArguments data;
};

std::string with_sd(double mean, double sd) {
  if (std::isnan(mean)) return "n/a";
  return fmt::format("{:.2f}", 100 * mean) + (std::isnan(sd) ? "" : fmt::format(" ± {:.2f}", 100 * sd));
}

std::string difference(const Estimate& e) {
  if (std::isnan(e.mean)) return "n/a";
  return fmt::format("{:+.2f}", 100 * e.mean) +
         (std::isnan(e.half_width) ? "" : fmt::format(" ± {:.2f}", 100 * e.half_width));
}

template <class Cell>
std::string table(const BinaryTasksResult& result, const BinaryTasksOptions& options, const std::string& title,
                  const Cell& cell) {
  std::vector<std::string> header{title};
  for (const std::int64_t n : options.labels) header.push_back(fmt::format("N={}", n));
  TextTable text(header);
  for (const std::string& model : options.models) {
    text.add_title(model);
    for (const BinaryTasksRow& row : result.rows) {
      if (row.model != model) continue;
      std::vector<std::string> cells{row.method};
      for (const BinaryTasksCell& c : row.cells) cells.push_back(cell(c));
      text.add(cells);
    }
  }
  return text.text() + "\n";
}

std::string result_text(const BinaryTasksResult& result, const BinaryTasksOptions& options) {
  std::string text = table(result, options, "test accuracy in %: mean over tasks",
                           [](const BinaryTasksCell& c) { return with_sd(c.mean, c.mean_sd); });
  text += table(result, options, "standard deviation over tasks",
                [](const BinaryTasksCell& c) { return with_sd(c.spread, c.spread_sd); });
  text += table(result, options, "mean less that of " + options.methods.front().text(),
                [](const BinaryTasksCell& c) { return difference(c.over_baseline); });
  bool controls = false;
  for (const BinaryTasksRow& row : result.rows) {
    for (const BinaryTasksCell& c : row.cells) controls = controls || !std::isnan(c.over_control.mean);
  }
  if (controls) {
    text += table(result, options, "mean less that of its control",
                  [](const BinaryTasksCell& c) { return difference(c.over_control); });
  }
  text += fmt::format(
      "{} tasks, {} repetitions; ± is the standard deviation over repetitions, for differences half the 95 % Student\n"
      "interval, paired by repetition. Of each class N samples train and about N / 5 validate.\n",
      options.tasks, options.repetitions);
  for (const BinaryTasksRun& run : result.runs) {
    if (!run.failure.empty()) {
      text += fmt::format("note: {} {} seed {} failed: {}\n", run.model, run.method, run.seed, run.failure);
    }
  }
  for (const std::string& note : result.notes) text += "note: " + note + "\n";
  return text;
}

json number(double value) { return std::isnan(value) ? json(nullptr) : json(value); }

json estimate(const Estimate& e) {
  return {{"n", e.count}, {"mean", number(e.mean)}, {"half_width", number(e.half_width)}};
}

json result_json(const BinaryTasksResult& result, const BinaryTasksOptions& options) {
  json rows = json::array();
  for (const BinaryTasksRow& row : result.rows) {
    for (const BinaryTasksCell& c : row.cells) {
      rows.push_back({{"model", row.model},
                      {"method", row.method},
                      {"n", c.labels},
                      {"repetitions", c.repetitions},
                      {"mean", number(c.mean)},
                      {"mean_sd", number(c.mean_sd)},
                      {"spread", number(c.spread)},
                      {"spread_sd", number(c.spread_sd)},
                      {"over_baseline", estimate(c.over_baseline)},
                      {"over_control", estimate(c.over_control)}});
    }
  }
  json runs = json::array();
  for (const BinaryTasksRun& run : result.runs) {
    runs.push_back({{"model", run.model},
                    {"method", run.method},
                    {"seed", run.seed},
                    {"n", run.labels},
                    {"accuracy", run.accuracy},
                    {"epoch", run.epoch},
                    {"init_seconds", run.init_seconds},
                    {"failure", run.failure},
                    {"resumed", run.resumed}});
  }
  return {{"verb", "evaluate binary-tasks"},
          {"version", version()},
          {"tasks", options.tasks},
          {"repetitions", options.repetitions},
          {"table", rows},
          {"runs", runs},
          {"notes", result.notes}};
}

void run_binary(const Arguments& arguments, const GlobalOptions& globals) {
  BinaryTasksOptions options = arguments.options;
  for (const std::string& text : arguments.methods) options.methods.push_back(MethodSpec::parse(text));
  ProgressPrinter printer(globals.quiet, ProgressPrinter::Lines::by_stage);
  Context context = globals.context();
  context.progress = [&](const Progress& p) { printer.show(p); };
  const Dataset data = load(arguments.data, context);
  const BinaryTasksResult result = run_binary_tasks(options, data, context);
  printer.clear();
  print_result(globals, result_json(result, options), result_text(result, options));
}

}  // namespace

void add_binary_tasks_command(CLI::App& evaluate, GlobalOptions& globals) {
  CLI::App* verb = evaluate.add_subcommand(
      "binary-tasks", "Fine-tune one initialization on random binary tasks with few labels each, over repetitions");
  auto arguments = std::make_shared<Arguments>();
  BinaryTasksOptions& o = arguments->options;
  o.models = {"784-256-256-256-2"};
  verb->add_option("--model", o.models, "One or more networks of 2 outputs")->capture_default_str();
  verb->add_option("--methods", arguments->methods,
                   "Methods, the first one is the baseline: xavier random-label mmd mmd-control")
      ->required();
  verb->add_option("--tasks", o.tasks, "Random tasks a repetition, the same for every method")->capture_default_str();
  verb->add_option("--n", o.labels, "Training samples of each class; about a fifth as many validate")
      ->capture_default_str();
  verb->add_option("--repetitions", o.repetitions, "With seeds from --seed on")->capture_default_str();
  verb->add_option("--lr", o.learning_rate, "Learning rate of Adam")->capture_default_str();
  verb->add_option("--batch", o.batch, "Samples a step")->capture_default_str();
  verb->add_option("--epochs", o.epochs, "Passes over a task's training samples")->capture_default_str();
  verb->add_option("--results", o.results, "Keep every finished run in this file and go on from it");
  verb->add_option("--cache", o.cache,
                   "Folder for learned initializations, so that a control need not learn its own again");
  verb->add_option("--jobs", o.jobs, "Tasks at once; with more than one, each has one thread")->capture_default_str();
  add_data_options(*verb, arguments->data, "always needed");
  add_global_options(*verb, globals);
  verb->callback([arguments, &globals] { run_binary(*arguments, globals); });
}

}  // namespace kindling::tools
