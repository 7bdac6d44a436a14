// Tables for people.
#pragma once

#include <string>
#include <vector>

namespace kindling::tools {

/// Columns as wide as their widest cell, the first one left-aligned, the others right-aligned.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) : rows_{{std::move(header), false}} {}
  /// As many cells as the header has.
  void add(std::vector<std::string> cells);
  /// A line of text between the rows, for a group of them.
  void add_title(std::string text) { rows_.push_back({{std::move(text)}, true}); }
  /// Left-aligns another column.
  void align_left(std::size_t column) { left_.push_back(column); }
  [[nodiscard]] std::string text() const;

 private:
  struct Row {
    std::vector<std::string> cells;
    bool title;
  };
  std::vector<Row> rows_;
  std::vector<std::size_t> left_{0};
};

/// "12.3 s", "4:05 min", "2:10 h"
std::string duration_text(double seconds);

}  // namespace kindling::tools
