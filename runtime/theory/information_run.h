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

/// Which samples of n >= 2 make up a batch: joint ones anywhere, the partner of each product pair anywhere but at the
/// joint one itself, since a sample beside itself is no draw from the product of the marginals. 2 * pairs numbers.
std::vector<std::int32_t> random_pairs(const Stream& stream, std::int64_t pairs, std::int64_t n);
/// The same with the joint ones in turn, from number first on.
std::vector<std::int32_t> pairs_in_turn(const Stream& stream, std::int64_t first, std::int64_t pairs, std::int64_t n);

/// A random permutation of 0 .. n-1 that is one cycle (Sattolo's algorithm): no element keeps its place. n >= 2.
std::vector<std::int32_t> random_cycle(const Stream& stream, std::int64_t n);

}  // namespace kindling
