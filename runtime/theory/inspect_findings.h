// Plain sentences about what is wrong with a layer or a network.
#pragma once

#include <kindling/inspect.h>

namespace kindling {

std::vector<std::string> layer_findings(const Layer& layer, const Activation& activation, const LayerInspection& entry);
std::vector<std::string> network_findings(const Inspection& inspection);

}  // namespace kindling
