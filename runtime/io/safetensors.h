// The safetensors container (https://github.com/huggingface/safetensors): 8 bytes of header length, a JSON header,
// data.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/array.h"

namespace kindling::io {

/// A safetensors file whose header was read and found right: keys given once, known element types, offsets that fit the
/// shapes and cover the data section without gap or overlap, nothing behind it. Anything else is Error{bad_input}: a
/// lenient reader is how such files are abused.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// Sorted.
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool contains(const std::string& name) const { return entries_.contains(name); }
  /// The tensor of that name, ready to be read. Throws Error{bad_input} when there is none, or none that holds numbers
  /// of a type that this library reads (booleans and 8-bit floats are not).
  [[nodiscard]] PendingArray open(const std::string& name) const;

 private:
  struct Entry {
    std::string type;
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0;  // within the data section
    std::uint64_t end = 0;
  };
  void parse_header(const std::string& json, std::uint64_t data_bytes);
  [[noreturn]] void fail(const std::string& what) const;

  std::filesystem::path path_;
  std::uint64_t data_offset_ = 0;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace kindling::io
