// One mini-batch step: forward, loss, and the backward pass with the update fused into each weight gradient.
#pragma once

#include <kindling/model.h>
#include <kindling/train.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/dispatch.h"

namespace kindling {

/// Buffers and optimiser state of a training run; memory O(batch * widths + parameters).
class Trainer {
 public:
  Trainer(const Model& model, std::int64_t max_batch, const OptimizerOptions& options);

  /// Where the caller puts the batch: `rows` x inputs, and its labels.
  TensorView inputs(std::int64_t rows) { return activations_.front().view().rows(0, rows); }
  std::span<std::int32_t> labels(std::int64_t rows) { return {labels_.data(), static_cast<std::size_t>(rows)}; }

  /// Trains on the first `rows` rows of inputs and labels; returns the mean cross entropy before the update, in nats.
  double step(const kernels::Execution& exec, Model& model, std::int64_t rows);

 private:
  void update(const kernels::Execution& exec, Layer& layer, std::size_t index, ConstTensorView x, ConstTensorView dz);

  OptimizerOptions options_;
  std::int64_t steps_ = 0;
  std::vector<Tensor> activations_;  // inputs, then every layer's outputs
  std::vector<Tensor> gradients_;    // at the pre-activations of every layer
  std::vector<std::int32_t> labels_;
  std::vector<std::int32_t> predictions_;
  std::vector<float> losses_;
  struct State {  // moments of the optimiser, empty where it has none
    Tensor first_weight, first_bias, second_weight, second_bias;
  };
  std::vector<State> state_;
};

}  // namespace kindling
