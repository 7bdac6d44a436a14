// What learned initializations share: batches of unlabelled inputs, the loss curve by windows, the best parameters.
#pragma once

#include <kindling/dataset.h>
#include <kindling/mmd.h>

#include <cstdint>
#include <optional>
#include <string_view>
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
      : window_(std::min(window, steps)), patience_(patience), steps_(steps) {}

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

  /// Ends a search that began with `start` and has taken report.steps steps: moves the best parameters into `model`,
  /// its batch-norms calibrated, and fills in the report but for its seconds.
  void finish(Model& model, const Model& start, const Dataset& data, MmdReport& report, const Context& context);

 private:
  std::int64_t window_, patience_, steps_, count_ = 0;
  MmdTerms sum_;
};

/// Running statistics of all batch-norm layers from the training inputs.
void calibrate_batch_norms(Model& model, const Dataset& data, const Context& context);

}  // namespace kindling
