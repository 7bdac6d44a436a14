// Parts of simulate_propagation.
#pragma once

#include <kindling/propagation.h>

#include <optional>

#include "io/json_lines.h"
#include "kernels/dispatch.h"

namespace kindling {

/// One network of the grid.
PropagationRun simulate_network(const kernels::Execution& execution, const PropagationOptions& options,
                                double weight_variance, int network, const Context& context);

/// Theory's length and correlation at options.layers for one grid value.
struct PropagationTheory {
  std::vector<double> length, correlation;
};
PropagationTheory propagation_theory(const PropagationOptions& options, double weight_variance, const Context& context);

/// The results file, or nothing where none is asked for.
class PropagationResults {
 public:
  PropagationResults(const PropagationOptions& options, const Context& context);
  [[nodiscard]] std::optional<PropagationRun> find(double weight_variance, int network) const;
  void append(const PropagationRun& run);
  [[nodiscard]] bool cut() const { return file_ && !file_->cut().empty(); }

 private:
  void read_line(std::string_view text, std::size_t number, const std::string& path);

  std::string settings_;  // JSON of what decides a run besides grid value and network
  std::optional<io::JsonLines> file_;
  std::vector<PropagationRun> runs_;
};

}  // namespace kindling
