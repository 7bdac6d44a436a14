// A file of finished results, a JSON object a line, from which a program that was stopped goes on.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/json_lines.h"

namespace kindling::tools {

class ResultLines {
 public:
  /// Reads what is there; an empty path: nothing is read or kept. Throws Error{bad_input} with the line for anything
  /// but results, Error{file}. A last line that a crash cut off is dropped.
  explicit ResultLines(const std::string& path);

  /// The first line whose value of "run" equals `run`, or nullptr.
  [[nodiscard]] const nlohmann::json* find(const nlohmann::json& run) const;
  /// Appends a line and flushes it to the disk.
  void add(const nlohmann::json& line);

 private:
  std::vector<nlohmann::json> lines_;
  std::optional<io::JsonLines> file_;
};

}  // namespace kindling::tools
