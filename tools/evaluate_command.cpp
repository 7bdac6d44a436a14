// `kindling evaluate`: experiments that judge initializations by more than one training run, a file each.
#include "tools/evaluate_command.h"

#include "tools/commands.h"

namespace kindling::tools {

void add_evaluate_command(CLI::App& program, GlobalOptions& globals) {
  CLI::App* verb = program.add_subcommand("evaluate", "Judge methods by an experiment: binary-tasks or teacher");
  verb->require_subcommand(1);
  add_binary_tasks_command(*verb, globals);
  add_teacher_command(*verb, globals);
}

}  // namespace kindling::tools
