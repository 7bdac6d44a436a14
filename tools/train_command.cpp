#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/methods.h>
#include <kindling/model.h>
#include <kindling/targets.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/bottleneck_training.h"
#include "tools/commands.h"
#include "tools/print_result.h"
#include "tools/progress.h"
#include "tools/text_table.h"

namespace kindling::tools {
namespace {

struct TrainVerbArguments {
  std::string model;
  std::string weights;
  std::string method;
  std::string out;
  DataArguments data;
  TrainArguments train;
  ObjectiveArguments objective;
};

nlohmann::json result_json(const TrainResult& result) {
  nlohmann::json epochs = nlohmann::json::array();
  for (const EpochRecord& e : result.epochs) {
    epochs.push_back({{"epoch", e.epoch},
                      {"train_loss", e.train_loss},
                      {"validation_loss", e.validation_loss},
                      {"validation_error", e.validation_error},
                      {"test_loss", e.test_loss},
                      {"test_error", e.test_error}});
  }
  const ResultSummary s = summarize(result);
  const bool validated = !std::isnan(s.chosen_test_error);
  return {{"epochs", epochs},
          {"seconds", result.seconds},
          {"steps", result.steps},
          {"summary",
           {{"min_test_error", s.min_test_error},
            {"min_test_epoch", s.min_test_epoch},
            {"chosen_test_error", s.chosen_test_error},
            {"chosen_epoch", validated ? nlohmann::json(s.chosen_epoch) : nlohmann::json(nullptr)},
            {"final_test_error", s.final_test_error}}}};
}

std::string summary_text(const TrainResult& result) {
  const ResultSummary s = summarize(result);
  std::string text = fmt::format("{} steps in {}\n", result.steps, duration_text(result.seconds));
  if (std::isnan(s.final_test_error)) return text + "no test split\n";
  text += fmt::format("test error: {:.2f} % after the last epoch\n", 100 * s.final_test_error);
  if (!std::isnan(s.chosen_test_error)) {
    text += fmt::format("            {:.2f} % at epoch {}, chosen by validation\n", 100 * s.chosen_test_error,
                        s.chosen_epoch);
  }
  return text + fmt::format("            {:.2f} % at best, epoch {} (optimistic: chosen on the test set)\n",
                            100 * s.min_test_error, s.min_test_epoch);
}

// The objectives of the information bottleneck.
void run_objective(const CLI::App& verb, const TrainVerbArguments& arguments, const GlobalOptions& globals,
                   Model& model, const Dataset& data, const std::string& method) {
  ProgressPrinter printer(globals.quiet, ProgressPrinter::Lines::every);
  Context context = globals.context();
  context.progress = [&](const Progress& p) { printer.show(p); };
  const nlohmann::json start = {{"model", model.description()},
                                {"start", method.empty() ? arguments.weights : method},
                                {"seed", globals.seed},
                                {"data",
                                 {{"name", data.name},
                                  {"train", data.train.count},
                                  {"test", data.test.count},
                                  {"standardise", arguments.data.standardise}}}};
  const nlohmann::json line =
      train_objective(verb, arguments.objective, arguments.train, model, data, start, !arguments.out.empty(), context);
  printer.clear();
  if (!arguments.out.empty()) save_weights(model, arguments.out);
  print_result(globals, line, objective_text(line));
}

void run_train(const CLI::App& verb, const TrainVerbArguments& arguments, const GlobalOptions& globals) {
  if (arguments.weights.empty() == arguments.method.empty()) {
    throw Error(ErrorCode::usage,
                fmt::format("train starts from --weights or from --method: expected one of the two, found {}",
                            arguments.method.empty() ? "none" : "both"));
  }
  check_objective(verb, arguments.objective);
  const TrainOptions options = train_options(verb, arguments.train);
  if (arguments.model.empty() && arguments.weights.empty())
    throw Error(ErrorCode::usage, "train needs --model (784-256-100-10 or 3x32x32:conv16,pool2,10), found none");
  Model model = named_model(arguments.model, arguments.weights);
  const MethodSpec method = arguments.method.empty() ? MethodSpec{} : MethodSpec::parse(arguments.method);
  if (!arguments.out.empty()) check_weights_path(arguments.out);
  for (const std::string& path :
       {arguments.objective.results, arguments.objective.plane, arguments.objective.bottleneck.checkpoint.path})
    if (!path.empty()) check_writable(path);

  const bool lines = !globals.json && !globals.quiet;
  // Each epoch's line stands on standard output; elsewhere than on a terminal it is the progress too.
  ProgressPrinter printer(globals.quiet, lines ? ProgressPrinter::Lines::none : ProgressPrinter::Lines::every);
  Context context = globals.context();
  context.progress = [&](const Progress& p) { printer.show(p); };
  const Dataset data = load(arguments.data, context);
  check_fits(model, data.train.features, data.classes);
  if (!arguments.weights.empty())
    load_weights(model, arguments.weights);
  else
    initialize(model, method, &data, context);
  printer.clear();
  if (is_bottleneck(arguments.objective))
    return run_objective(verb, arguments, globals, model, data, arguments.method.empty() ? "" : method.text());

  context.progress = [&](const Progress& p) {
    if (lines) {
      printer.clear();
      print_out(fmt::format("epoch {:>4}  {}\n", p.done, p.detail));
    }
    printer.show(p);
  };
  const TrainResult result =
      train(model, data, options, plane_observer(verb, arguments.objective, data, context), context);
  printer.clear();
  if (!arguments.out.empty()) save_weights(model, arguments.out);
  const std::string written = arguments.out.empty() ? "" : "written: " + arguments.out + "\n";
  nlohmann::json all = result_json(result);
  all.update({{"verb", "train"},
              {"version", version()},
              {"model", model.description()},
              {"start", arguments.method.empty() ? arguments.weights : method.text()},
              {"seed", globals.seed},
              {"data", data.name},
              {"out", arguments.out.empty() ? nlohmann::json(nullptr) : nlohmann::json(arguments.out)}});
  print_result(globals, all, (lines ? "\n" : "") + summary_text(result) + written);
}

}  // namespace

void add_train_command(CLI::App& program, GlobalOptions& globals) {
  CLI::App* verb = program.add_subcommand("train", "Train a network from a weights file or from an initialization");
  auto arguments = std::make_shared<TrainVerbArguments>();
  verb->add_option(
      "--model", arguments->model,
      "Layer widths, 784-256-100-10[:tanh], or modules, 3x32x32:conv16,bn,pool2,512,10 (default: what the weights file "
      "says)");
  verb->add_option("--weights", arguments->weights, "Start from this weights file");
  verb->add_option("--method", arguments->method, "Start from this initialization, see kindling init --list");
  verb->add_option("--out", arguments->out, "Write the weights after the last epoch, .safetensors or .npz");
  add_data_options(*verb, arguments->data, "always needed");
  add_train_options(*verb, arguments->train);
  add_objective_options(*verb, arguments->objective);
  add_global_options(*verb, globals);
  verb->callback([verb, arguments, &globals] { run_train(*verb, *arguments, globals); });
}

}  // namespace kindling::tools
