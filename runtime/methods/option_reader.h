// Typed access to the options of a MethodSpec; whatever is not asked for is unknown.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace kindling {

class OptionReader {
 public:
  OptionReader(std::string method, const std::map<std::string, std::string>& options)
      : method_(std::move(method)), options_(options) {}

  /// Each returns `fallback` when the option is absent and throws Error{usage} when its text does not parse.
  double number(const std::string& name, double fallback);
  std::int64_t integer(const std::string& name, std::int64_t fallback);
  bool flag(const std::string& name, bool fallback);
  std::string text(const std::string& name, const std::string& fallback);
  /// Numbers joined by '/'.
  std::vector<double> numbers(const std::string& name, const std::vector<double>& fallback);
  /// One of the named values.
  template <class T>
  T choice(const std::string& name, T fallback, const std::vector<std::pair<std::string, T>>& values) {
    const std::string* found = find(name);
    if (found == nullptr) return fallback;
    std::string known;
    for (const auto& [text, value] : values) {
      if (text == *found) return value;
      known += (known.empty() ? "" : ", ") + text;
    }
    fail(name, "one of " + known, *found);
  }
  /// Throws Error{usage} for the first option that nobody asked for, listing those that exist.
  void finish() const;

 private:
  const std::string* find(const std::string& name);
  [[noreturn]] void fail(const std::string& name, const std::string& expected, const std::string& found) const;

  std::string method_;
  const std::map<std::string, std::string>& options_;
  std::set<std::string> asked_;
};

}  // namespace kindling
