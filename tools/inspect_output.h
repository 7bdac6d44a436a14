// What `kindling inspect` found, for machines and for people.
#pragma once

#include <kindling/curvature.h>
#include <kindling/inspect.h>

#include <nlohmann/json.hpp>
#include <string>

namespace kindling::tools {

nlohmann::json to_json(const Inspection& inspection);
nlohmann::json to_json(const CurvatureReport& report);

/// The table of the layers and, below, what is wrong with them, or that nothing stands out.
std::string inspection_text(const Inspection& inspection);
std::string curvature_text(const CurvatureReport& report);

}  // namespace kindling::tools
