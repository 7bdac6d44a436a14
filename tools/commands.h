// The verbs. Each function adds its verb to the program; the callback does the work and throws kindling::Error.
#pragma once

#include <CLI/CLI.hpp>

#include "tools/options.h"

namespace kindling::tools {

void add_init_command(CLI::App& program, GlobalOptions& globals);
void add_train_command(CLI::App& program, GlobalOptions& globals);
void add_compare_command(CLI::App& program, GlobalOptions& globals);
void add_information_command(CLI::App& program, GlobalOptions& globals);
void add_evaluate_command(CLI::App& program, GlobalOptions& globals);
void add_theory_command(CLI::App& program, GlobalOptions& globals);
void add_inspect_command(CLI::App& program, GlobalOptions& globals);
void add_targets_command(CLI::App& program, GlobalOptions& globals);

/// The catalogue of methods with their options, for people.
std::string method_list();

}  // namespace kindling::tools
