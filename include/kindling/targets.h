#pragma once

#include <kindling/context.h>

#include <string>
#include <string_view>
#include <vector>

namespace kindling {

/// A hardware target that kernels were compiled for, as this process sees it.
struct TargetInfo {
  std::string name;           ///< "avx2"
  std::string halide_target;  ///< what the compiler was asked for: "x86-64-linux-avx-avx2-..."
  bool gpu = false;
  int kernels = 0;         ///< kernels compiled for it
  bool runs_here = false;  ///< can run on this machine, now
  std::string reason;      ///< why it can or cannot
  std::string device;      ///< the processor or device it would run on; empty when it cannot run or the name is unknown
  bool chosen = false;     ///< what operations under the given context use; at most one
  std::string chosen_because;  ///< empty unless chosen
};

/// All compiled targets in order of preference; the best CPU row that runs here comes last among those that run.
/// `context.target` and KINDLING_TARGET decide the choice as they do for every operation. Throws Error{usage} when they
/// name a target that is unknown or cannot run here.
std::vector<TargetInfo> list_targets(const Context& context = {});

/// The target to name in a Context for a kind of device: "cpu", the best CPU row that runs here, whatever
/// KINDLING_TARGET says, or "opencl" or "cuda", the row compiled for such devices. Throws Error{usage} for another
/// name, for a build without such a row, and where it cannot run, with what is missing.
std::string target_for_device(std::string_view device);

/// "0.1.0"
std::string version();

}  // namespace kindling
