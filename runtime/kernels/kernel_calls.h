// Which kernels were called, and for how long: tells a test which compiled form a wrapper chose, and a benchmark what
// the kernels of one kind take.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace kindling::kernels {

/// Calls of a kernel by this process so far, on any target; 0 for a kernel that was not compiled.
std::int64_t kernel_calls(std::string_view kernel);

/// While it lives, times the kernels that its thread calls, checks of arguments left out. A device's kernels may run on
/// after their call.
class KernelTimes {
 public:
  KernelTimes();
  KernelTimes(const KernelTimes&) = delete;
  KernelTimes& operator=(const KernelTimes&) = delete;
  ~KernelTimes();

  std::map<std::string, double, std::less<>> seconds;  ///< by kernel

 private:
  KernelTimes* outer_;
};

}  // namespace kindling::kernels
