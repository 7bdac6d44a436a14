#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/targets.h>
#include <kindling/teacher.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/evaluate_command.h"
#include "tools/print_result.h"
#include "tools/progress.h"
#include "tools/text_table.h"

namespace kindling::tools {
namespace {

using nlohmann::json;

struct Arguments {
  std::vector<std::string> tasks{"standard", "simple", "complex"};
  std::vector<std::string> methods{"he", "aci", "rai", "raai"};
  int seeds = 3;
  TeacherOptions options;
  TrainArguments train;
};

json number(double v) { return std::isfinite(v) ? json(v) : json(nullptr); }

json to_json(const Estimate& e) { return {{"mean", number(e.mean)}, {"half_width", number(e.half_width)}}; }
json to_json(const PairedTest& t) {
  return {{"mean", number(t.difference.mean)},
          {"half_width", number(t.difference.half_width)},
          {"p", number(t.p)},
          {"seeds", t.difference.count}};
}

std::string cell(const Estimate& e) {
  if (e.count == 0) return "-";
  return fmt::format("{:.3g}", e.mean) + (std::isnan(e.half_width) ? "" : fmt::format(" ± {:.2g}", e.half_width));
}
std::string cell(const PairedTest& t) {
  if (t.difference.count == 0) return "-";
  return fmt::format("{:+.2f}", t.difference.mean) +
         (std::isnan(t.difference.half_width) ? "" : fmt::format(" ± {:.2f}", t.difference.half_width));
}

std::string to_text(const TeacherResult& result) {
  TextTable table({"method", "epoch", "loss", "centred", "vs first", "vs control"});
  std::string task;
  for (const TeacherRow& r : result.rows) {
    if (to_string(r.task) != task) table.add_title(task = to_string(r.task));
    table.add({r.method + (r.failed > 0 ? fmt::format(" ({} failed)", r.failed) : ""), std::to_string(r.epoch),
               cell(r.loss), cell(r.centred), cell(r.over_baseline), cell(r.over_control)});
  }
  std::string text = table.text();
  text +=
      "\nloss: mean squared error on the validation samples; centred: without the mean error of each output; vs: "
      "difference of\nln(centred), paired over seeds; ±: half the 95 % Student interval over seeds.\n";
  for (const TeacherRun& run : result.runs) {
    if (!run.failure.empty())
      text += fmt::format("note: {} {} seed {}: {}\n", to_string(run.task), run.method, run.seed, run.failure);
  }
  for (const std::string& note : result.notes) text += "note: " + note + "\n";
  return text;
}

json to_json(const TeacherResult& result) {
  json rows = json::array(), failures = json::array();
  for (const TeacherRow& r : result.rows) {
    rows.push_back({{"task", to_string(r.task)},
                    {"method", r.method},
                    {"epoch", r.epoch},
                    {"failed", r.failed},
                    {"loss", to_json(r.loss)},
                    {"centred", to_json(r.centred)},
                    {"over_baseline", to_json(r.over_baseline)},
                    {"over_control", to_json(r.over_control)}});
  }
  for (const TeacherRun& run : result.runs) {
    if (!run.failure.empty())
      failures.push_back(
          {{"task", to_string(run.task)}, {"method", run.method}, {"seed", run.seed}, {"failure", run.failure}});
  }
  return {{"verb", "evaluate teacher"},
          {"version", version()},
          {"rows", rows},
          {"failures", failures},
          {"notes", result.notes}};
}

void run(const CLI::App& verb, const Arguments& arguments, const GlobalOptions& globals) {
  TeacherOptions options = arguments.options;
  const TrainOptions train = train_options(verb, arguments.train);
  options.epochs = train.epochs;
  options.batch = train.batch;
  options.optimizer = train.optimizer;
  options.tasks.clear();
  for (const std::string& task : arguments.tasks) options.tasks.push_back(parse_teacher_task(task));
  for (const std::string& method : arguments.methods) options.methods.push_back(MethodSpec::parse(method));
  if (arguments.seeds < 1 || arguments.seeds > 100000)
    throw Error(ErrorCode::usage, fmt::format("--seeds: expected 1 to 100000, found {}", arguments.seeds));
  options.seeds.clear();
  for (int i = 0; i < arguments.seeds; ++i) options.seeds.push_back(globals.seed + static_cast<std::uint64_t>(i));
  ProgressPrinter printer(globals.quiet, ProgressPrinter::Lines::every);
  Context context = globals.context();
  context.progress = [&](const Progress& p) { printer.show(p); };
  const TeacherResult result = run_teacher_tasks(options, context);
  printer.clear();
  print_result(globals, to_json(result), to_text(result));
}

}  // namespace

void add_teacher_command(CLI::App& evaluate, GlobalOptions& globals) {
  CLI::App* verb = evaluate.add_subcommand("teacher", "Students learn the outputs of random teacher networks");
  auto arguments = std::make_shared<Arguments>();
  TeacherOptions& o = arguments->options;
  arguments->train.options = {.epochs = o.epochs, .batch = o.batch, .optimizer = o.optimizer};
  verb->add_option("--tasks", arguments->tasks, "standard, simple, complex")->capture_default_str();
  verb->add_option("--methods", arguments->methods, "Methods that need no data, the first one is the baseline")
      ->capture_default_str();
  verb->add_flag("--controls,!--no-controls", o.controls,
                 "Also run the control of every method that has one (default)");
  verb->add_option("--seeds", arguments->seeds, "How many seeds, from --seed on")->capture_default_str();
  verb->add_option("--depth", o.depth, "Weight layers of the student")->capture_default_str();
  verb->add_option("--width", o.width, "Inputs and hidden units")->capture_default_str();
  verb->add_option("--samples", o.samples, "Training samples")->capture_default_str();
  verb->add_option("--validation-samples", o.validation, "Validation samples")->capture_default_str();
  verb->add_option("--results", o.results, "Keep every finished run in this file and go on from it");
  add_train_options(*verb, arguments->train);
  add_global_options(*verb, globals);
  verb->callback([verb, arguments, &globals] { run(*verb, *arguments, globals); });
}

}  // namespace kindling::tools
