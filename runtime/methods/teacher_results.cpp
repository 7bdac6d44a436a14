#include <fmt/format.h>
#include <kindling/error.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "methods/teacher.h"

namespace kindling {
namespace {

using nlohmann::json;

constexpr int results_format = 1;

json settings_of(const TeacherOptions& o) {
  json settings = {{"experiment", "teacher"},
                   {"depth", o.depth},
                   {"width", o.width},
                   {"samples", o.samples},
                   {"validation", o.validation},
                   {"epochs", o.epochs},
                   {"batch", o.batch},
                   {"optimizer", to_string(o.optimizer.kind)},
                   {"learning_rate", o.optimizer.learning_rate},
                   {"weight_decay", o.optimizer.weight_decay}};
  if (o.optimizer.kind == OptimizerKind::momentum) settings["momentum"] = o.optimizer.momentum;
  if (o.optimizer.kind == OptimizerKind::adam)
    settings.update({{"beta1", o.optimizer.beta1}, {"beta2", o.optimizer.beta2}, {"epsilon", o.optimizer.epsilon}});
  return settings;
}

// The epochs of a run that are kept: of a long one every one of the first hundred, some fifty a decade beyond, and
// those that the table shows.
std::vector<std::size_t> kept_epochs(std::size_t last, int epochs) {
  std::vector<std::size_t> kept;
  std::size_t next = 0;
  for (std::size_t e = 0; e <= last; ++e) {
    if (e < next && e != last && e != static_cast<std::size_t>(epochs / 10)) continue;
    kept.push_back(e);
    if (e >= next) next = e + 1 + (e >= 100 ? e / 22 : 0);
  }
  return kept;
}

// JSON has no NaN: null stands for it. Six digits are more than a loss over 1000 samples has.
json rounded(const std::vector<double>& values, const std::vector<std::size_t>& epochs) {
  json list = json::array();
  for (const std::size_t e : epochs) {
    if (e >= values.size()) break;
    list.push_back(json::parse(std::isfinite(values[e]) ? fmt::format("{:.6g}", values[e]) : "null"));
  }
  return list;
}
std::vector<double> numbers(const json& list, const std::vector<std::size_t>& epochs) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> values;
  for (std::size_t i = 0; i < list.size(); ++i) {
    values.resize((epochs.empty() ? i : epochs.at(i)) + 1, nan);
    if (!list[i].is_null()) values.back() = list[i].get<double>();
  }
  return values;
}

}  // namespace

TeacherResults::TeacherResults(const TeacherOptions& options)
    : settings_(settings_of(options).dump()), epochs_(options.epochs) {
  if (options.results.empty()) return;
  file_.emplace(options.results,
                [&](std::string_view line, std::size_t number) { read_line(line, number, options.results); });
}

void TeacherResults::read_line(std::string_view text, std::size_t number, const std::string& path) {
  try {
    const json line = json::parse(text);
    if (line.at("format") != results_format) {
      throw Error(ErrorCode::bad_input, fmt::format("line {} of '{}': format {} expected, found {}", number, path,
                                                    results_format, line.at("format").dump()));
    }
    if (line.at("settings").dump() != settings_) return;
    const auto epochs = line.value("epochs", std::vector<std::size_t>());
    for (const char* list : {"train_loss", "validation_loss", "centred_loss"}) {
      if (!epochs.empty() && line.at(list).size() > epochs.size()) {
        throw Error(ErrorCode::bad_input, fmt::format("line {} of '{}': {} losses of {} epochs in {}", number, path,
                                                      line.at(list).size(), epochs.size(), list));
      }
    }
    runs_.push_back({.task = parse_teacher_task(line.at("task").get<std::string>()),
                     .method = line.at("method"),
                     .seed = line.at("seed"),
                     .train_loss = numbers(line.at("train_loss"), epochs),
                     .validation_loss = numbers(line.at("validation_loss"), epochs),
                     .centred_loss = numbers(line.at("centred_loss"), epochs),
                     .target_variance = line.at("target_variance"),
                     .seconds = line.at("seconds"),
                     .failure = line.value("failure", ""),
                     .resumed = true});
  } catch (const json::exception& error) {
    throw Error(ErrorCode::bad_input,
                fmt::format("line {} of '{}' is not a finished run: {}", number, path, error.what()));
  }
}

std::optional<TeacherRun> TeacherResults::find(TeacherTask task, const std::string& method, std::uint64_t seed) const {
  for (const TeacherRun& run : runs_) {
    if (run.task == task && run.method == method && run.seed == seed) return run;
  }
  return std::nullopt;
}

void TeacherResults::append(const TeacherRun& run) {
  if (!file_) return;
  const std::vector<std::size_t> epochs = kept_epochs(run.validation_loss.size() - 1, epochs_);
  json line = {{"format", results_format},
               {"settings", json::parse(settings_)},
               {"task", to_string(run.task)},
               {"method", run.method},
               {"seed", run.seed},
               {"train_loss", rounded(run.train_loss, epochs)},
               {"validation_loss", rounded(run.validation_loss, epochs)},
               {"centred_loss", rounded(run.centred_loss, epochs)},
               {"target_variance", run.target_variance},
               {"seconds", run.seconds}};
  if (epochs.size() < run.validation_loss.size()) line["epochs"] = epochs;
  if (!run.failure.empty()) line["failure"] = run.failure;
  file_->append(line.dump());
}

}  // namespace kindling
