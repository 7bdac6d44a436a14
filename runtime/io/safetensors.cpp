#include "io/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <kindling/error.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

namespace kindling::io {
namespace {

using nlohmann::json;

constexpr std::uint64_t largest_header = 100'000'000;  // the limit of the format's own library

struct TypeInfo {
  std::uint64_t bytes;
  std::optional<ElementType> readable;
};

const std::map<std::string, TypeInfo, std::less<>>& type_table() {
  static const std::map<std::string, TypeInfo, std::less<>> table = {
      {"U8", {1, ElementType::u8}},     {"I8", {1, ElementType::i8}},   {"U16", {2, ElementType::u16}},
      {"I16", {2, ElementType::i16}},   {"U32", {4, ElementType::u32}}, {"I32", {4, ElementType::i32}},
      {"U64", {8, ElementType::u64}},   {"I64", {8, ElementType::i64}}, {"F16", {2, ElementType::f16}},
      {"BF16", {2, ElementType::bf16}}, {"F32", {4, ElementType::f32}}, {"F64", {8, ElementType::f64}},
      {"BOOL", {1, std::nullopt}},      {"F8_E4M3", {1, std::nullopt}}, {"F8_E5M2", {1, std::nullopt}},
  };
  return table;
}

/// A number that JSON wrote as a non-negative integer below 2^63.
std::optional<std::uint64_t> extent_of(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto n = value.get<std::uint64_t>();
  if (n > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
  return n;
}

/// a * b, or nothing when it does not fit 63 bits.
std::optional<std::uint64_t> product(std::uint64_t a, std::uint64_t b) {
  if (b != 0 && a > static_cast<std::uint64_t>(INT64_MAX) / b) return std::nullopt;
  return a * b;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path) {
  const auto source = open_file(path);
  const std::uint64_t bytes = source->most();
  std::array<std::byte, 8> prefix{};
  if (source->read(prefix) < prefix.size())
    fail(fmt::format("8 bytes of header length expected, found a file of {} bytes", bytes));
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | std::to_integer<std::uint64_t>(prefix[i]);
  if (length > bytes - prefix.size()) {
    fail(fmt::format("a header of {} bytes is announced, found {} bytes after the length", length,
                     bytes - prefix.size()));
  }
  if (length > largest_header)
    fail(fmt::format("a header of {} bytes at most expected, found {}", largest_header, length));
  std::string header(length, '\0');
  if (source->read(std::as_writable_bytes(std::span(header))) < length) fail("the file was cut while it was read");
  if (header.empty() || header.front() != '{') fail("a header that begins with '{' expected");
  data_offset_ = prefix.size() + length;
  parse_header(header, bytes - data_offset_);
}

void SafetensorsFile::parse_header(const std::string& text, std::uint64_t data_bytes) {
  // The parser keeps the last of several equal keys without a word, which two readers may see differently.
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > 3) fail("the header is nested too deeply");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      fail(fmt::format("key '{}' is given twice in the header", parsed.get<std::string>()));
    }
    return true;
  };
  json header;
  try {
    header = json::parse(text, watch);
  } catch (const json::exception& error) {
    fail(fmt::format("the header is not JSON: {}", error.what()));
  }
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) fail("'__metadata__' is not an object");
      for (const auto& [key, note] : value.items()) {
        if (!note.is_string()) fail(fmt::format("the value of '{}' in '__metadata__' is not a string", key));
        metadata_[key] = note.get<std::string>();
      }
      continue;
    }
    const std::string tensor = fmt::format("tensor '{}': ", name);
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
        !value.contains("data_offsets")) {
      fail(tensor + "an object with dtype, shape and data_offsets, and nothing else, expected");
    }
    if (!value["dtype"].is_string() || !value["shape"].is_array() || !value["data_offsets"].is_array()) {
      fail(tensor + "a string dtype and arrays shape and data_offsets expected");
    }
    Entry entry;
    entry.type = value["dtype"].get<std::string>();
    const auto type = type_table().find(entry.type);
    if (type == type_table().end()) fail(tensor + fmt::format("unknown dtype '{}'", entry.type));
    std::optional<std::uint64_t> size = type->second.bytes;
    bool empty = false;
    for (const json& extent : value["shape"]) {
      const auto n = extent_of(extent);
      if (!n) fail(tensor + fmt::format("extents are integers from 0 to 2^63 - 1, found {}", extent.dump()));
      entry.shape.push_back(static_cast<std::int64_t>(*n));
      empty = empty || *n == 0;
      if (size && *n != 0) size = product(*size, *n);
    }
    if (!size) fail(tensor + fmt::format("a shape of {} overflows", fmt::join(entry.shape, " x ")));
    if (empty) size = 0;
    const json& offsets = value["data_offsets"];
    const auto offset = [&](std::size_t which) {
      const auto n = offsets.size() == 2 ? extent_of(offsets[which]) : std::nullopt;
      if (!n) fail(tensor + fmt::format("two ascending data_offsets expected, found {}", offsets.dump()));
      return *n;
    };
    entry.begin = offset(0);
    entry.end = offset(1);
    if (entry.begin > entry.end)
      fail(tensor + fmt::format("two ascending data_offsets expected, found {}", offsets.dump()));
    if (entry.end > data_bytes) {
      fail(tensor + fmt::format("its data end at byte {} of a data section of {} bytes", entry.end, data_bytes));
    }
    if (entry.end - entry.begin != *size) {
      fail(tensor + fmt::format("{} of {} takes {} bytes, its data_offsets span {}", fmt::join(entry.shape, " x "),
                                entry.type, *size, entry.end - entry.begin));
    }
    entries_.emplace(name, std::move(entry));
  }

  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const auto& [name, entry] : entries_) ranges.emplace_back(entry.begin, entry.end);
  std::ranges::sort(ranges);
  std::uint64_t covered = 0;
  for (const auto& [begin, end] : ranges) {
    if (begin != covered) {
      fail(fmt::format("the tensors' data {} at byte {} of the data section: one begins at {}",
                       begin < covered ? "overlap" : "leave a gap", covered, begin));
    }
    covered = end;
  }
  if (covered != data_bytes)
    fail(fmt::format("the tensors take {} bytes of data, found {} (trailing bytes)", covered, data_bytes));
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

PendingArray SafetensorsFile::open(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail(fmt::format("a tensor '{}' expected, found none of that name", name));
  const Entry& entry = found->second;
  const auto type = type_table().at(entry.type).readable;
  if (!type) fail(fmt::format("tensor '{}': a dtype of numbers expected, found {}", name, entry.type));
  PendingArray array;
  array.where = fmt::format("'{}', tensor '{}'", path_.string(), name);
  array.shape = entry.shape;
  array.type = *type;
  array.source = open_file(path_, data_offset_ + entry.begin, entry.end - entry.begin);
  return array;
}

void SafetensorsFile::fail(const std::string& what) const {
  throw Error(ErrorCode::bad_input, fmt::format("'{}': not a sound safetensors file: {}", path_.string(), what));
}

}  // namespace kindling::io
