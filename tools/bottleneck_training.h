// kindling train --objective bottleneck and --objective regularized.
#pragma once

#include <kindling/bottleneck.h>
#include <kindling/train_observer.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/options.h"

namespace kindling::tools {

struct ObjectiveArguments {
  std::string objective = "cross-entropy";
  std::string product = "second-batch";
  std::string estimator = "aa-mine";
  double alpha = 1, beta = 0, gamma = 1e-3;  // beta's default depends on the objective
  std::int64_t iterations = 5000;
  std::int64_t trace_every = 100;
  BottleneckOptions bottleneck;
  std::string results;
  std::string plane;
  std::vector<std::int64_t> plane_at{0, 10, 30, 100, 300, 1000, 3000, 10000};
  std::int64_t plane_updates = 1000;
};
void add_objective_options(CLI::App& verb, ObjectiveArguments& arguments);
/// Throws Error{usage} for an unknown objective and for options that it does not have.
void check_objective(const CLI::App& verb, const ObjectiveArguments& arguments);
[[nodiscard]] inline bool is_bottleneck(const ObjectiveArguments& a) { return a.objective != "cross-entropy"; }

/// Trains by one of the two; `run` tells what the training starts from. Returns its line of results, from the results
/// file where it stands there unless the weights are wanted.
nlohmann::json train_objective(const CLI::App& verb, const ObjectiveArguments& arguments, const TrainArguments& train,
                               Model& model, const Dataset& data, nlohmann::json run, bool weights_wanted,
                               const Context& context);
/// Writes the information plane of cross-entropy training: a JSON line for each layer at each chosen step.
TrainObserver plane_observer(const CLI::App& verb, const ObjectiveArguments& arguments, const Dataset& data,
                             const Context& context);
std::string objective_text(const nlohmann::json& line);

}  // namespace kindling::tools
