// Reports of the methods as JSON.
#pragma once

#include <kindling/bottleneck.h>
#include <kindling/correlated.h>
#include <kindling/ibci.h>
#include <kindling/initialize.h>
#include <kindling/jacobian.h>
#include <kindling/mmd.h>

#include <nlohmann/json.hpp>

namespace kindling {

nlohmann::json to_json(const BaselineReport& report);
nlohmann::json to_json(const LsuvReport& report);
nlohmann::json to_json(const JacobianReport& report);
nlohmann::json to_json(const IbciReport& report);
nlohmann::json to_json(const CorrelatedReport& report);
nlohmann::json to_json(const AlphaSearchReport& report);
nlohmann::json to_json(const BottleneckReport& report);
nlohmann::json to_json(const MmdReport& report);
nlohmann::json to_json(const MmdControlReport& report);

}  // namespace kindling
