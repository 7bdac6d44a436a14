#pragma once

#include <string_view>

namespace kindling::kernels {

/// Whether this processor and its operating system offer a feature named in cmake/targets.cmake. An unknown name is
/// never offered.
bool cpu_has(std::string_view feature);

}  // namespace kindling::kernels
