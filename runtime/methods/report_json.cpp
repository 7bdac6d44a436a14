#include "methods/report_json.h"

#include <cmath>

namespace kindling {

using nlohmann::json;

namespace {

// A layer that was left alone has its name and the reason, nothing else.
json skipped_layer(const std::string& layer, const std::string& why) { return {{"layer", layer}, {"skipped", why}}; }

}  // namespace

json to_json(const BaselineReport& report) {
  json layers = json::array();
  for (const LayerReport& l : report.layers) {
    if (!l.skipped.empty()) {
      layers.push_back(skipped_layer(l.layer, l.skipped));
      continue;
    }
    layers.push_back({{"layer", l.layer}, {"weight_stddev", l.weight_stddev}, {"law_stddev", l.weight_target}});
  }
  return {{"seconds", report.seconds}, {"layers", layers}};
}

json to_json(const LsuvReport& report) {
  json layers = json::array();
  for (const LsuvLayerReport& l : report.layers) {
    if (!l.skipped.empty()) {
      layers.push_back(skipped_layer(l.layer, l.skipped));
      continue;
    }
    layers.push_back({{"layer", l.layer},
                      {"variance_before", l.variance_before},
                      {"variance_after", l.variance_after},
                      {"iterations", l.iterations},
                      {"converged", l.converged}});
  }
  return {{"seconds", report.seconds}, {"layers", layers}};
}

json to_json(const JacobianReport& report) {
  json layers = json::array();
  for (const JacobianLayerReport& l : report.layers) {
    if (!l.skipped.empty()) {
      layers.push_back(skipped_layer(l.layer, l.skipped));
      continue;
    }
    json entry = {{"layer", l.layer},
                  {"weight_stddev", l.weight_stddev},
                  {"norm_least", l.norm_least},
                  {"norm_greatest", l.norm_greatest}};
    if (report.simulated) {
      entry.update({{"norm_before", l.norm_before},
                    {"norm_after", l.norm_after},
                    {"iterations", l.iterations},
                    {"converged", l.converged}});
    } else {
      entry["norm"] = l.norm_after;
    }
    layers.push_back(std::move(entry));
  }
  return {{"seconds", report.seconds}, {"simulated", report.simulated}, {"layers", layers}};
}

json to_json(const IbciReport& report) {
  json layers = json::array();
  for (const IbciLayerReport& l : report.layers) {
    if (!l.skipped.empty()) {
      layers.push_back(skipped_layer(l.layer, l.skipped));
      continue;
    }
    json entry = {{"layer", l.layer},
                  {"candidates", l.candidates},
                  {"chosen", l.chosen},
                  {"weight_stddev", l.weight_stddev},
                  {"law_stddev", l.law_stddev}};
    // A control selects nothing and reports no selection.
    if (!l.selected.empty()) {
      entry.update(
          {{"alpha", l.alpha},
           {"rounds", l.rounds},
           {"selected", l.selected},
           {"selected_score", l.selected_score},
           {"residual_ratio", l.residual_ratio},
           {"mean_score", {{"chosen", l.mean_score_chosen}, {"refused", l.mean_score_refused}}},
           {"input_criterion", {{"chosen", l.input_criterion_chosen}, {"refused", l.input_criterion_refused}}},
           {"target_criterion", {{"chosen", l.target_criterion_chosen}, {"refused", l.target_criterion_refused}}},
           {"outputs_cached", l.cached},
           {"seconds",
            {{"moments", l.seconds_moments},
             {"selection", l.seconds_selection},
             {"propagation", l.seconds_propagation}}}});
    }
    layers.push_back(std::move(entry));
  }
  return {{"seconds", report.seconds}, {"layers", layers}};
}

json to_json(const CorrelatedReport& report) {
  json layers = json::array();
  for (const CorrelatedLayerReport& l : report.layers) {
    if (!l.skipped.empty()) {
      layers.push_back(skipped_layer(l.layer, l.skipped));
      continue;
    }
    json entry = {{"layer", l.layer},
                  {"weight_variance", l.weight_variance},
                  {"weight_stddev", l.weight_stddev},
                  {"law_stddev", l.law_stddev},
                  {"correlation", l.correlation},
                  {"law_correlation", l.law_correlation},
                  {"bias_stddev", l.bias_stddev},
                  {"length_factor", l.length_factor}};
    if (!l.note.empty()) entry["note"] = l.note;
    layers.push_back(std::move(entry));
  }
  return {{"seconds", report.seconds}, {"layers", layers}};
}

json to_json(const AlphaSearchReport& report) {
  return {{"alphas", report.alphas}, {"validation_errors", report.validation_errors}, {"best", report.best}};
}

json to_json(const BottleneckReport& report) {
  const auto number = [](double value) { return std::isfinite(value) ? json(value) : json(nullptr); };
  json layers = json::array(), trace = json::array();
  for (const BottleneckLayerReport& l : report.layers) {
    layers.push_back({{"layer", l.layer},
                      {"beta", l.beta},
                      {"warmup_updates", l.warmup_updates},
                      {"iterations", l.iterations},
                      {"target_nats", number(l.target_nats)},
                      {"input_nats", number(l.input_nats)},
                      {"restarts", l.restarts},
                      {"outputs_cached", l.cached},
                      {"weight_mean", l.weight_mean},
                      {"weight_stddev", l.weight_stddev}});
  }
  for (const BottleneckPoint& p : report.trace) {
    trace.push_back({{"layer", p.layer},
                     {"step", p.iteration},
                     {"target_nats", number(p.target_nats)},
                     {"input_nats", number(p.input_nats)}});
  }
  return {{"seconds", report.seconds},
          {"layers", layers},
          {"trace", trace},
          {"post_loss", number(report.post_loss)},
          {"resumed", report.resumed}};
}

json to_json(const MmdReport& report) {
  const auto terms = [](const MmdTerms& t) {
    return json{{"uniformity", t.uniformity}, {"softmax", t.softmax}, {"detachment", t.detachment}, {"total", t.total}};
  };
  json curve = json::array();
  for (const MmdRecord& r : report.curve) {
    json record = terms(r.terms);
    record["step"] = r.step;
    curve.push_back(record);
  }
  json layers = json::array();
  for (const auto& [layer, moved] : report.movement) layers.push_back({{"layer", layer}, {"moved", moved}});
  return {{"seconds", report.seconds},  {"layers", layers},
          {"steps", report.steps},      {"stopped", report.stopped},
          {"resumed", report.resumed},  {"best_step", report.best_step},
          {"best", terms(report.best)}, {"curve", curve}};
}

void add_device(json& report, const kernels::Target& target, const kernels::DeviceLog& log) {
  if (!target.gpu) return;
  report["device"] = {{"target", target.name},
                      {"bytes_to_device", log.bytes_to_device},
                      {"bytes_to_host", log.bytes_to_host},
                      {"host_steps", log.host_steps}};
}

json to_json(const MmdControlReport& report) {
  json learned = to_json(report.learned), layers = json::array();
  for (const auto& [layer, scale] : report.weight_scale) layers.push_back({{"layer", layer}, {"weight_scale", scale}});
  return {{"seconds", report.learned.seconds},
          {"layers", layers},
          {"jacobian_mismatch", report.jacobian_mismatch},
          {"learned", learned}};
}

}  // namespace kindling
