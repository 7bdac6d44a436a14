// What a verb prints in the end.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tools/options.h"

namespace kindling::tools {

/// Writes a verb's results to standard output: as JSON with --json, else the text. Where the verb ran on a device, both
/// say which (`device` of the JSON), how much was copied to it and back, and what the host did.
void print_result(const GlobalOptions& globals, nlohmann::json result, const std::string& text);

}  // namespace kindling::tools
