// What the interleaved mode shows: a table for people (plain or Markdown), or JSON rows.
#pragma once

#include <string>
#include <vector>

#include "interleave.h"

namespace kindling::bench {

enum class TableStyle { plain, markdown };

/// One table per kernel: a line per shape, thread count and target, with every peer beside it, the ratio to the fastest
/// peer by medians, the share of the limit by best runs, and the geometric means of the ratios.
std::string table(const std::vector<ComparisonResult>& results, TableStyle style);

/// One line for the impatient: what was timed, each kernel's ratio and share of peak, each refusal.
std::string summary(const ComparisonResult& result);

/// {"context": {...}, "rows": [{"name", "kernel", "contestant", "peer", "shape", "threads", "median_seconds", ...}]}
std::string json(const std::vector<ComparisonResult>& results, const std::vector<MissingPeer>& missing, int rounds);

/// Adds the rows of a file that `bench/peers/torch_bench.py` wrote to the comparisons of the same kernel, shape and
/// threads, as peers that were timed apart. Throws std::runtime_error for a file that does not parse. Returns how many
/// rows found a place.
int merge_rows(const std::string& path, std::vector<ComparisonResult>& results);

/// Processor, cores, versions of the peers: one line each.
std::vector<std::string> machine_description();

}  // namespace kindling::bench
