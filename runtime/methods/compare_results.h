// The results file of a comparison: JSON lines, one finished run each.
#pragma once

#include <kindling/compare.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/json_lines.h"

namespace kindling {

/// What decides a run's result besides model, method and seed. Runs with equal `data` fingerprint and `train` may be
/// taken for each other.
struct RunSettings {
  nlohmann::json data;   // name, sizes, fingerprint of the contents
  nlohmann::json train;  // options that matter for the chosen optimiser, and the steps of the curve if there is one
};
RunSettings run_settings(const Dataset& data, const CompareOptions& options);

class ResultsFile {
 public:
  /// Opens or creates the file and reads its runs. Throws Error{file} and Error{bad_input}.
  ResultsFile(std::string path, RunSettings settings);
  ResultsFile(const ResultsFile&) = delete;
  ResultsFile& operator=(const ResultsFile&) = delete;

  /// The finished run of that name under these settings, if the file holds it.
  [[nodiscard]] std::optional<CompareRun> find(const std::string& model, const std::string& method,
                                               std::uint64_t seed) const;
  /// Appends one line and flushes it to the disk; on failure the file is as before. Not for concurrent use.
  void append(const CompareRun& run);
  /// What was found amiss while reading.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }

 private:
  void read_line(std::string_view line, std::size_t number);

  std::string path_;
  RunSettings settings_;
  std::vector<CompareRun> runs_;
  std::vector<std::string> notes_;
  io::JsonLines file_;  // last: reading fills what stands above
};

}  // namespace kindling
