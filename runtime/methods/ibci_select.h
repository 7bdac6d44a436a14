// Which candidates of a layer win.
#pragma once

#include <kindling/ibci.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/dispatch.h"
#include "methods/class_moments.h"
#include "methods/ibci_scores.h"

namespace kindling {

struct IbciChoice {
  std::vector<std::int64_t> selected;  ///< in the order of choice
  std::vector<double> residual_ratio;  ///< empty without a campaign
  int rounds = 1;
};

/// Copies rows of `from`, in that order.
void pick_rows(const kernels::Execution& exec, ConstTensorView from, std::span<const std::int64_t> rows, TensorView to);

/// Chooses `count` of the candidates (rows of `weight`) by the options' rule: one campaign, the best scores, or, for
/// the published program, one campaign per class of largest mean activation.
IbciChoice ibci_select(const kernels::Execution& exec, ConstTensorView weight, const IbciScores& scores,
                       const LayerScatter& scatter, int classes, std::int64_t count, const IbciOptions& options);

}  // namespace kindling
