// What `kindling theory` can be asked, a file each.
#pragma once

#include <CLI/CLI.hpp>

#include "tools/options.h"

namespace kindling::tools {

void add_propagate_command(CLI::App& theory, GlobalOptions& globals);
void add_phase_diagram_command(CLI::App& theory, GlobalOptions& globals);

}  // namespace kindling::tools
