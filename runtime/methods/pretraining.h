// What learned initializations share: batches of unlabelled inputs, the loss curve by windows, the best parameters.
#pragma once

#include <kindling/dataset.h>
#include <kindling/mmd.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/dispatch.h"

namespace kindling {

/// Batches of `batch` samples in a fresh random order each pass over the training split; what is left over at the end
/// of a pass is not used. A function of seed and step alone.
class UnlabelledBatches {
 public:
  /// `method` is named in errors.
  UnlabelledBatches(std::string_view method, const Dataset& data, std::int64_t batch, std::uint64_t seed);

  [[nodiscard]] std::int64_t batch() const { return batch_; }
  /// The inputs of step 1, 2, ..., batch x features. Throws Error{bad_input} naming sample and feature for what is not
  /// finite.
  void read(const kernels::Execution& exec, std::int64_t step, TensorView out);

 private:
  std::string_view method_;
  const Dataset& data_;
  std::int64_t batch_;
  std::uint64_t seed_;
  std::int64_t pass_ = -1;
  std::vector<std::int32_t> order_;
};

/// The loss averaged by windows of steps, and the parameters at the end of the best window.
class BestWindow {
 public:
  BestWindow(std::int64_t window, std::int64_t patience, std::int64_t steps)
      : window_(std::min(window, steps)), patience_(patience) {}

  /// Adds the losses of a step. True at the end of a window, whose record is then the curve's last.
  bool add(std::int64_t step, const MmdTerms& terms);
  /// Keeps the parameters of the window that just ended if it is the best so far; throws Error{numerical} for
  /// parameters that are not finite.
  void keep_if_best(const Model& model);
  /// Whether `patience` windows went by without a better one.
  [[nodiscard]] bool exhausted() const;

  std::vector<MmdRecord> curve;
  std::optional<Model> best;
  std::size_t best_index = 0;  // in the curve

  /// Curve, best step and loss into a report.
  void fill(MmdReport& report) const;

 private:
  std::int64_t window_, patience_, count_ = 0;
  MmdTerms sum_;
};

/// |W - W_start| / |W_start| of every layer with neurons.
std::vector<std::pair<std::string, double>> movement(const Model& start, const Model& end);

/// Running statistics of all batch-norm layers from the training inputs.
void calibrate_batch_norms(Model& model, const Dataset& data, const Context& context);

}  // namespace kindling
