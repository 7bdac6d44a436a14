#include <fmt/format.h>
#include <kindling/error.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "theory/propagation.h"

namespace kindling {
namespace {

using nlohmann::json;

constexpr int results_format = 1;

json settings_of(const PropagationOptions& o, const Context& context) {
  return {{"experiment", "propagation"},
          {"k", o.law.k},
          {"bias_variance", o.law.bias_variance},
          {"bias_entry", o.law.bias_entry},
          {"beta_entry", o.law.beta_entry},
          {"activation", to_string(o.activation)},
          {"layers", o.layers},
          {"width", o.width},
          {"inputs", o.inputs},
          {"input_correlation", o.input_correlation},
          {"seed", context.seed}};
}

// JSON has no NaN: null stands for it.
std::vector<double> numbers(const json& list) {
  std::vector<double> values;
  for (const json& v : list) values.push_back(v.is_null() ? std::numeric_limits<double>::quiet_NaN() : v.get<double>());
  return values;
}

}  // namespace

PropagationResults::PropagationResults(const PropagationOptions& options, const Context& context)
    : settings_(settings_of(options, context).dump()) {
  if (options.results.empty()) return;
  file_.emplace(options.results,
                [&](std::string_view line, std::size_t number) { read_line(line, number, options.results); });
}

void PropagationResults::read_line(std::string_view text, std::size_t number, const std::string& path) {
  try {
    const json line = json::parse(text);
    if (line.at("format") != results_format) {
      throw Error(ErrorCode::bad_input, fmt::format("line {} of '{}': format {} expected, found {}", number, path,
                                                    results_format, line.at("format").dump()));
    }
    if (line.at("settings").dump() != settings_) return;
    PropagationRun run{.weight_variance = line.at("weight_variance"), .network = line.at("network")};
    const std::vector<int> layers = line.at("settings").at("layers");
    const std::vector<double> length = numbers(line.at("length")), length_stddev = numbers(line.at("length_stddev")),
                              correlation = numbers(line.at("correlation")),
                              correlation_stddev = numbers(line.at("correlation_stddev"));
    for (std::size_t i = 0; i < layers.size(); ++i) {
      run.layers.push_back({layers[i], length.at(i), length_stddev.at(i), correlation.at(i), correlation_stddev.at(i)});
    }
    run.seconds = line.at("seconds");
    run.sampling_seconds = line.at("sampling_seconds");
    run.flops = line.at("flops");
    run.resumed = true;
    runs_.push_back(std::move(run));
  } catch (const std::out_of_range&) {
    throw Error(ErrorCode::bad_input, fmt::format("line {} of '{}': a list is too short", number, path));
  } catch (const json::exception& error) {
    throw Error(ErrorCode::bad_input,
                fmt::format("line {} of '{}' is not a finished network: {}", number, path, error.what()));
  }
}

std::optional<PropagationRun> PropagationResults::find(double weight_variance, int network) const {
  for (const PropagationRun& run : runs_) {
    if (run.weight_variance == weight_variance && run.network == network) return run;
  }
  return std::nullopt;
}

void PropagationResults::append(const PropagationRun& run) {
  if (!file_) return;
  json line = {{"format", results_format},
               {"settings", json::parse(settings_)},
               {"weight_variance", run.weight_variance},
               {"network", run.network},
               {"seconds", run.seconds},
               {"sampling_seconds", run.sampling_seconds},
               {"flops", run.flops}};
  for (const LayerSignal& s : run.layers) {
    line["length"].push_back(s.length);
    line["length_stddev"].push_back(s.length_stddev);
    line["correlation"].push_back(s.correlation);
    line["correlation_stddev"].push_back(s.correlation_stddev);
  }
  file_->append(line.dump());
}

}  // namespace kindling
