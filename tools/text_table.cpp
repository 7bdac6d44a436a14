#include "tools/text_table.h"

#include <fmt/format.h>
#include <kindling/error.h>

#include <algorithm>

namespace kindling::tools {
namespace {

// Columns on the screen of UTF-8 text without wide characters: every byte but the continuation bytes.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

void TextTable::add(std::vector<std::string> cells) {
  if (cells.size() != rows_.front().cells.size()) {
    throw Error(ErrorCode::usage,
                fmt::format("a table row needs {} cells, found {}", rows_.front().cells.size(), cells.size()));
  }
  rows_.push_back({std::move(cells), false});
}

std::string TextTable::text() const {
  std::vector<std::size_t> widths(rows_.front().cells.size(), 0);
  for (const Row& row : rows_) {
    if (row.title) continue;
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], width(row.cells[i]));
  }
  std::string result;
  for (const Row& row : rows_) {
    std::string line = row.title ? row.cells.front() : "";
    for (std::size_t i = 0; !row.title && i < widths.size(); ++i) {
      const std::string padding(widths[i] - width(row.cells[i]), ' ');
      const bool left = std::find(left_.begin(), left_.end(), i) != left_.end();
      line += (i == 0 ? "" : "  ") + (left ? row.cells[i] + padding : padding + row.cells[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result += line + "\n";
  }
  return result;
}

std::string duration_text(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<long>(seconds);
  if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02} h", whole / 3600, whole / 60 % 60);
}

}  // namespace kindling::tools
