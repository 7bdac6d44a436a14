// Which kernels were called: tells a test which compiled form a wrapper chose.
#pragma once

#include <cstdint>
#include <string_view>

namespace kindling::kernels {

/// Calls of a kernel by this process so far, on any target; 0 for a kernel that was not compiled.
std::int64_t kernel_calls(std::string_view kernel);

}  // namespace kindling::kernels
