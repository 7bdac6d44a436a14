// What the Halide runtime calls back: errors, memory, parallel loops.
#pragma once

#include <mutex>
#include <string>

namespace kindling::kernels {

/// Passed to every kernel as its user context.
struct CallState {
  int threads = 1;
  std::mutex mutex;
  std::string error;  ///< first message of the call
};

/// Installs the hooks, once per process.
void install_halide_hooks();

}  // namespace kindling::kernels
