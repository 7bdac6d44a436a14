#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace kindling::tools {

/// A method's report (see kindling::initialize) as a table with a row a layer; lists per neuron are left to the JSON.
std::string report_text(const nlohmann::json& report);

/// Of a run on a device: what was copied, and what the host did (`device` of a report).
std::string device_text(const nlohmann::json& device);

}  // namespace kindling::tools
