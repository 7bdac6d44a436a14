// Options of the verbs that train critics of mutual information.
#pragma once

#include <kindling/information.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>

namespace kindling::tools {

/// Options of the critic alone: --critic-widths, --critic-lr ...
void add_critic_options(CLI::App& verb, CriticOptions& critic);
nlohmann::json to_json(const CriticOptions& critic);

struct EstimateArguments {
  InformationOptions options;
  std::string product = "second-batch";
};
/// Adds the critic's options and those of an estimate; defaults are those in `arguments`.
void add_estimate_options(CLI::App& verb, EstimateArguments& arguments);
InformationOptions estimate_options(const EstimateArguments& arguments);
nlohmann::json to_json(const InformationOptions& options);
nlohmann::json to_json(const InformationEstimate& estimate);

}  // namespace kindling::tools
