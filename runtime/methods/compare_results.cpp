#include "methods/compare_results.h"

#include <fmt/format.h>
#include <kindling/error.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>

namespace kindling {
namespace {

using nlohmann::json;

constexpr int results_format = 1;

// FNV-1a over 64-bit words; it tells data sets apart, it does not guard against an adversary.
class Fingerprint {
 public:
  template <class T>
  void add(std::span<const T> values) {
    add_word(values.size());
    const auto bytes = std::as_bytes(values);
    for (std::size_t i = 0; i < bytes.size(); i += sizeof(std::uint64_t)) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + i, std::min(sizeof(word), bytes.size() - i));
      add_word(word);
    }
  }
  void add(const Samples& split) {
    add_word(static_cast<std::uint64_t>(split.count));
    add(std::span<const std::uint8_t>(split.bytes));
    add(std::span<const float>(split.floats));
    add(std::span<const std::int32_t>(split.labels));
  }
  [[nodiscard]] std::string text() const { return fmt::format("{:016x}", hash_); }

 private:
  void add_word(std::uint64_t word) {
    hash_ = (hash_ ^ word) * 0x100000001B3U;
    hash_ ^= hash_ >> 32U;
  }
  std::uint64_t hash_ = 0xCBF29CE484222325U;
};

json data_settings(const Dataset& data) {
  Fingerprint fingerprint;
  for (const Samples* split : {&data.train, &data.validation, &data.test}) fingerprint.add(*split);
  fingerprint.add(std::span<const float>(data.mean));
  fingerprint.add(std::span<const float>(data.inverse_std));
  return {{"name", data.name},
          {"classes", data.classes},
          {"features", data.train.features},
          {"train", data.train.count},
          {"validation", data.validation.count},
          {"test", data.test.count},
          {"fingerprint", fingerprint.text()}};
}

json train_settings(const TrainOptions& options) {
  const OptimizerOptions& o = options.optimizer;
  json settings = {{"epochs", options.epochs},
                   {"batch", options.batch},
                   {"optimizer", to_string(o.kind)},
                   {"learning_rate", o.learning_rate},
                   {"weight_decay", o.weight_decay}};
  if (o.kind == OptimizerKind::momentum) settings["momentum"] = o.momentum;
  if (o.kind == OptimizerKind::adam) settings.update({{"beta1", o.beta1}, {"beta2", o.beta2}, {"epsilon", o.epsilon}});
  return settings;
}

// One list for each quantity; JSON has no NaN, null stands for it.
json epoch_lists(const std::vector<EpochRecord>& epochs) {
  json lists = {{"train_loss", json::array()},
                {"validation_loss", json::array()},
                {"validation_error", json::array()},
                {"test_loss", json::array()},
                {"test_error", json::array()}};
  for (const EpochRecord& e : epochs) {
    lists["train_loss"].push_back(e.train_loss);
    lists["validation_loss"].push_back(e.validation_loss);
    lists["validation_error"].push_back(e.validation_error);
    lists["test_loss"].push_back(e.test_loss);
    lists["test_error"].push_back(e.test_error);
  }
  return lists;
}

std::vector<EpochRecord> epochs_from(const json& lists) {
  const std::size_t count = lists.at("test_error").size();
  const auto value = [&](const char* name, std::size_t i) {
    const json& v = lists.at(name).at(i);
    return v.is_null() ? std::numeric_limits<double>::quiet_NaN() : v.get<double>();
  };
  std::vector<EpochRecord> epochs;
  for (std::size_t i = 0; i < count; ++i) {
    epochs.push_back({.epoch = static_cast<int>(i),
                      .train_loss = value("train_loss", i),
                      .validation_loss = value("validation_loss", i),
                      .validation_error = value("validation_error", i),
                      .test_loss = value("test_loss", i),
                      .test_error = value("test_error", i)});
  }
  return epochs;
}

json to_json(const CompareRun& run, const RunSettings& settings) {
  const ResultSummary summary = summarize(run.training);
  json line = {{"format", results_format},
               {"model", run.model},
               {"method", run.method},
               {"seed", run.seed},
               {"data", settings.data},
               {"train", settings.train},
               {"init_seconds", run.init_seconds},
               {"init", run.init_report.empty() ? json(nullptr) : json::parse(run.init_report)},
               {"train_seconds", run.training.seconds},
               {"steps", run.training.steps},
               {"target", run.target},
               {"version", run.version}};
  if (!run.failure.empty()) {
    line["failure"] = run.failure;
    return line;
  }
  line["epochs"] = epoch_lists(run.training.epochs);
  if (!run.train_errors.empty()) line["train_errors"] = run.train_errors;
  line["summary"] = {{"min_test_error", summary.min_test_error},
                     {"min_test_epoch", summary.min_test_epoch},
                     {"chosen_test_error", summary.chosen_test_error},
                     {"chosen_epoch", summary.chosen_epoch},
                     {"final_test_error", summary.final_test_error}};
  return line;
}

CompareRun run_from(const json& line) {
  CompareRun run;
  run.model = line.at("model");
  run.method = line.at("method");
  run.seed = line.at("seed");
  run.init_seconds = line.at("init_seconds");
  if (!line.at("init").is_null()) run.init_report = line.at("init").dump();
  run.training.seconds = line.at("train_seconds");
  run.training.steps = line.at("steps");
  run.target = line.at("target");
  run.version = line.at("version");
  run.failure = line.value("failure", "");
  if (run.failure.empty()) run.training.epochs = epochs_from(line.at("epochs"));
  run.train_errors = line.value("train_errors", std::vector<double>());
  run.resumed = true;
  return run;
}

}  // namespace

RunSettings run_settings(const Dataset& data, const CompareOptions& options) {
  json train = train_settings(options.train);
  if (!options.curve_at.empty()) train["curve_at"] = options.curve_at;
  return {data_settings(data), train};
}

ResultsFile::ResultsFile(std::string path, RunSettings settings)
    : path_(std::move(path)),
      settings_(std::move(settings)),
      file_(path_, [this](std::string_view line, std::size_t number) { read_line(line, number); }) {
  if (!file_.cut().empty()) notes_.push_back(file_.cut());
}

void ResultsFile::read_line(std::string_view line, std::size_t number) {
  try {
    const json parsed = json::parse(line);
    const int format = parsed.at("format");
    if (format != results_format) {
      throw Error(ErrorCode::bad_input, fmt::format("line {} of the results file '{}': format {} expected, found {}",
                                                    number, path_, results_format, format));
    }
    if (parsed.at("data").at("fingerprint") != settings_.data.at("fingerprint") ||
        parsed.at("train") != settings_.train)
      return;
    runs_.push_back(run_from(parsed));
  } catch (const json::exception& error) {
    throw Error(ErrorCode::bad_input,
                fmt::format("line {} of the results file '{}' is not a finished run: {}", number, path_, error.what()));
  }
}

std::optional<CompareRun> ResultsFile::find(const std::string& model, const std::string& method,
                                            std::uint64_t seed) const {
  for (const CompareRun& run : runs_) {
    if (run.model == model && run.method == method && run.seed == seed) return run;
  }
  return std::nullopt;
}

void ResultsFile::append(const CompareRun& run) {
  // Messages may hold file names in any encoding.
  file_.append(to_json(run, settings_).dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace kindling
