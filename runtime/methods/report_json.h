// Reports of the methods as JSON.
#pragma once

#include <kindling/bottleneck.h>
#include <kindling/correlated.h>
#include <kindling/ibci.h>
#include <kindling/initialize.h>
#include <kindling/jacobian.h>
#include <kindling/mmd.h>

#include <nlohmann/json.hpp>

#include "kernels/device_log.h"
#include "kernels/dispatch.h"

namespace kindling {

/// Where the work was done on a GPU, `device` of a report: its name, what was copied there and back, and what the host
/// did.
void add_device(nlohmann::json& report, const kernels::Target& target, const kernels::DeviceLog& log);

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
