// kernel_fuzz --kernel <name|all> [--cases N] [--seed S] [--case I] [--target T] [--mutate M]
//
// Random shapes and values through the wrappers, against float64. A failure prints the seed and the case, which
// together reproduce it. With --mutate the kernels are broken on purpose and the run succeeds when that is found.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>

#include "fuzz/fuzz.h"
#include "kindling/error.h"

namespace kindling::fuzz {
namespace {

std::map<std::string, std::function<void(Case&)>, std::less<>>& registered() {
  static std::map<std::string, std::function<void(Case&)>, std::less<>> all;
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
bool run(const std::string& name, const std::function<void(Case&)>& function, const Options& options,
         const kernels::Target& target, Mutation mutation) {
  std::int64_t compared = 0, nonzero = 0, busy = 0;
  for (std::uint32_t i = options.first; i < options.first + options.cases; ++i) {
    Case c(target, options.seed, i, mutation);
    try {
      function(c);
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
    busy += c.compared > 1 ? 1 : 0;
  }
  if (mutation != Mutation::none) {
    std::cout << "FAILED " << name << ": " << options.mutation << " survived " << options.cases << " cases\n";
    return false;
  }
  std::cout << name << " on " << target.name << ": " << options.cases << " cases, " << busy
            << " with more than one result, " << compared << " results, " << nonzero << " other than 0\n";
  // Not vacuous: most cases have something to compute, and it comes to something.
  if (options.cases >= 100 && (2 * busy < options.cases || 4 * nonzero < compared)) {
    std::cout << "FAILED " << name << ": too little was computed\n";
    return false;
  }
  return true;
}

int usage(const std::string& what) {
  std::cerr << what
            << "\nusage: kernel_fuzz --kernel <name|all> [--cases N] [--seed S] [--case I] [--target T] [--mutate M]\n"
            << "kernels:";
  for (const auto& [name, function] : registered()) std::cerr << ' ' << name;
  std::cerr << "\nmutations:";
  for (const auto& [name, mutation] : mutations) std::cerr << ' ' << name;
  std::cerr << '\n';
  return 2;
}

int main(int argc, char** argv) {
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
    for (const auto& [name, function] : registered()) {
      if (options.kernel != "all" && options.kernel != name) continue;
      passed = run(name, function, options, target, mutation->second) && passed;
    }
    return passed ? 0 : 1;
  } catch (const Error& error) {
    return usage(error.what());
  }
}

}  // namespace

bool fuzz(std::string_view kernel, std::function<void(Case&)> function) {
  return registered().emplace(kernel, std::move(function)).second;
}

namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

}  // namespace

Case::Case(const kernels::Target& target, std::uint64_t seed, std::uint32_t number, Mutation m)
    : execution{&target, 1},
      mutation(m),
      random_({.seed = seed, .purpose = Purpose::test, .unit = number, .step = 0xF022}),
      small_(false) {
  small_ = below(4) == 0;
  execution.threads = 1 + static_cast<int>(below(2));
}

std::int64_t Case::extent(std::int64_t most, std::int64_t least) {
  if (small_) return least + below(std::max<std::int64_t>(1, 3 - least));
  if (execution.target->gpu) most = std::max<std::int64_t>(2, std::min<std::int64_t>(most, 40));
  std::int64_t n = 2 + below(most - 1);
  if (chance(0.4)) n = n / 8 * 8 + below(3) - 1;
  return std::clamp<std::int64_t>(n, 2, most);
}

std::int64_t Case::long_extent(std::int64_t most, std::int64_t rare, std::int64_t times, std::int64_t least) {
  std::int64_t n = !small_ && below(12) == 0 ? most + below(rare - most) : extent(most, least);
  // An emulated device is slow: a tenth of the work, and still sums of several blocks.
  const std::int64_t budget = execution.target->gpu ? 40000 : 400000;
  while (n > 2 && n * times > budget) n = n / 2 + 1;
  return n;
}

void Case::expect(double found, double expected, double bound, std::string_view what, std::int64_t row,
                  std::int64_t col) {
  ++compared;
  nonzero += found != 0 ? 1 : 0;
  const bool same = std::isnan(expected) ? std::isnan(found) : std::abs(found - expected) <= bound;
  if (same) return;
  throw Failure(std::string(what) + "(" + std::to_string(row) + ", " + std::to_string(col) + "): expected " +
                number(expected) + " within " + number(bound) + ", found " + number(found));
}

Activation draw_activation(Case& c, std::string_view form) {
  if (form == "tanh") return {ActivationKind::tanh};
  if (form == "sigmoid") return {ActivationKind::sigmoid};
  switch (c.below(4)) {
    case 0: return {ActivationKind::identity};
    case 1: return {ActivationKind::leaky_relu, c.scalar(0.01, 0.9)};
    default: return {ActivationKind::relu};
  }
}

double apply(const Activation& activation, double z) {
  switch (activation.kind) {
    case ActivationKind::identity: return z;
    case ActivationKind::relu: return z > 0 ? z : 0;
    case ActivationKind::leaky_relu: return z > 0 ? z : static_cast<double>(activation.negative_slope) * z;
    case ActivationKind::tanh: return std::tanh(z);
    case ActivationKind::sigmoid: return 1 / (1 + std::exp(-z));
  }
  return 0;
}

double derivative(const Activation& activation, double y) {
  switch (activation.kind) {
    case ActivationKind::identity: return 1;
    case ActivationKind::relu: return y > 0 ? 1 : 0;
    case ActivationKind::leaky_relu: return y > 0 ? 1 : static_cast<double>(activation.negative_slope);
    case ActivationKind::tanh: return 1 - y * y;
    case ActivationKind::sigmoid: return y * (1 - y);
  }
  return 0;
}

Activation mutated(const Case& c, Activation activation) {
  if (c.mutation != Mutation::wrong_mask) return activation;
  if (activation.kind == ActivationKind::relu) return {ActivationKind::leaky_relu, 1e-3F};
  if (activation.kind == ActivationKind::tanh) return {ActivationKind::sigmoid};
  if (activation.kind == ActivationKind::sigmoid) return {ActivationKind::tanh};
  return {ActivationKind::relu};
}

}  // namespace kindling::fuzz

int main(int argc, char** argv) { return kindling::fuzz::main(argc, argv); }
