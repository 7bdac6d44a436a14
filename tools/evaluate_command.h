// The experiments of `kindling evaluate`.
#pragma once

#include <CLI/CLI.hpp>

#include "tools/options.h"

namespace kindling::tools {

void add_teacher_command(CLI::App& evaluate, GlobalOptions& globals);
void add_binary_tasks_command(CLI::App& evaluate, GlobalOptions& globals);

}  // namespace kindling::tools
