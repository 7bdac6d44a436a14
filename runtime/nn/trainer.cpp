#include "nn/trainer.h"

#include <utility>

#include "kernels/conv.h"
#include "kernels/dense.h"
#include "kernels/dropout.h"
#include "kernels/layout.h"
#include "kernels/loss.h"
#include "kernels/optimizer.h"
#include "kernels/pool.h"
#include "nn/forward_pass.h"
#include "nn/layer_shapes.h"

namespace kindling {
namespace {

bool is_smooth(const Activation& a) { return a.kind == ActivationKind::tanh || a.kind == ActivationKind::sigmoid; }

}  // namespace

Activation carried_by(const Layer& layer, const Activation& below) {
  switch (layer.kind) {
    case LayerKind::dense:
    case LayerKind::conv2d:
    case LayerKind::batch_norm: return layer.activation;
    case LayerKind::max_pool:
    case LayerKind::flatten: return below;
    case LayerKind::dropout:
      // The sign of what is kept tells the slope; a smooth derivative needs the value before scaling.
      return is_smooth(below) ? Activation{ActivationKind::identity} : below;
    case LayerKind::average_pool: break;
  }
  return {ActivationKind::identity};
}

Activation output_activation(const Model& model) {
  Activation current{ActivationKind::identity};
  for (const Layer& layer : model.layers()) {
    // Dropout hands on what it gets, in value if not in derivative.
    if (layer.kind != LayerKind::dropout) current = carried_by(layer, current);
  }
  return current;
}

Trainer::Trainer(const Model& model, std::int64_t max_batch, const OptimizerOptions& options, std::uint64_t seed,
                 bool channels_last_inputs)
    : options_(options),
      seed_(seed),
      reorder_(!channels_last_inputs && reorders_input(model)),
      samples_({max_batch, model.inputs()}) {
  if (reorder_) reordered_ = Tensor({max_batch, model.inputs()});
  Activation carried{ActivationKind::identity};
  bool trained = false;
  for (const Layer& layer : model.layers()) {
    State state;
    state.output = Tensor({max_batch, layer.output.features()});
    state.gradient = Tensor({max_batch, layer.output.features()});
    const bool has_parameters = !layer.weight.empty();
    if (has_parameters && !trained) first_trained_ = state_.size();
    trained = trained || has_parameters;
    if (has_parameters && options.kind != OptimizerKind::sgd) {
      state.first_weight = Tensor(layer.weight.shape());
      state.first_bias = Tensor(layer.bias.shape());
    }
    if (has_parameters && options.kind == OptimizerKind::adam) {
      state.second_weight = Tensor(layer.weight.shape());
      state.second_bias = Tensor(layer.bias.shape());
    }
    if (layer.kind == LayerKind::conv2d || layer.kind == LayerKind::batch_norm) {
      state.weight_gradient = Tensor(layer.weight.shape());
      state.bias_gradient = Tensor(layer.bias.shape());
    }
    if (layer.kind == LayerKind::batch_norm) {
      state.mean = Tensor(layer.weight.shape());
      state.inverse_std = Tensor(layer.weight.shape());
    }
    if (layer.kind == LayerKind::max_pool) {
      state.places.resize(static_cast<std::size_t>(max_batch * layer.output.features()));
    }
    carried = state.carried = carried_by(layer, carried);
    state_.push_back(std::move(state));
  }
  labels_.resize(static_cast<std::size_t>(max_batch));
  predictions_.resize(labels_.size());
  losses_.resize(labels_.size());
}

void Trainer::keep_on(kernels::Residency& residency, const Model& model) {
  using Role = kernels::Residency::Role;
  const auto keep = [&](Role role, const Tensor& t) {
    if (!t.empty()) residency.keep(role, t.flat());
  };
  // Not batch-norm's statistics: these few numbers a channel are made on the host.
  for (const Layer& layer : model.layers())
    for (const Tensor* t : {&layer.weight, &layer.bias}) keep(Role::result, *t);
  keep(Role::scratch, samples_);
  keep(Role::scratch, reordered_);
  for (const State& s : state_) {
    for (const Tensor* t : {&s.first_weight, &s.first_bias, &s.second_weight, &s.second_bias}) keep(Role::input, *t);
    for (const Tensor* t : {&s.output, &s.gradient, &s.weight_gradient, &s.bias_gradient}) keep(Role::scratch, *t);
    residency.keep(Role::scratch, std::span(s.places));
  }
}

ConstTensorView Trainer::input_of(std::size_t index, std::int64_t rows) {
  Tensor& t = index > 0 ? state_[index - 1].output : reorder_ ? reordered_ : samples_;
  return t.view().rows(0, rows);
}

Stream Trainer::dropout_stream(std::size_t index) const {
  return {seed_, Purpose::dropout, static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(steps_)};
}

ConstTensorView Trainer::forward_step(const kernels::Execution& exec, Model& model, std::int64_t rows) {
  auto& layers = model.layers();
  ++steps_;
  if (reorder_) {
    kernels::planar_to_channels_last(exec, samples_.view().rows(0, rows), layers.front().input.channels,
                                     reordered_.view().rows(0, rows));
  }
  for (std::size_t i = 0; i < layers.size(); ++i) forward(exec, layers[i], i, rows);
  return std::as_const(state_.back().output).view().rows(0, rows);
}

void Trainer::backward_all(const kernels::Execution& exec, Model& model, std::int64_t rows) {
  for (std::size_t i = model.layers().size(); i-- > first_trained_;) backward(exec, model.layers()[i], i, rows);
}

void Trainer::backward_step(const kernels::Execution& exec, Model& model, ConstTensorView output_gradient) {
  const std::int64_t rows = output_gradient.rows();
  State& last = state_.back();
  kernels::activation_gradient(exec, std::as_const(last.output).view().rows(0, rows), last.carried, output_gradient,
                               last.gradient.view().rows(0, rows));
  backward_all(exec, model, rows);
}

void Trainer::archive(StateArchive& archive, const std::string& prefix) {
  for (std::size_t i = 0; i < state_.size(); ++i) {
    State& s = state_[i];
    const std::string name = prefix + "." + std::to_string(i);
    const auto add = [&](const char* what, Tensor& t) {
      if (!t.empty()) archive.values(name + what, t.flat());
    };
    add(".first_weight", s.first_weight);
    add(".first_bias", s.first_bias);
    add(".second_weight", s.second_weight);
    add(".second_bias", s.second_bias);
  }
  archive.count(prefix + ".steps", steps_);
}

double Trainer::step(const kernels::Execution& exec, Model& model, std::int64_t rows) {
  forward_step(exec, model, rows);
  const auto n = static_cast<std::size_t>(rows);
  const std::span<float> losses(losses_.data(), n);
  kernels::softmax_cross_entropy(exec, state_.back().output.view().rows(0, rows),
                                 std::span<const std::int32_t>(labels_.data(), n), 1.0F / static_cast<float>(rows),
                                 losses, state_.back().gradient.view().rows(0, rows),
                                 std::span(predictions_.data(), n));
  backward_all(exec, model, rows);
  double sum = 0;
  for (const float loss : losses) sum += loss;
  return sum / static_cast<double>(rows);
}

void Trainer::forward(const kernels::Execution& exec, Layer& layer, std::size_t index, std::int64_t rows) {
  State& state = state_[index];
  const ConstTensorView x = input_of(index, rows);
  const TensorView y = state.output.view().rows(0, rows);
  if (layer.kind == LayerKind::batch_norm) {
    kernels::batch_norm_forward(exec, x, norm_parameters(layer), layer.activation, saved(state),
                                {layer.running_mean.flat(), layer.running_var.flat(), Layer::batch_norm_momentum}, y);
    ++layer.batches_tracked;
  } else if (layer.kind == LayerKind::max_pool) {
    const auto size = static_cast<std::size_t>(rows * layer.output.features());
    kernels::max_pool_forward(exec, x, pool_shape(layer), y, std::span(state.places.data(), size));
  } else if (layer.kind == LayerKind::dropout) {
    kernels::dropout(exec, x, dropout_stream(index), layer.rate, y);
  } else {
    layer_forward(exec, layer, x, y);
  }
}

void Trainer::backward(const kernels::Execution& exec, Layer& layer, std::size_t index, std::int64_t rows) {
  State& state = state_[index];
  const ConstTensorView x = input_of(index, rows), dz = state.gradient.view().rows(0, rows);
  if (layer.kind == LayerKind::batch_norm) {
    kernels::batch_norm_weight_gradient(exec, dz, x, saved(state), state.weight_gradient.flat(),
                                        state.bias_gradient.flat());
  }
  // The gradient of the inputs is taken with the weights of the forward pass, before they move.
  if (index > first_trained_) input_gradient(exec, layer, index, rows);
  switch (layer.kind) {
    case LayerKind::dense: update_dense(exec, layer, state, x, dz); break;
    case LayerKind::conv2d:
      kernels::conv2d_weight_gradient(exec, x, dz, conv_shape(layer), state.weight_gradient.view().matrix(),
                                      state.bias_gradient.flat());
      update_stored(exec, layer, state, options_.weight_decay);
      break;
    case LayerKind::batch_norm: update_stored(exec, layer, state, 0); break;
    case LayerKind::max_pool:
    case LayerKind::average_pool:
    case LayerKind::flatten:
    case LayerKind::dropout: break;
  }
}

void Trainer::input_gradient(const kernels::Execution& exec, const Layer& layer, std::size_t index, std::int64_t rows) {
  State& state = state_[index];
  const ConstTensorView x = input_of(index, rows), dz = state.gradient.view().rows(0, rows);
  const TensorView dx = state_[index - 1].gradient.view().rows(0, rows);
  const Activation& below = state_[index - 1].carried;
  switch (layer.kind) {
    case LayerKind::dense: kernels::dense_input_gradient(exec, dz, layer.weight, x, below, dx); break;
    case LayerKind::conv2d:
      kernels::conv2d_input_gradient(exec, dz, layer.weight.view().matrix(), x, below, conv_shape(layer), dx);
      break;
    case LayerKind::max_pool: {
      const auto size = static_cast<std::size_t>(rows * layer.output.features());
      kernels::max_pool_gradient(exec, dz, std::span<const std::uint8_t>(state.places.data(), size), pool_shape(layer),
                                 dx);
      break;
    }
    case LayerKind::average_pool: kernels::average_pool_gradient(exec, dz, x, below, pool_shape(layer), dx); break;
    case LayerKind::flatten: kernels::planar_to_channels_last(exec, dz, layer.input.channels, dx); break;
    case LayerKind::batch_norm:
      kernels::batch_norm_input_gradient(exec, dz, x, layer.weight.flat(), saved(state), state.weight_gradient.flat(),
                                         state.bias_gradient.flat(), below, dx);
      break;
    case LayerKind::dropout:
      kernels::dropout(exec, dz, dropout_stream(index), layer.rate, dx);
      if (is_smooth(below)) kernels::activation_gradient(exec, x, below, dx, dx);
      break;
  }
}

void Trainer::update_dense(const kernels::Execution& exec, Layer& layer, State& state, ConstTensorView x,
                           ConstTensorView dz) {
  const auto rate = static_cast<float>(options_.learning_rate);
  const auto decay = static_cast<float>(options_.weight_decay);
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

void Trainer::update_stored(const kernels::Execution& exec, Layer& layer, State& state, double weight_decay) {
  const auto step = [&](std::span<const float> gradient, std::span<float> p, Tensor& first, Tensor& second,
                        double decay_of) {
    const auto rate = static_cast<float>(options_.learning_rate);
    const auto decay = static_cast<float>(decay_of);
    switch (options_.kind) {
      case OptimizerKind::sgd:
        kernels::sgd_step(exec, gradient, {.learning_rate = rate, .weight_decay = decay}, p);
        break;
      case OptimizerKind::momentum:
        kernels::momentum_step(
            exec, gradient,
            {.learning_rate = rate, .momentum = static_cast<float>(options_.momentum), .weight_decay = decay}, p,
            first.flat());
        break;
      case OptimizerKind::adam:
        kernels::adam_step(exec, gradient,
                           {.learning_rate = rate,
                            .beta1 = static_cast<float>(options_.beta1),
                            .beta2 = static_cast<float>(options_.beta2),
                            .epsilon = static_cast<float>(options_.epsilon),
                            .weight_decay = decay,
                            .step = steps_},
                           p, first.flat(), second.flat());
        break;
    }
  };
  step(std::as_const(state.weight_gradient).flat(), layer.weight.flat(), state.first_weight, state.second_weight,
       weight_decay);
  step(std::as_const(state.bias_gradient).flat(), layer.bias.flat(), state.first_bias, state.second_bias, 0);
}

}  // namespace kindling
