// A file of JSON lines that grows by whole lines.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kindling::io {

/// Opens or creates the file; lines() are those it holds. A last line without its end, cut off by a crash, is dropped
/// (from the file too) if there are whole lines before it or it starts with '{'. Throws Error{file}, and
/// Error{bad_input} for other content that is not lines.
class JsonLines {
 public:
  explicit JsonLines(const std::string& path);
  JsonLines(const JsonLines&) = delete;
  JsonLines& operator=(const JsonLines&) = delete;
  ~JsonLines();

  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
  [[nodiscard]] bool cut() const { return cut_; }
  /// Appends a line and flushes it to the disk; on failure the file is as before. Other processes may append too.
  void append(std::string_view line);

 private:
  [[noreturn]] void fail(const char* what) const;

  std::string path_;
  int descriptor_ = -1;
  bool regular_ = false, cut_ = false;
  std::vector<std::string> lines_;
};

}  // namespace kindling::io
