#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/methods.h>
#include <kindling/propagation.h>
#include <kindling/targets.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/number_lists.h"
#include "tools/print_result.h"
#include "tools/progress.h"
#include "tools/text_table.h"
#include "tools/theory_command.h"

namespace kindling::tools {
namespace {

using nlohmann::json;

struct Arguments {
  std::string law = "aci";
  std::string activation = "relu";
  std::string weight_variances;
  std::string layers = "1,2,8,32,128,256,512";
  double k = 0, bias_variance = 0;
  PropagationOptions options;
};

json number(double v) { return std::isfinite(v) ? json(v) : json(nullptr); }
std::string cell(double v) { return std::isnan(v) ? "-" : fmt::format("{:.4g}", v); }

CorrelatedOptions law_of(const CLI::App& verb, const Arguments& arguments) {
  CorrelatedOptions law;
  if (arguments.law == "he") {
    law = {.k = 0, .weight_variance = 2};
  } else if (arguments.law == "aci") {
    law = aci_options();
  } else if (arguments.law == "rai") {
    law = rai_options();
  } else if (arguments.law == "raai") {
    law = raai_options();
  } else {
    throw Error(ErrorCode::usage, fmt::format("--law: expected he, aci, rai or raai, found '{}'", arguments.law));
  }
  if (verb.count("--k") > 0) law.k = arguments.k;
  if (verb.count("--bias-variance") > 0) law.bias_variance = arguments.bias_variance;
  return law;
}

json to_json(const Propagation& propagation, const PropagationOptions& options) {
  json rows = json::array();
  double seconds = 0, sampling = 0, flops = 0;
  for (const PropagationRow& r : propagation.rows) {
    rows.push_back(
        {{"weight_variance", r.weight_variance},
         {"layer", r.layer},
         {"length",
          {{"mean", number(r.length)}, {"stddev", number(r.length_stddev)}, {"theory", number(r.theory_length)}}},
         {"correlation",
          {{"mean", number(r.correlation)},
           {"stddev", number(r.correlation_stddev)},
           {"theory", number(r.theory_correlation)}}}});
  }
  for (const PropagationRun& r : propagation.runs)
    seconds += r.seconds, sampling += r.sampling_seconds, flops += r.flops;
  return {{"verb", "theory propagate"},
          {"version", version()},
          {"k", options.law.k},
          {"bias_variance", options.law.bias_variance},
          {"bias_entry", options.law.bias_entry},
          {"beta_entry", options.law.beta_entry},
          {"activation", to_string(options.activation)},
          {"width", options.width},
          {"inputs", options.inputs},
          {"input_correlation", options.input_correlation},
          {"networks", options.networks},
          {"rows", rows},
          {"seconds", seconds},
          {"sampling_seconds", sampling},
          {"flops", flops},
          {"notes", propagation.notes}};
}

std::string to_text(const Propagation& propagation) {
  TextTable table({"sigma_w^2", "layer", "length", "sd", "theory", "correlation", "sd", "theory"});
  for (const PropagationRow& r : propagation.rows) {
    table.add({cell(r.weight_variance), std::to_string(r.layer), cell(r.length), cell(r.length_stddev),
               cell(r.theory_length), cell(r.correlation), cell(r.correlation_stddev), cell(r.theory_correlation)});
  }
  double seconds = 0, sampling = 0, flops = 0;
  for (const PropagationRun& r : propagation.runs)
    seconds += r.seconds, sampling += r.sampling_seconds, flops += r.flops;
  std::string text = table.text();
  text += fmt::format("\n{} networks in {}, {:.1f} GFLOP/s, {:.1f} % of the time drawing weights; sd: over networks\n",
                      propagation.runs.size(), duration_text(seconds), flops / seconds / 1e9, 100 * sampling / seconds);
  for (const std::string& note : propagation.notes) text += "note: " + note + "\n";
  return text;
}

void run(const CLI::App& verb, const Arguments& arguments, const GlobalOptions& globals) {
  PropagationOptions options = arguments.options;
  options.law = law_of(verb, arguments);
  options.activation = parse_activation(arguments.activation);
  options.layers = read_integers("--layers", arguments.layers);
  options.weight_variances = arguments.weight_variances.empty()
                                 ? std::vector<double>{options.law.weight_variance}
                                 : read_numbers("--weight-variance", arguments.weight_variances);
  ProgressPrinter printer(globals.quiet, ProgressPrinter::Lines::every);
  Context context = globals.context();
  context.progress = [&](const Progress& p) { printer.show(p); };
  const Propagation propagation = simulate_propagation(options, context);
  printer.clear();
  print_result(globals, to_json(propagation, options), to_text(propagation));
}

}  // namespace

void add_propagate_command(CLI::App& theory, GlobalOptions& globals) {
  CLI::App* verb =
      theory.add_subcommand("propagate", "Send signals through random networks: lengths and correlations by depth");
  auto arguments = std::make_shared<Arguments>();
  PropagationOptions& o = arguments->options;
  verb->add_option("--law", arguments->law, "he, aci, rai or raai: what weights and biases are drawn from")
      ->capture_default_str();
  verb->add_option("--k", arguments->k, "Strength of anti-correlation, above -1 (default: the law's)");
  verb->add_option("--weight-variance", arguments->weight_variances,
                   "sigma_w^2: numbers joined by ',' or first:last:step (default: the law's)");
  verb->add_option("--bias-variance", arguments->bias_variance, "sigma_b^2 of independent biases, for he and aci (0)");
  verb->add_option("--activation", arguments->activation, "relu, leaky_relu[:slope], tanh, sigmoid or identity")
      ->capture_default_str();
  verb->add_option("--layers", arguments->layers, "Where signals are looked at")->capture_default_str();
  verb->add_option("--width", o.width, "Units of the inputs and of every layer")->capture_default_str();
  verb->add_option("--inputs", o.inputs, "Signals")->capture_default_str();
  verb->add_option("--input-correlation", o.input_correlation, "Of the two signals of a pair")->capture_default_str();
  verb->add_option("--networks", o.networks, "Random networks a grid value")->capture_default_str();
  verb->add_option("--results", o.results, "Keep every finished network in this file and go on from it");
  add_global_options(*verb, globals);
  verb->callback([verb, arguments, &globals] { run(*verb, *arguments, globals); });
}

}  // namespace kindling::tools
