#include "tools/number_lists.h"

#include <fmt/format.h>
#include <kindling/error.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

namespace kindling::tools {
namespace {

constexpr std::size_t most_numbers = 100'000;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

double read_number(const std::string& option, const std::string& all, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    throw Error(ErrorCode::usage, fmt::format("{}: expected numbers as 0.5,1,2 or first:last:step, found '{}' in '{}'",
                                              option, text, all));
  }
  return value;
}

}  // namespace

std::vector<double> read_numbers(const std::string& option, const std::string& text) {
  std::vector<double> numbers;
  for (const std::string_view part : split(text, ',')) {
    const std::vector<std::string_view> range = split(part, ':');
    if (range.size() == 1) {
      numbers.push_back(read_number(option, text, part));
      continue;
    }
    if (range.size() != 3)
      throw Error(ErrorCode::usage, fmt::format("{}: a range is first:last:step, found '{}'", option, part));
    const double first = read_number(option, text, range[0]), last = read_number(option, text, range[1]),
                 step = read_number(option, text, range[2]);
    const double steps = std::floor((last - first) / step + 1e-9);
    if (step == 0 || !(steps >= 0)) {
      throw Error(ErrorCode::usage,
                  fmt::format("{}: steps of {} do not lead from {} to {}", option, step, first, last));
    }
    if (steps + static_cast<double>(numbers.size()) >= static_cast<double>(most_numbers))
      throw Error(ErrorCode::usage, fmt::format("{}: '{}' are more than {} numbers", option, text, most_numbers));
    // Numbers as a person would write them: 2.3, not 2.3000000000000003.
    for (int i = 0; i <= static_cast<int>(steps); ++i) numbers.push_back(std::round((first + i * step) * 1e12) / 1e12);
  }
  return numbers;
}

std::vector<int> read_integers(const std::string& option, const std::string& text) {
  std::vector<int> numbers;
  for (const double v : read_numbers(option, text)) {
    if (v != std::floor(v) || std::abs(v) > std::numeric_limits<int>::max())
      throw Error(ErrorCode::usage, fmt::format("{}: expected whole numbers, found {}", option, v));
    numbers.push_back(static_cast<int>(v));
  }
  return numbers;
}

}  // namespace kindling::tools
