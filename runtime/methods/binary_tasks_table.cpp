#include <cmath>
#include <limits>
#include <map>

#include "methods/binary_tasks.h"

namespace kindling {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct Moments {
  double mean = nan, sd = nan;
};
Moments moments(const std::vector<double>& values) {
  if (values.empty()) return {};
  Moments m{0, nan};
  const auto n = static_cast<double>(values.size());
  for (const double v : values) m.mean += v / n;
  if (values.size() < 2) return m;
  double square = 0;
  for (const double v : values) square += (v - m.mean) * (v - m.mean);
  m.sd = std::sqrt(square / (n - 1));
  return m;
}

using BySeed = std::map<std::uint64_t, Moments>;  // over the tasks of one seed

BySeed by_seed(const std::vector<BinaryTasksRun>& runs, const std::string& model, const std::string& method,
               std::int64_t labels) {
  BySeed result;
  for (const BinaryTasksRun& run : runs) {
    if (run.failure.empty() && run.model == model && run.method == method && run.labels == labels) {
      result[run.seed] = moments(run.accuracy);
    }
  }
  return result;
}

Estimate paired(const BySeed& a, const BySeed& b) {
  std::vector<double> differences;
  for (const auto& [seed, of_a] : a) {
    const auto of_b = b.find(seed);
    if (of_b != b.end()) differences.push_back(of_a.mean - of_b->second.mean);
  }
  return estimate_mean(differences);
}

}  // namespace

std::vector<BinaryTasksRow> tabulate(const std::vector<BinaryTasksRun>& runs, const BinaryTasksOptions& options) {
  std::vector<BinaryTasksRow> rows;
  for (const std::string& model : options.models) {
    for (const MethodSpec& spec : options.methods) {
      BinaryTasksRow row{model, spec.text(), {}};
      for (const std::int64_t n : options.labels) {
        const BySeed own = by_seed(runs, model, row.method, n);
        std::vector<double> means, spreads;
        for (const auto& [seed, m] : own) {
          means.push_back(m.mean);
          spreads.push_back(m.sd);
        }
        const Moments mean = moments(means), spread = moments(spreads);
        BinaryTasksCell cell{.labels = n, .repetitions = static_cast<int>(means.size())};
        cell.mean = mean.mean;
        cell.mean_sd = mean.sd;
        cell.spread = spread.mean;
        cell.spread_sd = spread.sd;
        cell.over_baseline = paired(own, by_seed(runs, model, options.methods.front().text(), n));
        const MethodSpec control = control_of(spec);
        cell.over_control = paired(own, control.name.empty() ? BySeed() : by_seed(runs, model, control.text(), n));
        row.cells.push_back(cell);
      }
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace kindling
