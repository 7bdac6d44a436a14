// The default mode: every contestant as a row of Google Benchmark.
#pragma once

#include <string>
#include <vector>

#include "support.h"

namespace kindling::bench {

/// Registers all rows and the machine's limits (`peak/...`, `bandwidth/...`) and runs those that the flags select. A
/// wrong answer, or a peer that was not built, is a row with an error; the former makes the result 1.
int run_google_benchmark(const char* program, const std::vector<std::string>& flags, const Registry& registry,
                         const Settings& settings);

}  // namespace kindling::bench
