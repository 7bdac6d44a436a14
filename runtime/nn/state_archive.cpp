#include "nn/state_archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>

#include "kernels/residency.h"

namespace kindling {

void StateWriter::values(const std::string& name, std::span<float> values) {
  kernels::fetch(values);
  state_.tensors.push_back({name, {static_cast<std::int64_t>(values.size())}, {values.begin(), values.end()}});
}

void StateWriter::count(const std::string& name, std::int64_t& value) { state_.metadata[name] = std::to_string(value); }

void StateWriter::number(const std::string& name, double& value) {
  auto bits = std::bit_cast<std::int64_t>(value);
  count(name, bits);
}

const std::string& StateReader::text(const std::string& name) const {
  const auto found = state_.metadata.find(name);
  if (found == state_.metadata.end())
    throw Error(ErrorCode::bad_input, fmt::format("'{}': expected the number '{}', found none", origin_, name));
  return found->second;
}

void StateReader::values(const std::string& name, std::span<float> values) {
  const NamedTensor* found = state_.find(name);
  if (found == nullptr || found->data.size() != values.size()) {
    throw Error(ErrorCode::bad_input,
                fmt::format("'{}': expected '{}' with {} numbers, found {}", origin_, name, values.size(),
                            found == nullptr ? "none" : std::to_string(found->data.size())));
  }
  std::copy(found->data.begin(), found->data.end(), values.begin());
  kernels::changed(values);
}

void StateReader::count(const std::string& name, std::int64_t& value) {
  const std::string& written = text(name);
  const auto [end, error] = std::from_chars(written.data(), written.data() + written.size(), value);
  if (error != std::errc() || end != written.data() + written.size())
    throw Error(ErrorCode::bad_input, fmt::format("'{}': '{}' is '{}', not a whole number", origin_, name, written));
}

void StateReader::number(const std::string& name, double& value) {
  std::int64_t bits = 0;
  count(name, bits);
  value = std::bit_cast<double>(bits);
}

}  // namespace kindling
