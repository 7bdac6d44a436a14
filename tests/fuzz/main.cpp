// kernel_fuzz --kernel <name|all> [--cases N] [--seed S] [--case I] [--target T] [--mutate M]
// kernel_fuzz --missing
//
// Random shapes and values through the wrappers, against float64. A failure prints the seed and the case, which
// together reproduce it. --missing names the kernels that have no fuzz function, and fails when there is one. With
// --mutate the kernels are broken on purpose and the run succeeds when that is found.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>

#include "fuzz/fuzz.h"
#include "kernels/kernel_calls.h"
#include "kindling/error.h"

namespace kindling::fuzz {
namespace {

struct Entry {
  std::function<void(Case&)> function;
  Takes takes;
};

std::map<std::string, Entry, std::less<>>& registered() {
  static std::map<std::string, Entry, std::less<>> all;
  return all;
}

constexpr std::pair<const char*, Mutation> mutations[] = {{"none", Mutation::none},
                                                          {"dropped_tail", Mutation::dropped_tail},
                                                          {"skipped_block", Mutation::skipped_block},
                                                          {"last_element", Mutation::last_element},
                                                          {"wrong_mask", Mutation::wrong_mask},
                                                          {"stale_bias", Mutation::stale_bias},
                                                          {"dropped_term", Mutation::dropped_term}};

struct Options {
  std::string kernel = "all", target, mutation = "none";
  std::uint64_t seed = 1;
  std::uint32_t cases = 1000, first = 0;
};

// Runs the cases of one kernel; true when all of them passed (or, mutated, when one failed).
bool run(const std::string& name, const Entry& entry, const Options& options, const kernels::Target& target,
         Mutation mutation) {
  std::int64_t compared = 0, nonzero = 0, busy = 0, spoilt = 0;
  for (std::uint32_t i = options.first; i < options.first + options.cases; ++i) {
    Case c(target, options.seed, i, mutation);
    const std::int64_t calls = kernels::kernel_calls(name);
    try {
      entry.function(c);
    } catch (const std::exception& failure) {
      // A mutated kernel is found by what it computes, not by a refusal.
      if (mutation != Mutation::none && dynamic_cast<const Failure*>(&failure) != nullptr) {
        std::cout << name << ": " << options.mutation << " found in case " << i << ": " << failure.what() << '\n';
        return true;
      }
      std::cout << "FAILED " << name << " on " << target.name << ": " << failure.what() << "\n  kernel_fuzz --kernel "
                << name << " --target " << target.name << " --seed " << options.seed << " --case " << i << '\n';
      return false;
    }
    compared += c.compared;
    nonzero += c.nonzero;
    spoilt += c.spoilt ? 1 : 0;
    busy += c.compared > 1 && c.nonzero > 0 && kernels::kernel_calls(name) > calls ? 1 : 0;
  }
  if (mutation != Mutation::none) {
    std::cout << "FAILED " << name << ": " << options.mutation << " survived " << options.cases << " cases\n";
    return false;
  }
  std::cout << name << " on " << target.name << ": " << options.cases << " cases, " << busy
            << " reached it with more than one result, " << spoilt << " with a number that is not finite, " << compared
            << " results, " << nonzero << " other than 0\n";
  // Not vacuous: most cases call this very kernel with something to compute, and it comes to something; some of them
  // have a NaN among their inputs.
  const bool finite = entry.takes == Takes::floats && 20 * spoilt < options.cases;
  if (options.cases >= 100 && (2 * busy < options.cases || 4 * nonzero < compared || finite)) {
    std::cout << "FAILED " << name << ": too little was computed\n";
    return false;
  }
  return true;
}

// Compiled kernels without a fuzz function, and fuzz functions without a kernel.
int missing() {
  int wrong = 0;
  for (const std::string& kernel : kernels::kernel_names()) {
    if (registered().contains(kernel)) continue;
    std::cout << "FAILED " << kernel << ": no fuzz function is registered for this kernel\n", ++wrong;
  }
  const std::vector<std::string> names = kernels::kernel_names();
  for (const auto& [name, entry] : registered()) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    std::cout << "FAILED " << name << ": a fuzz function for a kernel that does not exist\n", ++wrong;
  }
  return wrong == 0 ? 0 : 1;
}

int usage(const std::string& what) {
  std::cerr << what
            << "\nusage: kernel_fuzz --kernel <name|all> [--cases N] [--seed S] [--case I] [--target T] [--mutate M]\n"
            << "       kernel_fuzz --missing\n"
            << "kernels:";
  for (const auto& [name, entry] : registered()) std::cerr << ' ' << name;
  std::cerr << "\nmutations:";
  for (const auto& [name, mutation] : mutations) std::cerr << ' ' << name;
  std::cerr << '\n';
  return 2;
}

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--missing") return missing();
  Options options;
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 >= argc) return usage(std::string("no value for ") + argv[i]);
    const std::string name = argv[i], value = argv[i + 1];
    try {
      if (name == "--kernel")
        options.kernel = value;
      else if (name == "--target")
        options.target = value;
      else if (name == "--mutate")
        options.mutation = value;
      else if (name == "--seed")
        options.seed = std::stoull(value);
      else if (name == "--cases")
        options.cases = static_cast<std::uint32_t>(std::stoul(value));
      else if (name == "--case")
        options.first = static_cast<std::uint32_t>(std::stoul(value)), options.cases = 1;
      else
        return usage("unknown option " + name);
    } catch (const std::logic_error&) {
      return usage(name + ": not a number: " + value);
    }
  }
  if (options.kernel != "all" && !registered().contains(options.kernel))
    return usage("no fuzz of kernel " + options.kernel);
  const auto* mutation = std::find_if(std::begin(mutations), std::end(mutations),
                                      [&](const auto& m) { return m.first == options.mutation; });
  if (mutation == std::end(mutations)) return usage("unknown mutation " + options.mutation);
  try {
    for (const kernels::Target& t : kernels::targets()) {
      if (t.name == options.target && !t.runnable) {
        std::cout << "skipped: " << t.name << ": " << t.reason << '\n';
        return 77;
      }
    }
    const kernels::Target& target =
        options.target.empty() ? kernels::default_target() : kernels::require_target(options.target);
    bool passed = true;
    for (const auto& [name, entry] : registered()) {
      if (options.kernel != "all" && options.kernel != name) continue;
      passed = run(name, entry, options, target, mutation->second) && passed;
    }
    return passed ? 0 : 1;
  } catch (const Error& error) {
    return usage(error.what());
  }
}

}  // namespace

bool fuzz(std::string_view kernel, std::function<void(Case&)> function, Takes takes) {
  return registered().emplace(kernel, Entry{std::move(function), takes}).second;
}

}  // namespace kindling::fuzz

int main(int argc, char** argv) { return kindling::fuzz::main(argc, argv); }
