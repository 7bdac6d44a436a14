#pragma once

#include <kindling/compare.h>

#include <nlohmann/json.hpp>
#include <string>

namespace kindling::tools {

/// The table and its legend, for people.
std::string comparison_text(const Comparison& comparison, const CompareOptions& options);
/// Everything: table, runs with every epoch, notes.
nlohmann::json comparison_json(const Comparison& comparison, const CompareOptions& options);

}  // namespace kindling::tools
