// A file of finished results, a JSON object a line, from which a program that was stopped goes on.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace kindling::tools {

class ResultLines {
 public:
  /// Reads what is there; an empty path: nothing is read or kept. Throws Error{bad_input} with the line for anything
  /// but JSON objects, Error{file}. A last line that a crash cut off is dropped.
  explicit ResultLines(std::string path);

  /// The first line whose value of "run" equals `run`, or nullptr.
  [[nodiscard]] const nlohmann::json* find(const nlohmann::json& run) const;
  /// Appends a line; the file is replaced atomically.
  void add(const nlohmann::json& line);

 private:
  std::string path_;
  std::string text_;
  std::vector<nlohmann::json> lines_;
};

}  // namespace kindling::tools
