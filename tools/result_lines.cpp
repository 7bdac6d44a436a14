#include "tools/result_lines.h"

#include <fmt/format.h>
#include <kindling/error.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "io/atomic_file.h"

namespace kindling::tools {

ResultLines::ResultLines(std::string path) : path_(std::move(path)) {
  if (path_.empty() || !std::filesystem::exists(path_)) return;
  std::ifstream file(path_, std::ios::binary);
  text_.assign(std::istreambuf_iterator<char>(file), {});
  if (!file) throw Error(ErrorCode::file, fmt::format("cannot read '{}'", path_));
  text_.erase(text_.rfind('\n') == std::string::npos ? 0 : text_.rfind('\n') + 1);
  std::istringstream stream(text_);
  int number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    nlohmann::json parsed = nlohmann::json::parse(line, nullptr, false);
    if (!parsed.is_object() || !parsed.contains("run"))
      throw Error(ErrorCode::bad_input, fmt::format("'{}': line {} is no result of this program", path_, number));
    lines_.push_back(std::move(parsed));
  }
}

const nlohmann::json* ResultLines::find(const nlohmann::json& run) const {
  for (const nlohmann::json& line : lines_)
    if (line["run"] == run) return &line;
  return nullptr;
}

void ResultLines::add(const nlohmann::json& line) {
  lines_.push_back(line);
  if (path_.empty()) return;
  text_ += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  io::AtomicFile file(path_);
  file.write(std::string_view(text_));
  file.commit();
}

}  // namespace kindling::tools
