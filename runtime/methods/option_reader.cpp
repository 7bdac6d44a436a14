#include "methods/option_reader.h"

#include <fmt/format.h>
#include <kindling/error.h>

#include <charconv>
#include <cmath>
#include <string_view>

namespace kindling {
namespace {

bool parse_number(std::string_view text, double& value) {
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  return status == std::errc() && end == text.data() + text.size() && std::isfinite(value);
}

}  // namespace

const std::string* OptionReader::find(const std::string& name) {
  asked_.insert(name);
  const auto found = options_.find(name);
  return found == options_.end() ? nullptr : &found->second;
}

void OptionReader::fail(const std::string& name, const std::string& expected, const std::string& found) const {
  throw Error(ErrorCode::usage,
              fmt::format("method {}: option {}: expected {}, found '{}'", method_, name, expected, found));
}

double OptionReader::number(const std::string& name, double fallback) {
  const std::string* text = find(name);
  if (text == nullptr) return fallback;
  double value = 0;
  if (!parse_number(*text, value)) fail(name, "a number", *text);
  return value;
}

std::int64_t OptionReader::integer(const std::string& name, std::int64_t fallback) {
  const std::string* text = find(name);
  if (text == nullptr) return fallback;
  std::int32_t value = 0;
  const auto [end, status] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (status != std::errc() || end != text->data() + text->size()) fail(name, "an integer", *text);
  return value;
}

bool OptionReader::flag(const std::string& name, bool fallback) {
  return choice<bool>(name, fallback, {{"true", true}, {"false", false}});
}

std::string OptionReader::text(const std::string& name, const std::string& fallback) {
  const std::string* found = find(name);
  return found == nullptr ? fallback : *found;
}

std::vector<double> OptionReader::numbers(const std::string& name, const std::vector<double>& fallback) {
  const std::string* text = find(name);
  if (text == nullptr) return fallback;
  std::vector<double> values;
  std::string_view rest = *text;
  while (true) {
    const std::size_t slash = rest.find('/');
    double value = 0;
    if (!parse_number(rest.substr(0, slash), value)) fail(name, "numbers joined by '/'", *text);
    values.push_back(value);
    if (slash == std::string_view::npos) return values;
    rest.remove_prefix(slash + 1);
  }
}

void OptionReader::finish() const {
  for (const auto& [name, value] : options_) {
    if (asked_.contains(name)) continue;
    std::string known;
    for (const std::string& option : asked_) known += (known.empty() ? "" : ", ") + option;
    throw Error(ErrorCode::usage, fmt::format("method {}: unknown option '{}'; it has {}", method_, name,
                                              known.empty() ? "none" : known));
  }
}

}  // namespace kindling
