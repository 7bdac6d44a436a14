// Runs the kernel tests on the target that KINDLING_TARGET names. A target that cannot run here is reported as skipped
// (exit code 77), unless KINDLING_REQUIRE_TARGETS lists it.
#define CATCH_CONFIG_RUNNER
#include <cstdlib>
#include <iostream>
#include <string>

#include "kernels/dispatch.h"
#include "support/catch.h"

int main(int argc, char** argv) {
  const char* name = std::getenv("KINDLING_TARGET");
  if (name != nullptr) {
    for (const auto& target : kindling::kernels::targets()) {
      if (target.name != name || target.runnable) continue;
      const char* required = std::getenv("KINDLING_REQUIRE_TARGETS");
      const bool must =
          required != nullptr && (" " + std::string(required) + " ").find(" " + target.name + " ") != std::string::npos;
      std::cout << (must ? "FAILED: " : "skipped: ") << target.name << ": " << target.reason << '\n';
      return must ? 1 : 77;
    }
  }
  return Catch::Session().run(argc, argv);
}
