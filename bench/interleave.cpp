#include "interleave.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <thread>

#include "peak.h"

namespace kindling::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_of(const std::function<void()>& run, int calls) {
  const auto start = Clock::now();
  for (int i = 0; i < calls; ++i) run();
  return std::chrono::duration<double>(Clock::now() - start).count() / calls;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

struct Runner {
  Trial trial;
  int calls = 1;        // per sample, so that a sample is long against the clock's grain
  bool warm_up = true;  // one untimed call first: the previous contestant has had the caches
  std::vector<double> samples;
};

// Long enough that a context switch is rare and the clock is exact, short enough for many rounds.
constexpr double sample_seconds = 8e-3;

void calibrate(Runner& runner) {
  double once = seconds_of(runner.trial.run, 1);
  if (once < sample_seconds)
    once = seconds_of(runner.trial.run, std::clamp(static_cast<int>(1e-3 / std::max(once, 1e-8)), 1, 1000));
  runner.calls = std::clamp(static_cast<int>(std::ceil(sample_seconds / std::max(once, 1e-8))), 1, 200'000);
  runner.warm_up = once < 0.1;
}

}  // namespace

const RowResult* ComparisonResult::best_peer() const {
  const RowResult* best = nullptr;
  for (const RowResult& row : rows) {
    if (row.peer && row.interleaved && row.error.empty() && (best == nullptr || row.median < best->median)) best = &row;
  }
  return best;
}

double ComparisonResult::ratio(const RowResult& row) const {
  const RowResult* peer = best_peer();
  return peer == nullptr || !row.error.empty() ? 0 : peer->median / row.median;
}

double ComparisonResult::of_peak(const RowResult& row) const {
  const double amount = limit == Limit::multiply_add ? work.flops : limit == Limit::memory ? work.bytes : 0;
  return limit_best == 0 || !row.error.empty() ? 0 : amount / row.best / limit_best;
}

double measure_limit(Limit limit, int threads) {
  if (limit == Limit::multiply_add) return multiply_add_rate(multiply_add_isas().back(), threads);
  if (limit == Limit::memory) return stream_rate(Stream::triad, threads);
  return 0;
}

ComparisonResult run_interleaved(const Comparison& comparison, int rounds) {
  ComparisonResult result{comparison.kernel,
                          comparison.shape,
                          comparison.threads,
                          comparison.work,
                          comparison.limit,
                          comparison.goal,
                          0,
                          0,
                          {}};
  std::vector<Runner> runners(comparison.contestants.size());
  for (std::size_t i = 0; i < runners.size(); ++i) {
    const Contestant& contestant = comparison.contestants[i];
    RowResult row{.name = contestant.name, .peer = contestant.peer, .error = {}, .counters = {}};
    try {
      runners[i].trial = contestant.make();
      runners[i].trial.verify();
      calibrate(runners[i]);
    } catch (const std::exception& e) {
      row.error = e.what();
    }
    result.rows.push_back(std::move(row));
  }

  std::vector<double> limits;
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t step = 0; step < runners.size(); ++step) {
      const std::size_t i = (step + static_cast<std::size_t>(round)) % runners.size();  // nobody is always first
      Runner& runner = runners[i];
      if (!result.rows[i].error.empty()) continue;
      // Workers of the previous library spin for a while before they sleep (OpenBLAS: 2^26 clock ticks).
      if (comparison.threads > 1) std::this_thread::sleep_for(std::chrono::milliseconds(35));
      // The limit takes its turn before each contestant, so that it meets a quiet moment as often as they do.
      if (comparison.limit != Limit::none) limits.push_back(measure_limit(comparison.limit, comparison.threads));
      try {
        if (runner.warm_up) runner.trial.run();
        runner.samples.push_back(seconds_of(runner.trial.run, runner.calls));
      } catch (const std::exception& e) {
        result.rows[i].error = e.what();
      }
    }
  }
  for (std::size_t i = 0; i < runners.size(); ++i) {
    RowResult& row = result.rows[i];
    if (!row.error.empty()) continue;
    row.median = median(runners[i].samples);
    row.best = *std::min_element(runners[i].samples.begin(), runners[i].samples.end());
    if (runners[i].trial.counters) row.counters = runners[i].trial.counters();
  }
  if (!limits.empty()) {
    result.limit_median = median(limits);
    result.limit_best = *std::max_element(limits.begin(), limits.end());
  }
  return result;
}

}  // namespace kindling::bench
