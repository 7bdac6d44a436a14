// The targets that kernels were compiled for, and the choice among them.
#pragma once

#include <kindling/context.h>

#include <string>
#include <string_view>
#include <vector>

#include "HalideRuntime.h"

namespace kindling::kernels {

/// A row of cmake/targets.cmake as this process sees it.
struct Target {
  std::string name;           ///< "avx2"
  std::string halide_target;  ///< "x86-64-linux-avx-avx2-..."
  bool gpu = false;
  bool runnable = false;  ///< can run on this machine, now
  std::string reason;     ///< why it can or cannot
  int index = 0;          ///< position in targets()
};

/// All compiled targets, in the order of preference of cmake/targets.cmake (last CPU row that runs is the default).
/// Probed once per process.
const std::vector<Target>& targets();
/// By name; throws Error{usage} for an unknown one and for one that cannot run here, with the reason.
const Target& require_target(std::string_view name);
/// The row for a kind of device: "cpu", the best CPU row that runs here, whatever KINDLING_TARGET says, or "opencl" or
/// "cuda", the row whose kernels such a device runs. Throws Error{usage} for another name, for a build without such a
/// row, and, with what is missing, where it cannot run.
const Target& device_target(std::string_view device);
/// KINDLING_TARGET if set, else the best CPU target that runs here. `why`, if given, gets the reason of the choice.
const Target& default_target(std::string* why = nullptr);
/// Halide's interface to the device of a GPU row; null for a CPU row.
const halide_device_interface_t* device_of(const Target& target);

/// Where and with how many threads kernels run.
struct Execution {
  const Target* target = nullptr;
  int threads = 1;
};
/// Resolves a Context: its target or the default; its thread count, or KINDLING_THREADS if set, or the number
/// of available cores. Throws Error{usage} for a target or a thread count that makes no sense.
Execution execution(const Context& context);

}  // namespace kindling::kernels
