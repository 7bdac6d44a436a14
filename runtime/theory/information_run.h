// One neural estimate of information: a critic trained on pairs from a source and evaluated on other pairs of it.
#pragma once

#include <kindling/information.h>

#include <cstdint>
#include <string>

#include "kernels/dispatch.h"
#include "nn/critic.h"

namespace kindling {

/// Joint and product pairs that share their first argument, by number; different numbers are independent.
class PairSource {
 public:
  virtual ~PairSource() = default;
  [[nodiscard]] virtual std::int64_t first_features() const = 0;
  [[nodiscard]] virtual std::int64_t second_features() const = 0;
  /// Whether the two functions below write by kernels alone, or say what the host has changed.
  [[nodiscard]] virtual bool resident() const { return true; }
  /// first (N x a); second (2N x b): the partners of the joint pairs, then those of the product pairs.
  virtual void train_pairs(std::uint32_t number, TensorView first, TensorView second) = 0;
  /// The same, of pairs that are never trained on.
  virtual void fresh_pairs(std::uint32_t number, TensorView first, TensorView second) = 0;
};

/// Throws Error{usage} for options out of range.
void check_options(const InformationOptions& options);

/// `what` names the estimate in messages, `unit` sets its random numbers apart from those of other estimates.
InformationEstimate run_estimate(PairSource& source, const std::string& what, std::uint32_t unit,
                                 const InformationOptions& options, const Context& context);

}  // namespace kindling
