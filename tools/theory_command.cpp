// `kindling theory`: what mean-field theory says of a law of weights, and what random networks do.
#include "tools/theory_command.h"

#include "tools/commands.h"

namespace kindling::tools {

void add_theory_command(CLI::App& program, GlobalOptions& globals) {
  CLI::App* verb = program.add_subcommand(
      "theory", "How signals fare in random networks: phase diagrams by mean-field theory, simulations beside it");
  verb->require_subcommand(1);
  add_phase_diagram_command(*verb, globals);
  add_propagate_command(*verb, globals);
}

}  // namespace kindling::tools
