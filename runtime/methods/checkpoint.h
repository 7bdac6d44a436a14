// A long training's file: written now and then, read at the start if it is there.
#pragma once

#include <kindling/bottleneck.h>

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "nn/state_archive.h"

namespace kindling {

class Checkpoint {
 public:
  using Archive = std::function<void(StateArchive&)>;

  /// `training` says all that decides the result: with another text the file is that of another training.
  Checkpoint(CheckpointOptions options, const nlohmann::json& training);

  /// What the file holds, if it is there. Throws Error{bad_input} for the file of another training.
  [[nodiscard]] std::optional<Weights> load() const;
  [[nodiscard]] const std::string& path() const { return options_.path; }
  /// Writes when it is time, and on a stop request, which then throws Error{interrupted}.
  void pass(const Context& context, const Archive& archive);
  void write(const Archive& archive);

 private:
  CheckpointOptions options_;
  std::string training_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// Everything of a model that training changes.
void archive_model(StateArchive& archive, const std::string& prefix, Model& model);
/// What every checkpoint's training has to tell: start, data, seed, target.
nlohmann::json training_identity(const Model& model, const Dataset& data, const Context& context);
nlohmann::json to_json(const InformationTermOptions& options);

}  // namespace kindling
