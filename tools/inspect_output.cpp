#include "tools/inspect_output.h"

#include <fmt/format.h>

#include <cmath>

#include "tools/text_table.h"

namespace kindling::tools {
namespace {

using nlohmann::json;

std::string number(double value) { return fmt::format("{:.4g}", value); }

// Infinity has no place in JSON: null, as nlohmann writes NaN too.
json finite(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

std::string phase_text(const PhasePoint& p) {
  const std::string length = p.length.kind == FixedPointKind::finite ? "" : ", length " + to_string(p.length.kind);
  return to_string(p.phase) + length;
}

json to_json(const ExtremeEigenvalues& e) {
  return {{"largest", e.largest},   {"largest_residual", e.largest_residual},
          {"smallest", e.smallest}, {"smallest_residual", e.smallest_residual},
          {"products", e.products}, {"converged", e.converged},
          {"norm", e.norm()}};
}

json to_json(const PhasePoint& p) {
  return {{"phase", to_string(p.phase)},
          {"length", {{"kind", to_string(p.length.kind)}, {"value", finite(p.length.value)}}},
          {"correlation", finite(p.correlation.value)},
          {"chi", finite(p.chi)},
          {"correlation_slope", finite(p.correlation_slope)},
          {"length_depth", finite(p.length_depth)},
          {"correlation_depth", finite(p.correlation_depth)}};
}

std::string eigenvalue(double value, double residual) { return fmt::format("{:.4g} ± {:.1g}", value, residual); }

}  // namespace

json to_json(const Inspection& inspection) {
  json layers = json::array();
  for (const LayerInspection& l : inspection.layers) {
    json entry = {{"layer", l.layer},
                  {"kind", l.kind},
                  {"units", l.units},
                  {"fan_in", l.fan_in},
                  {"weight_mean", l.weight_mean},
                  {"weight_variance", l.weight_variance},
                  {"bias_variance", l.bias_variance},
                  {"k", finite(l.k)},
                  {"k_error", finite(l.k_error)},
                  {"singular_values", l.singular_values},
                  {"independent_norm", l.independent_norm},
                  {"stable_rank", l.stable_rank},
                  {"activity", nullptr},
                  {"phase", l.phase ? to_json(*l.phase) : json(nullptr)},
                  {"findings", l.findings}};
    if (l.activity) {
      entry["activity"] = {{"samples", l.activity->samples},
                           {"dead", l.activity->dead},
                           {"mean_slope", l.activity->mean_slope},
                           {"output_mean_square", l.activity->output_mean_square}};
    }
    layers.push_back(std::move(entry));
  }
  return {{"layers", layers},
          {"signal_depth", finite(inspection.signal_depth)},
          {"depth", inspection.depth},
          {"findings", inspection.findings}};
}

json to_json(const CurvatureReport& report) {
  json layers = json::array();
  for (const LayerCurvature& l : report.layers) {
    layers.push_back({{"layer", l.layer},
                      {"jacobian_norm", l.jacobian_norm},
                      {"hessian", to_json(l.hessian)},
                      {"gauss_newton_norm", l.gauss_newton_norm},
                      {"bound", l.bound},
                      {"bound_at_layer", l.bound_at_layer},
                      {"factorization_error", l.factorization_error},
                      {"guaranteed_step", finite(l.guaranteed_step)},
                      {"stability_limit", finite(l.stability_limit)}});
  }
  return {{"loss", report.loss},
          {"gradient_norm", report.gradient_norm},
          {"layers", layers},
          {"whole", report.whole.products > 0 ? to_json(report.whole) : json(nullptr)}};
}

std::string inspection_text(const Inspection& inspection) {
  TextTable table(
      {"layer", "units x fan-in", "σ_w²", "σ_b²", "k", "‖W‖", "independent", "dead", "slope", "χ", "ξ", "phase"});
  table.align_left(11);
  std::string findings;
  for (const LayerInspection& l : inspection.layers) {
    std::vector<std::string> cells{l.layer,
                                   fmt::format("{} x {}", l.units, l.fan_in),
                                   number(l.weight_variance),
                                   number(l.bias_variance),
                                   std::isnan(l.k) ? "-" : fmt::format("{:.2g} ± {:.1g}", l.k, l.k_error),
                                   number(l.singular_values[0]),
                                   number(l.independent_norm)};
    cells.push_back(l.activity ? std::to_string(l.activity->dead) : "-");
    cells.push_back(l.activity ? number(l.activity->mean_slope) : "-");
    cells.push_back(l.phase ? number(l.phase->chi) : "-");
    cells.push_back(l.phase ? number(l.phase->correlation_depth) : "-");
    cells.push_back(l.phase ? phase_text(*l.phase) : "-");
    table.add(std::move(cells));
    for (const std::string& f : l.findings) findings += f + "\n";
  }
  for (const std::string& f : inspection.findings) findings += f + "\n";
  const std::string legend =
      "σ_w²: variance of the weights times fan-in; k: correlation of a row; ‖W‖: largest singular value, beside that "
      "of "
      "independent\nweights; dead: units that are 0 on all samples; slope: mean f'; χ: growth of small differences, "
      "squared, a layer; ξ: layers\nafter which the correlation of two inputs has settled by a factor e.\n";
  return table.text() + "\n" + legend + "\n" + (findings.empty() ? "Nothing stands out.\n" : findings);
}

std::string curvature_text(const CurvatureReport& report) {
  TextTable table(
      {"layer", "‖J‖", "λ max", "λ min", "Theorem 1", "bound", "bound at layer", "eq. 5 off by", "1/λ", "2/λ"});
  for (const LayerCurvature& l : report.layers) {
    table.add({l.layer, number(l.jacobian_norm), eigenvalue(l.hessian.largest, l.hessian.largest_residual),
               eigenvalue(l.hessian.smallest, l.hessian.smallest_residual), number(l.gauss_newton_norm),
               number(l.bound), number(l.bound_at_layer), number(l.factorization_error), number(l.guaranteed_step),
               number(l.stability_limit)});
  }
  std::string text = fmt::format("loss {:.4g}, gradient {:.4g}\n\n{}", report.loss, report.gradient_norm, table.text());
  for (const LayerCurvature& l : report.layers) {
    if (!l.hessian.converged) {
      text += fmt::format("{}: Lanczos had not settled after {} products; ± says how far it may be off\n", l.layer,
                          l.hessian.products);
    }
  }
  if (report.whole.products > 0) {
    const double top = report.whole.largest;
    text += fmt::format("\nall parameters together: λ max {}, λ min {}", eigenvalue(top, report.whole.largest_residual),
                        eigenvalue(report.whole.smallest, report.whole.smallest_residual));
    if (top > 0) text += fmt::format("; guaranteed step {:.4g}, unstable beyond {:.4g}", 1 / top, 2 / top);
    text += "\n";
  }
  return text +
         "\n‖J‖: mean spectral norm of the layer's Jacobian; λ: ends of the spectrum of the loss's Hessian along the "
         "layer's weights;\nTheorem 1: the same without second derivatives of the outputs; bound: Theorem 2, from the "
         "norms of all layers, and with the\nlayer's own input; 1/λ: best guaranteed step, 2/λ: limit of "
         "stability.\n";
}

}  // namespace kindling::tools
