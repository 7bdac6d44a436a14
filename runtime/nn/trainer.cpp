#include "nn/trainer.h"

#include "kernels/dense.h"
#include "kernels/loss.h"

namespace kindling {

Trainer::Trainer(const Model& model, std::int64_t max_batch, const OptimizerOptions& options) : options_(options) {
  activations_.emplace_back(std::vector<std::int64_t>{max_batch, model.inputs()});
  for (const Layer& layer : model.layers()) {
    activations_.emplace_back(std::vector<std::int64_t>{max_batch, layer.fan_out()});
    gradients_.emplace_back(std::vector<std::int64_t>{max_batch, layer.fan_out()});
    State state;
    if (options.kind != OptimizerKind::sgd) {
      state.first_weight = Tensor(layer.weight.shape());
      state.first_bias = Tensor(layer.bias.shape());
    }
    if (options.kind == OptimizerKind::adam) {
      state.second_weight = Tensor(layer.weight.shape());
      state.second_bias = Tensor(layer.bias.shape());
    }
    state_.push_back(std::move(state));
  }
  labels_.resize(static_cast<std::size_t>(max_batch));
  predictions_.resize(labels_.size());
  losses_.resize(labels_.size());
}

double Trainer::step(const kernels::Execution& exec, Model& model, std::int64_t rows) {
  auto& layers = model.layers();
  const auto batch = [rows](Tensor& t) { return t.view().rows(0, rows); };
  for (std::size_t i = 0; i < layers.size(); ++i) {
    kernels::dense_forward(exec, batch(activations_[i]), layers[i].weight, layers[i].bias.flat(), layers[i].activation,
                           batch(activations_[i + 1]));
  }
  const auto n = static_cast<std::size_t>(rows);
  const std::span<float> losses(losses_.data(), n);
  kernels::softmax_cross_entropy(exec, batch(activations_.back()), std::span<const std::int32_t>(labels_.data(), n),
                                 1.0F / static_cast<float>(rows), losses, batch(gradients_.back()),
                                 std::span(predictions_.data(), n));
  ++steps_;
  for (std::size_t i = layers.size(); i-- > 0;) {
    // The gradient of the inputs is taken with the weights of the forward pass, before they move.
    if (i > 0) {
      kernels::dense_input_gradient(exec, batch(gradients_[i]), layers[i].weight, batch(activations_[i]),
                                    layers[i - 1].activation, batch(gradients_[i - 1]));
    }
    update(exec, layers[i], i, batch(activations_[i]), batch(gradients_[i]));
  }
  double sum = 0;
  for (const float loss : losses) sum += loss;
  return sum / static_cast<double>(rows);
}

void Trainer::update(const kernels::Execution& exec, Layer& layer, std::size_t index, ConstTensorView x,
                     ConstTensorView dz) {
  const auto rate = static_cast<float>(options_.learning_rate);
  const auto decay = static_cast<float>(options_.weight_decay);
  State& state = state_[index];
  const kernels::DenseParameters parameters{layer.weight, layer.bias.flat()};
  switch (options_.kind) {
    case OptimizerKind::sgd:
      kernels::dense_weight_sgd(exec, x, dz, parameters, {.learning_rate = rate, .weight_decay = decay});
      break;
    case OptimizerKind::momentum:
      kernels::dense_weight_momentum(
          exec, x, dz, parameters, {state.first_weight, state.first_bias.flat()},
          {.learning_rate = rate, .momentum = static_cast<float>(options_.momentum), .weight_decay = decay});
      break;
    case OptimizerKind::adam:
      kernels::dense_weight_adam(exec, x, dz, parameters, {state.first_weight, state.first_bias.flat()},
                                 {state.second_weight, state.second_bias.flat()},
                                 {.learning_rate = rate,
                                  .beta1 = static_cast<float>(options_.beta1),
                                  .beta2 = static_cast<float>(options_.beta2),
                                  .epsilon = static_cast<float>(options_.epsilon),
                                  .weight_decay = decay,
                                  .step = steps_});
      break;
  }
}

}  // namespace kindling
