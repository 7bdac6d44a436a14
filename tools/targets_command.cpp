#include <fmt/format.h>
#include <kindling/targets.h>

#include <nlohmann/json.hpp>

#include "tools/commands.h"
#include "tools/text_table.h"

namespace kindling::tools {
namespace {

std::string targets_json(const std::vector<TargetInfo>& targets) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  nlohmann::ordered_json chosen;
  for (const TargetInfo& t : targets) {
    rows.push_back({{"name", t.name},
                    {"halide_target", t.halide_target},
                    {"gpu", t.gpu},
                    {"kernels", t.kernels},
                    {"runnable", t.runs_here},
                    {"reason", t.reason},
                    {"device", t.device},
                    {"chosen", t.chosen}});
    if (t.chosen) chosen = {{"name", t.name}, {"because", t.chosen_because}};
  }
  const nlohmann::ordered_json all = {{"version", version()}, {"targets", rows}, {"chosen", chosen}};
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string targets_text(const std::vector<TargetInfo>& targets) {
  TextTable table({"target", "kernels", "runs here", "device", "why", "compiled for"});
  for (const std::size_t column : {2, 3, 4, 5}) table.align_left(column);
  std::string choice;
  for (const TargetInfo& t : targets) {
    table.add({(t.chosen ? "* " : "  ") + t.name, std::to_string(t.kernels), t.runs_here ? "yes" : "no",
               t.device.empty() ? "-" : t.device, t.reason, t.halide_target});
    if (t.chosen) choice = fmt::format("* chosen: {}, {}\n", t.name, t.chosen_because);
  }
  return table.text() + choice;
}

}  // namespace

void add_targets_command(CLI::App& program, GlobalOptions& globals) {
  CLI::App* verb = program.add_subcommand(
      "targets", "Hardware targets: what was compiled, what can run here, what is chosen and why");
  add_global_options(*verb, globals);
  verb->callback([&globals] {
    const std::vector<TargetInfo> targets = list_targets(globals.context());
    print_out(globals.json ? targets_json(targets) : targets_text(targets));
  });
}

}  // namespace kindling::tools
