// One mini-batch step: forward, loss, and the backward pass with the update fused into each dense weight gradient.
#pragma once

#include <kindling/model.h>
#include <kindling/random.h>
#include <kindling/train.h>

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/batch_norm.h"
#include "kernels/dispatch.h"
#include "kernels/residency.h"
#include "nn/state_archive.h"

namespace kindling {

/// Buffers and optimiser state of a training run; memory O(batch * widths + parameters).
class Trainer {
 public:
  /// `seed`: of the dropout masks, which are a function of it, the layer and the step. Images come in the order C, H,
  /// W, or, for a model that is a part of another, channels last.
  Trainer(const Model& model, std::int64_t max_batch, const OptimizerOptions& options, std::uint64_t seed = 0,
          bool channels_last_inputs = false);

  /// Where the caller puts the batch: `rows` x inputs, and its labels.
  TensorView inputs(std::int64_t rows) { return samples_.view().rows(0, rows); }
  std::span<std::int32_t> labels(std::int64_t rows) { return {labels_.data(), static_cast<std::size_t>(rows)}; }

  /// Keeps the buffers and the model's parameters on the device; the parameters come back when `residency` ends.
  void keep_on(kernels::Residency& residency, const Model& model);

  /// Trains on the first `rows` rows of inputs and labels; returns the mean cross entropy before the update, in nats.
  double step(const kernels::Execution& exec, Model& model, std::int64_t rows);

  /// The two halves of a step for other losses: outputs in training mode, then, given the loss's gradient with respect
  /// to them (rows x outputs), the update.
  ConstTensorView forward_step(const kernels::Execution& exec, Model& model, std::int64_t rows);
  void backward_step(const kernels::Execution& exec, Model& model, ConstTensorView output_gradient);

  /// What of it outlives a step: the optimiser's moments and the number of steps.
  void archive(StateArchive& archive, const std::string& prefix);

 private:
  // Buffers of one layer beside its parameters.
  struct State {
    Tensor output;    // max_batch x outputs
    Tensor gradient;  // at the pre-activations, or at the outputs of a layer that has none
    Tensor first_weight, first_bias, second_weight, second_bias;  // moments of the optimiser, empty where it has none
    Tensor weight_gradient, bias_gradient;                        // where the update is not fused
    Tensor mean, inverse_std;                                     // batch_norm: of this batch
    std::vector<std::uint8_t> places;                             // max_pool: of the maxima
    // What the gradient holds the derivative of: the layer's activation, or that of a layer further below where
    // pooling, flattening or dropout only chose among its outputs.
    Activation carried{ActivationKind::identity};
  };

  ConstTensorView input_of(std::size_t index, std::int64_t rows);
  Stream dropout_stream(std::size_t index) const;
  void forward(const kernels::Execution& exec, Layer& layer, std::size_t index, std::int64_t rows);
  void backward_all(const kernels::Execution& exec, Model& model, std::int64_t rows);
  // The gradient of the layer below, and, where the layer has parameters, its update.
  void backward(const kernels::Execution& exec, Layer& layer, std::size_t index, std::int64_t rows);
  void input_gradient(const kernels::Execution& exec, const Layer& layer, std::size_t index, std::int64_t rows);
  void update_dense(const kernels::Execution& exec, Layer& layer, State& state, ConstTensorView x, ConstTensorView dz);
  void update_stored(const kernels::Execution& exec, Layer& layer, State& state, double weight_decay);
  kernels::BatchNormSaved saved(State& state) { return {state.mean.flat(), state.inverse_std.flat()}; }

  OptimizerOptions options_;
  std::uint64_t seed_;
  std::int64_t steps_ = 0;
  std::size_t first_trained_ = 0;  // the first layer with parameters: no gradient is taken below it
  bool reorder_ = false;
  Tensor samples_;    // as they come
  Tensor reordered_;  // channels last, where that differs
  std::vector<State> state_;
  std::vector<std::int32_t> labels_;
  std::vector<std::int32_t> predictions_;
  std::vector<float> losses_;
};

/// What the gradient at a layer's outputs holds the derivative of, given the same of the layer below.
Activation carried_by(const Layer& layer, const Activation& below);

/// The activation that the model's outputs went through last.
Activation output_activation(const Model& model);

}  // namespace kindling
