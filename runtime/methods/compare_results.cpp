#include "methods/compare_results.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <kindling/error.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <span>
#include <system_error>

namespace kindling {
namespace {

using nlohmann::json;

constexpr int results_format = 1;
constexpr std::string_view line_start = "{\"";

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
  run.resumed = true;
  return run;
}

// Several processes may append to one file; each line goes in whole.
class FileLock {
 public:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {
    while (::flock(descriptor_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock() { (void)::flock(descriptor_, LOCK_UN); }

 private:
  int descriptor_;
};

}  // namespace

RunSettings run_settings(const Dataset& data, const TrainOptions& options) {
  return {data_settings(data), train_settings(options)};
}

ResultsFile::ResultsFile(std::string path, RunSettings settings)
    : path_(std::move(path)), settings_(std::move(settings)) {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("cannot open the results file", errno);
  struct stat status {};
  regular_ = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  try {
    if (regular_) read();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

ResultsFile::~ResultsFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void ResultsFile::fail(const std::string& what, int error) const {
  throw Error(ErrorCode::file, fmt::format("{} '{}': {}", what, path_, std::generic_category().message(error)));
}

void ResultsFile::read() {
  const FileLock lock(descriptor_);
  std::string content;
  std::string part(std::size_t{1} << 16U, '\0');
  off_t offset = 0;
  while (true) {
    const ssize_t got = ::pread(descriptor_, part.data(), part.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("cannot read the results file", errno);
    if (got == 0) break;
    content.append(part.data(), static_cast<std::size_t>(got));
    offset += got;
  }
  std::size_t number = 0;
  std::size_t start = 0;
  for (std::size_t end = content.find('\n'); end != std::string::npos; end = content.find('\n', start)) {
    read_line(std::string_view(content).substr(start, end - start), ++number);
    start = end + 1;
  }
  if (start == content.size()) return;
  // Every line is written at once with its end, so a line without one was cut off by a crash. A file without a single
  // whole line may be somebody else's.
  if (start == 0 && !content.starts_with(line_start)) {
    throw Error(ErrorCode::bad_input, fmt::format("'{}' is not a results file: a line of JSON expected", path_));
  }
  notes_.push_back(fmt::format("line {} of '{}' was cut off while it was written ({} bytes); that run is repeated",
                               number + 1, path_, content.size() - start));
  if (::ftruncate(descriptor_, static_cast<off_t>(start)) != 0) fail("cannot drop the cut last line of", errno);
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
  const std::string line = to_json(run, settings_).dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  const FileLock lock(descriptor_);
  struct stat before {};
  if (::fstat(descriptor_, &before) != 0) fail("cannot write the results file", errno);
  std::size_t done = 0;
  int error = 0;
  while (done < line.size() && error == 0) {
    const ssize_t written = ::write(descriptor_, line.data() + done, line.size() - done);
    if (written >= 0) done += static_cast<std::size_t>(written);
    if (written < 0 && errno != EINTR) error = errno;
  }
  if (error == 0 && regular_ && ::fsync(descriptor_) != 0) error = errno;
  if (error == 0) return;
  if (regular_ && ::ftruncate(descriptor_, before.st_size) != 0) {
    fail(fmt::format("a write failed ({}) and its part could not be taken back from",
                     std::generic_category().message(error)),
         errno);
  }
  fail("cannot write the results file", error);
}

}  // namespace kindling
