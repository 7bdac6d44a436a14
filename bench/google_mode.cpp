#include "google_mode.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <map>

#include "interleave.h"
#include "peak.h"
#include "report.h"

namespace kindling::bench {
namespace {

using Clock = std::chrono::steady_clock;

// Measured once per process for each kind and thread count: the best of a few runs.
double limit_of(Limit limit, int threads) {
  static std::map<std::pair<Limit, int>, double> known;
  double& value = known[{limit, threads}];
  if (value == 0) {
    for (int i = 0; i < 5; ++i) value = std::max(value, measure_limit(limit, threads));
  }
  return value;
}

// Google Benchmark calls a row several times with growing counts; it is made and verified once. Only the current row's
// data is alive.
struct Current {
  std::string name;
  Trial trial;
  std::string error;
};

bool any_wrong = false;

void run_row(benchmark::State& state, const Comparison& comparison, const Contestant& contestant) {
  static Current current;
  const std::string name = comparison.row_name(contestant);
  if (current.name != name) {
    current = {name, {}, ""};
    try {
      current.trial = contestant.make();
      current.trial.verify();
    } catch (const std::exception& e) {
      current.error = e.what();
      any_wrong = true;
    }
  }
  if (!current.error.empty()) return state.SkipWithError(current.error.c_str());
  const double limit = limit_of(comparison.limit, comparison.threads);
  current.trial.run();
  const auto start = Clock::now();
  for (auto _ : state) current.trial.run();
  const double per_second =
      static_cast<double>(state.iterations()) / std::chrono::duration<double>(Clock::now() - start).count();
  const Work& work = comparison.work;
  if (work.flops > 0) state.counters["flops"] = work.flops * per_second;
  if (work.bytes > 0) state.counters["bytes"] = work.bytes * per_second;
  if (work.items > 0) state.counters["items"] = work.items * per_second;
  if (limit > 0)
    state.counters["of_peak"] =
        (comparison.limit == Limit::multiply_add ? work.flops : work.bytes) * per_second / limit;
  if (current.trial.counters) {
    for (const auto& [counter, value] : current.trial.counters()) state.counters[counter] = value;
  }
}

// The row's number is the best rate seen; each iteration is one measurement.
template <class Measure>
void register_limit(const std::string& name, const char* counter, const Measure& measure) {
  benchmark::RegisterBenchmark(name.c_str(), [counter, measure](benchmark::State& state) {
    double best = 0;
    for (auto _ : state) best = std::max(best, measure());
    state.counters[counter] = best;
  });
}

}  // namespace

int run_google_benchmark(const char* program, const std::vector<std::string>& flags, const Registry& registry,
                         const Settings& settings) {
  for (const int threads : settings.threads) {
    const std::string tail = "/threads:" + std::to_string(threads);
    for (const std::string& isa : multiply_add_isas()) {
      register_limit("peak/" + isa + tail, "flops", [isa, threads] { return multiply_add_rate(isa, threads); });
    }
    for (const Stream kind : {Stream::read, Stream::copy, Stream::triad}) {
      register_limit(std::string("bandwidth/") + to_string(kind) + tail, "bytes",
                     [kind, threads] { return stream_rate(kind, threads); });
    }
  }
  for (const Comparison& comparison : registry.comparisons()) {
    for (const Contestant& contestant : comparison.contestants) {
      benchmark::RegisterBenchmark(comparison.row_name(contestant).c_str(),
                                   [&](benchmark::State& state) { run_row(state, comparison, contestant); });
    }
  }
  for (const MissingPeer& m : registry.missing()) {
    benchmark::RegisterBenchmark((m.kernel + "/" + m.peer + "/not_built").c_str(), [m](benchmark::State& state) {
      state.SkipWithError(("peer " + m.peer + ": not built because " + m.reason).c_str());
    });
  }
  for (const std::string& line : machine_description()) {
    const std::size_t colon = line.find(": ");
    benchmark::AddCustomContext(colon == std::string::npos ? "machine" : line.substr(0, colon),
                                colon == std::string::npos ? line : line.substr(colon + 2));
  }
  std::vector<std::string> words{program};
  words.insert(words.end(), flags.begin(), flags.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return any_wrong ? 1 : 0;
}

}  // namespace kindling::bench
