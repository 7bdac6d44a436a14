#include <fmt/format.h>
#include <kindling/compare.h>
#include <kindling/error.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <string_view>

#include "tools/commands.h"
#include "tools/compare_output.h"
#include "tools/print_result.h"
#include "tools/progress.h"

namespace kindling::tools {
namespace {

struct CompareArguments {
  std::vector<std::string> models;
  std::vector<std::string> methods;
  std::string seeds = "5";
  std::string metric = "auto";
  bool controls = true;
  CompareOptions options;
  DataArguments data;
  TrainArguments train;
};

std::uint64_t read_seed(std::string_view text, const std::string& all) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw Error(ErrorCode::usage,
                fmt::format("--seeds: expected a number of seeds, or seeds joined by ',', found '{}'", all));
  }
  return value;
}

// "5" are five seeds from the first one on, "3,4,11" those three.
std::vector<std::uint64_t> read_seeds(const std::string& text, std::uint64_t first) {
  std::vector<std::uint64_t> seeds;
  if (text.find(',') == std::string::npos) {
    const std::uint64_t count = read_seed(text, text);
    if (count < 1 || count > 100000) {
      throw Error(ErrorCode::usage, fmt::format("--seeds: expected 1 to 100000 of them, found {}", count));
    }
    for (std::uint64_t i = 0; i < count; ++i) seeds.push_back(first + i);
    return seeds;
  }
  std::size_t start = 0;
  while (start <= text.size()) {
    const std::size_t end = std::min(text.find(',', start), text.size());
    seeds.push_back(read_seed(std::string_view(text).substr(start, end - start), text));
    start = end + 1;
  }
  return seeds;
}

void run_compare(const CLI::App& verb, const CompareArguments& arguments, const GlobalOptions& globals) {
  CompareOptions options = arguments.options;
  options.models = arguments.models;
  options.controls = arguments.controls;
  options.seeds = read_seeds(arguments.seeds, globals.seed);
  options.metric = parse_error_metric(arguments.metric);
  options.train = train_options(verb, arguments.train);
  for (const std::string& text : arguments.methods) options.methods.push_back(MethodSpec::parse(text));

  ProgressPrinter printer(globals.quiet, ProgressPrinter::Lines::by_stage);
  Context context = globals.context();
  context.progress = [&](const Progress& p) { printer.show(p); };
  const Dataset data = load(arguments.data, context);
  const Comparison comparison = run_comparison(options, data, context);
  printer.clear();
  nlohmann::json result = comparison_json(comparison, options);
  result["data"] = {{"name", data.name},
                    {"train", data.train.count},
                    {"validation", data.validation.count},
                    {"test", data.test.count}};
  print_result(globals, result,
               fmt::format("data {}: {} training, {} validation, {} test samples; {} epochs, batch {}, {}, learning "
                           "rate {}\n\n{}",
                           data.name, data.train.count, data.validation.count, data.test.count, options.train.epochs,
                           options.train.batch, to_string(options.train.optimizer.kind),
                           options.train.optimizer.learning_rate, comparison_text(comparison, options)));
}

}  // namespace

void add_compare_command(CLI::App& program, GlobalOptions& globals) {
  CLI::App* verb =
      program.add_subcommand("compare", "Compare methods over several seeds, each beside its control, in one table");
  auto arguments = std::make_shared<CompareArguments>();
  verb->add_option("--model", arguments->models,
                   "One or more networks: 784-100-10 784:100,bn,10 3x32x32:conv16,pool2,10")
      ->required();
  verb->add_option("--methods", arguments->methods,
                   "Methods, the first one is the baseline: xavier lsuv:base=xavier ibci:law=xavier")
      ->required();
  verb->add_option("--seeds", arguments->seeds, "How many seeds, from --seed on, or a list: 3,4,11")
      ->capture_default_str();
  verb->add_flag(
      "--controls,!--no-controls", arguments->controls,
      "Also run the control of every method that selects by data: same law, scale and biases, no selection (default)");
  verb->add_option("--results", arguments->options.results,
                   "Keep every finished run in this file and go on from it when started again");
  verb->add_option("--jobs", arguments->options.jobs, "Runs at once; with more than one, each has one thread")
      ->capture_default_str();
  verb->add_option("--metric", arguments->metric,
                   "Test error to test differences of: min, chosen (by validation), final, or auto: chosen with "
                   "--validation, else final")
      ->capture_default_str();
  verb->add_option("--reach", arguments->options.reach,
                   "Error for 'epochs to reach', a fraction (default: for each model the largest of its methods' mean "
                   "final errors)");
  verb->add_option("--curve-at", arguments->options.curve_at,
                   "Also measure the training accuracy after these numbers of steps, joined by ','")
      ->delimiter(',');
  add_data_options(*verb, arguments->data, "always needed");
  add_train_options(*verb, arguments->train);
  add_global_options(*verb, globals);
  verb->callback([verb, arguments, &globals] { run_compare(*verb, *arguments, globals); });
}

}  // namespace kindling::tools
