// The interleaved mode: all contestants of a comparison and the machine's limit are timed round-robin in one process,
// so that a change of clock or a noisy neighbour meets all of them alike.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "support.h"

namespace kindling::bench {

struct RowResult {
  std::string name;  ///< target or peer
  bool peer = false;
  std::string error;  ///< why it was not timed (a wrong answer), empty otherwise
  double median = 0;  ///< seconds per call, over the rounds
  double best = 0;
  std::map<std::string, double> counters;
  bool interleaved = true;  ///< false: timed by another program; shown, but no ratio is taken against it
};

struct ComparisonResult {
  std::string kernel, shape;
  int threads = 1;
  Work work;
  Limit limit = Limit::none;
  Goal goal;
  double limit_median = 0;  ///< flops or bytes per second, 0 for Limit::none
  double limit_best = 0;
  std::vector<RowResult> rows;

  /// The fastest peer by medians; null when none was timed.
  [[nodiscard]] const RowResult* best_peer() const;
  /// Speed relative to the fastest peer, by medians; 0 when there is none.
  [[nodiscard]] double ratio(const RowResult& row) const;
  /// Share of the limit, by best runs; 0 when there is no limit.
  [[nodiscard]] double of_peak(const RowResult& row) const;
};

/// Times one comparison over `rounds` rounds. Never throws for a contestant: its error stands in its row.
ComparisonResult run_interleaved(const Comparison& comparison, int rounds);

/// The machine's limit of one kind now, in flops or bytes per second.
double measure_limit(Limit limit, int threads);

}  // namespace kindling::bench
