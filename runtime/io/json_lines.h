// A file of JSON lines that grows by whole lines, from which a program that was stopped goes on.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace kindling::io {

class JsonLines {
 public:
  /// Takes a whole line, counted from 1, without its end.
  using Reader = std::function<void(std::string_view line, std::size_t number)>;

  /// Opens or creates the file and hands its lines to `read`, which throws for what is not its own: the file then stays
  /// as it is. A last line without its end, cut off by a crash, is dropped. Throws Error{file}, and Error{bad_input}
  /// for a file without a whole line that does not begin like an object.
  JsonLines(std::string path, const Reader& read);
  JsonLines(const JsonLines&) = delete;
  JsonLines& operator=(const JsonLines&) = delete;
  ~JsonLines();

  /// What there is to say of a line that was dropped; empty when there was none.
  [[nodiscard]] const std::string& cut() const { return cut_; }
  /// Appends a line and flushes it to the disk; on failure the file is as before. Several processes may append to one
  /// file; not for concurrent use inside one.
  void append(std::string_view line);

 private:
  void read_all(const Reader& read);
  [[noreturn]] void fail(const std::string& what, int error) const;

  std::string path_;
  int descriptor_ = -1;
  bool regular_ = false;
  std::string cut_;
};

}  // namespace kindling::io
