// The program `kindling`.
#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/targets.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <sstream>
#include <string>

#include "tools/commands.h"
#include "tools/interrupt.h"

namespace {

using kindling::ErrorCode;

int fail(ErrorCode code, std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  message.erase(message.find_last_not_of(' ') + 1);
  fmt::print(stderr, "kindling: error: {}\n", message);
  return static_cast<int>(code);
}

int run(int argc, char** argv) {
  kindling::tools::GlobalOptions globals;
  globals.stop = kindling::tools::stop_on_signals();
  CLI::App program{"Starts neural networks well: initializes, trains and compares them on compiled kernels.",
                   "kindling"};
  program.set_version_flag("--version", "kindling " + kindling::version());
  program.require_subcommand(0, 1);
  kindling::tools::add_init_command(program, globals);
#if !KINDLING_INIT_ONLY
  kindling::tools::add_train_command(program, globals);
  kindling::tools::add_compare_command(program, globals);
  kindling::tools::add_information_command(program, globals);
  kindling::tools::add_evaluate_command(program, globals);
  kindling::tools::add_theory_command(program, globals);
  kindling::tools::add_inspect_command(program, globals);
  kindling::tools::add_targets_command(program, globals);
#endif
  program.footer(
      "Exit codes: 0 done, 2 usage, 3 bad input, 4 numerical failure, 5 file trouble, 6 kernel or device, 130 "
      "interrupted.");
  try {
    program.parse(argc, argv);
    if (program.get_subcommands().empty()) {
      return fail(ErrorCode::usage,
                  "expected a verb: init, train, compare, information, evaluate, theory, inspect or targets (see "
                  "kindling --help)");
    }
    return 0;
  } catch (const CLI::Success& wish) {  // --help, --version
    std::ostringstream text;
    program.exit(wish, text, text);
    kindling::tools::print_out(text.str());
    return 0;
  } catch (const CLI::ParseError& error) {
    std::string verb;
    for (const CLI::App* chosen : program.get_subcommands()) verb += " " + chosen->get_name();
    return fail(ErrorCode::usage, fmt::format("{} (see kindling{} --help)", error.what(), verb));
  }
}

}  // namespace

int main(int argc, char** argv) {
  // A write beyond the file size limit is an error to report, not a reason to die.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return run(argc, argv);
  } catch (const kindling::Error& error) {
    return fail(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::bad_input, "out of memory");
  } catch (const std::exception& error) {
    return fail(ErrorCode::kernel, fmt::format("unexpected failure: {}", error.what()));
  }
}
