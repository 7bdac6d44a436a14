#include "tools/report_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "tools/text_table.h"

namespace kindling::tools {
namespace {

using nlohmann::json;

// Columns in the order a reader wants them; those that a later method adds follow in the order of their names.
constexpr std::string_view first_columns[] = {
    "layer",           "candidates",       "chosen",          "alpha",          "rounds",    "mean_score",
    "input_criterion", "target_criterion", "variance_before", "variance_after", "norm",      "norm_before",
    "norm_after",      "norm_least",       "norm_greatest",   "iterations",     "converged", "weight_stddev",
    "law_stddev",      "outputs_cached",   "seconds"};

std::string cell(const json& value) {
  if (value.is_null()) return "nan";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_integer()) return std::to_string(value.get<std::int64_t>());
  if (value.is_number()) return fmt::format("{:.4g}", value.get<double>());
  if (value.is_object() && value.contains("chosen") && value.contains("refused")) {
    return cell(value["chosen"]) + " / " + cell(value["refused"]);
  }
  // The parts of a sum, such as the seconds of a layer; the JSON report tells them apart.
  double sum = 0;
  for (const json& part : value) sum += part.is_number() ? part.get<double>() : 0.0;
  return fmt::format("{:.3g}", sum);
}

// The heading of a column; two-part cells say what their parts are.
std::string heading(const std::string& name, const json& value) {
  std::string text = name;
  std::replace(text.begin(), text.end(), '_', ' ');
  const bool pair = value.is_object() && value.contains("chosen") && value.contains("refused");
  return pair ? text + " (chosen / refused)" : text;
}

std::vector<std::string> columns_of(const json& layers) {
  std::vector<std::string> names;
  for (const json& layer : layers) {
    for (const auto& [name, value] : layer.items()) {
      const bool known = std::find(names.begin(), names.end(), name) != names.end();
      if (!known && !value.is_array() && name != "skipped") names.push_back(name);
    }
  }
  std::stable_sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    const auto rank = [](const std::string& n) {
      return std::find(std::begin(first_columns), std::end(first_columns), n);
    };
    return rank(a) < rank(b);
  });
  return names;
}

}  // namespace

std::string device_text(const json& device) {
  const auto megabytes = [&](const char* name) { return device.value(name, 0.0) / 1e6; };
  std::string text = fmt::format("on {}: {:.3g} MB copied to the device, {:.3g} MB back\n", device.value("target", "?"),
                                 megabytes("bytes_to_device"), megabytes("bytes_to_host"));
  for (const json& step : device["host_steps"]) text += fmt::format("  on the host: {}\n", step.get<std::string>());
  return text;
}

std::string report_text(const json& report) {
  const json layers = report.value("layers", json::array());
  const std::vector<std::string> columns = columns_of(layers);
  const std::string device = report.contains("device") ? device_text(report["device"]) : "";
  if (columns.empty()) return device;
  std::vector<std::string> header;
  for (const std::string& name : columns) {
    json sample;
    for (const json& layer : layers) {
      if (layer.contains(name)) sample = layer[name];
    }
    header.push_back(heading(name, sample));
  }
  TextTable table(header);
  for (const json& layer : layers) {
    if (layer.contains("skipped")) {
      table.add_title(fmt::format("{}  skipped: {}", layer.value("layer", "?"), layer["skipped"].get<std::string>()));
      continue;
    }
    std::vector<std::string> cells;
    for (const std::string& name : columns) cells.push_back(layer.contains(name) ? cell(layer[name]) : "-");
    table.add(std::move(cells));
  }
  return table.text() + device;
}

}  // namespace kindling::tools
