// A file that appears complete or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kindling::io {

/// Writes to a temporary name in the target's folder; commit() flushes it to the disk and renames it over the target.
/// Destroyed before commit(), by an exception or a stop request for instance, it removes the temporary file and leaves
/// the target as it was. A target that is not a regular file (/dev/stdout, a pipe) cannot be replaced and is written
/// directly. A symbolic link stays one: the file behind it is replaced.
///
/// All members throw Error{file} with path and cause. A write beyond RLIMIT_FSIZE is such an error only in a
/// process that ignores SIGXFSZ.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  void write(std::span<const float> values) { write(std::as_bytes(values)); }
  /// Makes the content the target's. Nothing may be written afterwards.
  void commit();

 private:
  void flush();
  void close_and_remove() noexcept;
  [[noreturn]] void fail(const std::string& what, int error) const;

  std::filesystem::path path_;       // as the user named it, for messages
  std::filesystem::path target_;     // with symbolic links resolved
  std::filesystem::path temporary_;  // empty when the target is written directly
  std::vector<std::byte> buffer_;
  int descriptor_ = -1;
};

}  // namespace kindling::io
