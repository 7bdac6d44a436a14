#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/methods.h>
#include <kindling/model.h>
#include <kindling/targets.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/atomic_file.h"
#include "tools/commands.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/text_table.h"

namespace kindling::tools {
namespace {

struct InitArguments {
  std::string model;
  std::string method;
  std::string out;
  std::string npz;
  std::string report;
  bool list = false;
  DataArguments data;
};

void require(bool given, const std::string& option, const std::string& what) {
  if (!given) throw Error(ErrorCode::usage, fmt::format("init needs {} ({}), found none", option, what));
}

nlohmann::json catalogue_json() {
  nlohmann::json list = nlohmann::json::array();
  for (const MethodInfo& info : method_catalogue()) {
    nlohmann::json options = nlohmann::json::object();
    for (const auto& [name, description] : info.options) options[name] = description;
    list.push_back(
        {{"name", info.name}, {"summary", info.summary}, {"needs_data", info.needs_data}, {"options", options}});
  }
  return list;
}

void write_text(const std::string& path, const std::string& text) {
  io::AtomicFile file(path);
  file.write(text);
  file.commit();
}

void run_init(const InitArguments& arguments, const GlobalOptions& globals) {
  if (arguments.list) {
    print_out(globals.json ? catalogue_json().dump(2) + "\n" : method_list());
    return;
  }
  require(!arguments.model.empty(), "--model", "784-256-100-10 or 3x32x32:conv16,pool2,10");
  require(!arguments.method.empty(), "--method", "see kindling init --list");
  require(!arguments.out.empty() || !arguments.npz.empty(), "--out or --npz", "a file for the weights");
  Model model = Model::parse(arguments.model);
  const MethodSpec spec = MethodSpec::parse(arguments.method);
  if (method_info(spec.name).needs_data && arguments.data.spec.empty()) {
    throw Error(ErrorCode::usage, fmt::format("method {} looks at data: name a data set (--data)", spec.name));
  }
  if (!arguments.out.empty()) check_weights_path(arguments.out);
  if (!arguments.npz.empty()) check_weights_path(arguments.npz);
  if (!arguments.report.empty()) check_writable(arguments.report);

  ProgressPrinter printer(globals.quiet, ProgressPrinter::Lines::every);
  Context context = globals.context();
  context.progress = [&](const Progress& p) { printer.show(p); };
  std::optional<Dataset> data;
  if (!arguments.data.spec.empty()) {
    data = load(arguments.data, context);
    check_fits(model, data->train.features, method_info(spec.name).needs_labels ? data->classes : 0);
  }
  const nlohmann::json report = nlohmann::json::parse(initialize(model, spec, data ? &*data : nullptr, context));
  context.check_stop();
  printer.clear();

  std::string written;
  for (const std::string& path : {arguments.out, arguments.npz}) {
    if (path.empty()) continue;
    save_weights(model, path);
    written += (written.empty() ? "" : ", ") + path;
  }
  const nlohmann::json result = {
      {"verb", "init"},
      {"version", version()},
      {"model", model.description()},
      {"parameters", model.parameters()},
      {"method", spec.text()},
      {"seed", globals.seed},
      {"data", data ? nlohmann::json(data->name) : nlohmann::json(nullptr)},
      {"report", report},
      {"out", arguments.out.empty() ? nlohmann::json(nullptr) : nlohmann::json(arguments.out)},
      {"npz", arguments.npz.empty() ? nlohmann::json(nullptr) : nlohmann::json(arguments.npz)}};
  if (!arguments.report.empty()) write_text(arguments.report, result.dump(2) + "\n");
  if (globals.json) {
    print_out(result.dump(2) + "\n");
    return;
  }
  print_out(fmt::format("{}: {} parameters, initialized by {}, seed {}, in {}\n\n{}\nwritten: {}\n",
                        model.description(), model.parameters(), spec.text(), globals.seed,
                        duration_text(report.value("seconds", 0.0)), report_text(report), written));
}

}  // namespace

std::string method_list() {
  std::string text = "A method is named with its options: ibci:law=he,k=3\n";
  for (const MethodInfo& info : method_catalogue()) {
    text += fmt::format("\n{}{}\n  {}\n", info.name, info.needs_data ? "  (needs --data)" : "", info.summary);
    for (const auto& [name, description] : info.options) text += fmt::format("    {:<15} {}\n", name, description);
  }
  return text;
}

void add_init_command(CLI::App& program, GlobalOptions& globals) {
  CLI::App* verb =
      program.add_subcommand("init", "Initialize a network and write its weights and a report of what was done");
  auto arguments = std::make_shared<InitArguments>();
  verb->add_option("--model", arguments->model,
                   "Layer widths, 784-256-100-10[:tanh], or modules, 3x32x32:conv16,bn,pool2,512,10");
  verb->add_option("--method", arguments->method,
                   "Method with options: xavier, he, lsuv:base=he, ibci:law=he,k=3 ...; see --list");
  verb->add_option("--out", arguments->out, "Weights file, .safetensors or .npz");
  verb->add_option("--npz", arguments->npz, "A second weights file, for NumPy");
  verb->add_option("--report", arguments->report, "Report as JSON, with the lists per neuron");
  verb->add_flag("--list", arguments->list, "List the methods with their options and end");
  add_data_options(*verb, arguments->data, "for methods that look at data");
  add_global_options(*verb, globals);
  verb->callback([arguments, &globals] { run_init(*arguments, globals); });
}

}  // namespace kindling::tools
