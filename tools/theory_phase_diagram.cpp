#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/mean_field.h>
#include <kindling/targets.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "kernels/device_log.h"
#include "tools/number_lists.h"
#include "tools/print_result.h"
#include "tools/text_table.h"
#include "tools/theory_command.h"

namespace kindling::tools {
namespace {

using nlohmann::json;

struct Arguments {
  std::string activation = "relu";
  std::string weight_variances = "0.5:4:0.25";
  std::string bias_variances = "0,0.1";
  double k = 0;
  FixedPointOptions iteration;
};

json number(double v) { return std::isfinite(v) ? json(v) : json(nullptr); }

json to_json(const MeanFieldLaw& law, const PhasePoint& p) {
  return {{"weight_variance", law.weight_variance},
          {"bias_variance", law.bias_variance},
          {"length",
           {{"kind", to_string(p.length.kind)},
            {"value", number(p.length.value)},
            {"slope", number(p.length.slope)},
            {"depth", number(p.length_depth)}}},
          {"correlation",
           {{"kind", to_string(p.correlation.kind)},
            {"value", number(p.correlation.value)},
            {"slope", number(p.correlation.slope)},
            {"depth", number(p.correlation_depth)}}},
          {"chi", number(p.chi)},
          {"correlation_slope_at_1", number(p.correlation_slope)},
          {"phase", to_string(p.phase)}};
}

std::string cell(double v) { return std::isnan(v) ? "-" : std::isinf(v) ? "inf" : fmt::format("{:.4g}", v); }

std::string length_cell(const FixedPoint& p) {
  return p.kind == FixedPointKind::finite ? cell(p.value) : to_string(p.kind);
}

void run(const Arguments& arguments, const GlobalOptions& globals) {
  const Nonlinearity f = parse_nonlinearity(arguments.activation);
  const std::vector<double> weights = read_numbers("--weight-variance", arguments.weight_variances);
  const std::vector<double> biases = read_numbers("--bias-variance", arguments.bias_variances);
  const double length_limit = length_boundary(f, arguments.k);
  json points = json::array(), boundaries = json::array();
  TextTable table(
      {"sigma_w^2", "sigma_b^2", "length", "its slope", "correlation", "chi", "slope at 1", "depth", "phase"});
  std::string text;
  for (const double bias : biases) {
    for (const double weight : weights) {
      globals.context().check_stop();
      const MeanFieldLaw law{weight, bias, arguments.k};
      const PhasePoint p = phase_point(f, law, arguments.iteration);
      points.push_back(to_json(law, p));
      table.add({cell(weight), cell(bias), length_cell(p.length), cell(p.length.slope), cell(p.correlation.value),
                 cell(p.chi), cell(p.correlation_slope), cell(p.correlation_depth), to_string(p.phase)});
    }
    const std::optional<double> chaos = order_chaos_boundary(f, bias, arguments.k);
    boundaries.push_back({{"bias_variance", bias}, {"order_chaos", chaos ? json(*chaos) : json(nullptr)}});
    text += fmt::format("sigma_b^2 {:g}: order to chaos at sigma_w^2 = {}\n", bias,
                        chaos ? fmt::format("{:.6g}", *chaos) : "nowhere in [0.01, 100]");
  }
  kernels::on_host("mean-field theory: all of it");
  print_result(globals,
               {{"verb", "theory phase-diagram"},
                {"version", version()},
                {"activation", f.name},
                {"k", arguments.k},
                {"length_boundary", number(length_limit)},
                {"boundaries", boundaries},
                {"points", points}},
               fmt::format("{}, k = {:g}: the length diverges above sigma_w^2 = {}\n{}\n{}\n"
                           "length: fixed point of q; correlation: stable fixed point of c; chi: growth of a small "
                           "perturbation's square; slope at 1: of the\ncorrelation map; depth: layers after which a "
                           "distance from the fixed correlation has changed by a factor e.\n",
                           f.name, arguments.k, cell(length_limit), text, table.text()));
}

}  // namespace

void add_phase_diagram_command(CLI::App& theory, GlobalOptions& globals) {
  CLI::App* verb = theory.add_subcommand(
      "phase-diagram", "Fixed points, stability, depth scales and phase boundaries by mean-field theory");
  auto arguments = std::make_shared<Arguments>();
  verb->add_option("--activation", arguments->activation,
                   "identity, relu, leaky_relu[:slope], tanh, sigmoid, erf, hard_tanh, gelu, silu, elu, selu, softplus")
      ->capture_default_str();
  verb->add_option("--k", arguments->k, "Strength of anti-correlation along a row, above -1; 0: independent weights")
      ->capture_default_str();
  verb->add_option("--weight-variance", arguments->weight_variances,
                   "sigma_w^2: numbers joined by ',' or first:last:step")
      ->capture_default_str();
  verb->add_option("--bias-variance", arguments->bias_variances, "sigma_b^2, likewise")->capture_default_str();
  verb->add_option("--iterations", arguments->iteration.max_iterations, "Most iterations of the length map")
      ->capture_default_str();
  add_global_options(*verb, globals);
  verb->callback([arguments, &globals] { run(*arguments, globals); });
}

}  // namespace kindling::tools
