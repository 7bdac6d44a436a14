// numpy's .npz: a zip archive whose members are .npy arrays (numpy.lib.format, versions 1.0 to 3.0).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/array.h"

namespace kindling::io {

/// A numpy archive, stored or deflated. Arrays go by their member name without ".npy". Throws Error{file} when it
/// cannot be read, Error{bad_input} for anything that is no such archive.
class NpzFile {
 public:
  explicit NpzFile(const std::filesystem::path& path);

  [[nodiscard]] const std::string& comment() const { return comment_; }
  /// Sorted.
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool contains(const std::string& name) const { return members_.contains(name); }
  /// The array of that name, its header read. Throws Error{bad_input} when there is none, or it holds no numbers.
  [[nodiscard]] PendingArray open(const std::string& name) const;

 private:
  std::filesystem::path path_;
  std::string comment_;
  std::map<std::string, std::uint64_t> members_;  // array name -> number in the archive
};

/// Whether the file begins as a zip archive does. Throws Error{file} when it cannot be read.
bool is_zip(const std::filesystem::path& path);

}  // namespace kindling::io
