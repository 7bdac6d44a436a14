// kindling-bench: Google Benchmark rows by default, the interleaved comparison with --interleave.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <exception>
#include <regex>
#include <string>
#include <vector>

#include "google_mode.h"
#include "interleave.h"
#include "report.h"
#include "support.h"

namespace kindling::bench {
namespace {

struct Arguments {
  bool interleave = false, json = false, markdown = false, list = false;
  std::string filter = ".", mca;
  int rounds = 9;
  std::vector<std::string> threads{"1", "all"};
  std::vector<std::string> targets;
  std::vector<std::string> merge;
  bool no_peers = false;
};

Settings settings_of(const Arguments& arguments) {
  Settings settings;
  for (const std::string& text : arguments.threads) {
    int n = 0;
    if (text == "all") {
      n = available_threads();
    } else if (std::from_chars(text.data(), text.data() + text.size(), n).ptr != text.data() + text.size()) {
      n = 0;
    }
    if (n < 1) throw Error(ErrorCode::usage, fmt::format("--threads: expected 1 or more, or 'all', found '{}'", text));
    if (std::find(settings.threads.begin(), settings.threads.end(), n) == settings.threads.end())
      settings.threads.push_back(n);
  }
  if (arguments.targets.empty()) settings.targets.push_back(&kernels::default_target());
  for (const std::string& name : arguments.targets) {
    if (name != "cpu") {
      settings.targets.push_back(&kernels::require_target(name));
      continue;
    }
    for (const kernels::Target& t : kernels::targets()) {
      if (t.runnable && !t.gpu) settings.targets.push_back(&t);
    }
  }
  return settings;
}

int run_interleave(const Arguments& arguments, const Registry& registry) {
  const std::regex wanted(arguments.filter);
  std::vector<ComparisonResult> results;
  for (Comparison comparison : registry.comparisons()) {
    if (arguments.no_peers) std::erase_if(comparison.contestants, [](const Contestant& c) { return c.peer; });
    const bool matches =
        std::any_of(comparison.contestants.begin(), comparison.contestants.end(),
                    [&](const Contestant& c) { return std::regex_search(comparison.row_name(c), wanted); });
    if (!matches) continue;
    const ComparisonResult& result = results.emplace_back(run_interleaved(comparison, arguments.rounds));
    fmt::print(stderr, "{}\n", summary(result));
  }
  if (results.empty()) throw Error(ErrorCode::usage, fmt::format("--filter: no row matches '{}'", arguments.filter));
  for (const std::string& path : arguments.merge) {
    fmt::print(stderr, "{}: {} rows merged\n", path, merge_rows(path, results));
  }
  if (arguments.json) {
    fmt::print("{}", json(results, registry.missing(), arguments.rounds));
  } else {
    const char* bullet = arguments.markdown ? "- " : "";
    for (const std::string& line : machine_description()) fmt::print("{}{}\n", bullet, line);
    for (const MissingPeer& m : registry.missing())
      fmt::print("{}{}: peer {}: not built because {}\n", bullet, m.kernel, m.peer, m.reason);
    fmt::print("{}{} rounds, contestants and limit in turn; ratio by medians, share of peak by best runs\n\n", bullet,
               arguments.rounds);
    fmt::print("{}", table(results, arguments.markdown ? TableStyle::markdown : TableStyle::plain));
  }
  const bool wrong = std::any_of(results.begin(), results.end(), [](const ComparisonResult& r) {
    return std::any_of(r.rows.begin(), r.rows.end(), [](const RowResult& row) { return !row.error.empty(); });
  });
  return wrong ? 1 : 0;
}

int run(int argc, char** argv) {
  CLI::App app{
      "Benchmarks of Kindling's kernels beside their peers. Options of Google Benchmark (--benchmark_...) are passed "
      "on."};
  Arguments arguments;
  app.add_flag("--interleave", arguments.interleave,
               "time all contestants of a comparison round-robin and print one table");
  app.add_option("--filter", arguments.filter,
                 "only rows <kernel>/<contestant>/<shape>/threads:<n> that match this expression");
  app.add_option("--rounds", arguments.rounds, "rounds of the interleaved mode")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--threads", arguments.threads, "thread counts, numbers or 'all'")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--targets", arguments.targets,
                 "targets of the kernels, names or 'cpu' for every CPU target that runs here; "
                 "default: the one that the library would choose")
      ->delimiter(',');
  app.add_flag("--no-peers", arguments.no_peers, "time only kernels; interleaved mode");
  app.add_flag("--json", arguments.json, "machine-readable rows on standard output");
  app.add_flag("--markdown", arguments.markdown, "the interleaved table as Markdown");
  app.add_option("--merge", arguments.merge,
                 "rows of another program (bench/peers/torch_bench.py) to stand as peers; interleaved mode");
  app.add_option("--mca", arguments.mca, "a processor that is not here: predictions come from `./dev mca <processor>`");
  app.add_flag("--list", arguments.list, "names of the rows, and nothing more");
  app.allow_extras();
  CLI11_PARSE(app, argc, argv);
  if (!arguments.mca.empty()) {
    throw Error(
        ErrorCode::usage,
        fmt::format("--mca: this program times the processor that it runs on; what inner loops cost on another is "
                    "predicted in the source tree by `./dev mca {} [<kernel> ...]`",
                    arguments.mca));
  }
  if (!arguments.interleave && (arguments.markdown || arguments.no_peers || !arguments.merge.empty())) {
    throw Error(ErrorCode::usage, "--markdown, --merge and --no-peers belong to --interleave");
  }
  for (const std::string& extra : app.remaining()) {
    if (!extra.starts_with("--benchmark_")) throw Error(ErrorCode::usage, fmt::format("unknown argument '{}'", extra));
    if (arguments.interleave) throw Error(ErrorCode::usage, fmt::format("'{}' does not go with --interleave", extra));
  }

  Registry registry;
  const Settings settings = settings_of(arguments);
  for (const Registration::AddRows add_rows : Registration::all()) add_rows(registry, settings);
  if (arguments.list) {
    for (const Comparison& comparison : registry.comparisons()) {
      for (const Contestant& c : comparison.contestants) fmt::print("{}\n", comparison.row_name(c));
    }
    return 0;
  }
  if (arguments.interleave) return run_interleave(arguments, registry);
  std::vector<std::string> extras = app.remaining();
  if (arguments.json) extras.emplace_back("--benchmark_format=json");
  if (arguments.filter != ".") extras.push_back("--benchmark_filter=" + arguments.filter);
  return run_google_benchmark(argv[0], extras, registry, settings);
}

}  // namespace
}  // namespace kindling::bench

int main(int argc, char** argv) {
  try {
    return kindling::bench::run(argc, argv);
  } catch (const kindling::Error& e) {
    fmt::print(stderr, "kindling-bench: error: {}\n", e.what());
    return static_cast<int>(e.code());
  } catch (const std::regex_error& e) {
    fmt::print(stderr, "kindling-bench: error: --filter is not a regular expression: {}\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    fmt::print(stderr, "kindling-bench: error: {}\n", e.what());
    return 2;
  }
}
