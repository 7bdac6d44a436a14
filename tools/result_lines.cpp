#include "tools/result_lines.h"

#include <fmt/format.h>
#include <kindling/error.h>

namespace kindling::tools {

ResultLines::ResultLines(const std::string& path) {
  if (path.empty()) return;
  file_.emplace(path, [&](std::string_view line, std::size_t number) {
    nlohmann::json parsed = nlohmann::json::parse(line, nullptr, false);
    if (!parsed.is_object() || !parsed.contains("run"))
      throw Error(ErrorCode::bad_input, fmt::format("'{}': line {} is no result of this program", path, number));
    lines_.push_back(std::move(parsed));
  });
}

const nlohmann::json* ResultLines::find(const nlohmann::json& run) const {
  for (const nlohmann::json& line : lines_)
    if (line["run"] == run) return &line;
  return nullptr;
}

void ResultLines::add(const nlohmann::json& line) {
  lines_.push_back(line);
  if (file_) file_->append(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace kindling::tools
