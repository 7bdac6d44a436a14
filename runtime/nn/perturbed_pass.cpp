#include "nn/perturbed_pass.h"

#include <Eigen/QR>
#include <algorithm>
#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/conv.h"
#include "kernels/dense.h"
#include "kernels/device_log.h"
#include "kernels/layout.h"
#include "kernels/optimizer.h"
#include "kernels/pool.h"
#include "kernels/random.h"
#include "nn/forward_pass.h"
#include "nn/layer_shapes.h"
#include "nn/trainer.h"

namespace kindling {
namespace {

// Adding one array to another is a descent step of rate -1.
constexpr kernels::SgdStep add{.learning_rate = -1.0F};

// Size of E and of e in whole blocks of the stream.
std::int64_t blocks(std::int64_t elements) { return (elements + 3) / 4; }

}  // namespace

PerturbedPass::PerturbedPass(const Model& model, const PerturbedPassOptions& options)
    : options_(options), reorder_(reorders_input(model)), ones_({options.samples, 1}) {
  const std::int64_t s = options.samples, b = options.batch;
  std::fill(ones_.flat().begin(), ones_.flat().end(), 1.0F);
  if (reorder_) reordered_ = Tensor({b, model.inputs()});
  std::size_t previous = none;
  bool trained = false;
  Activation carried{ActivationKind::identity};
  std::int64_t widest = 1;
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    const Layer& layer = model.layers()[i];
    State state;
    before_.push_back(previous);
    gradients_.push_back(empty_gradient(layer));
    if (!passes_through(layer)) {
      const bool has_parameters = !layer.weight.empty();
      if (has_parameters && !trained) first_trained_ = i;
      trained = trained || has_parameters;
      state.shared = !trained;
      carried = state.carried = carried_by(layer, carried);
      const std::int64_t features = layer.output.features();
      if (state.shared) {
        state.output = Tensor({b, features});
      } else {
        state.output = Tensor({s, b, features});
        state.gradient = Tensor({s, b, features});
      }
      if (layer.kind == LayerKind::conv2d) {  // dense layers: by the first pass that stores them
        state.weights = Tensor({s, layer.weight.size()});
        state.biases = Tensor({s, layer.units()});
      }
      if (layer.kind == LayerKind::batch_norm) {
        for (Tensor* t : {&state.mean, &state.inverse_std, &state.weight_copies, &state.bias_copies}) {
          *t = Tensor({s, layer.weight.size()});
        }
      }
      if (layer.kind == LayerKind::max_pool) state.places.resize(static_cast<std::size_t>(s * b * features));
      widest = std::max(widest, layer.weight.size());
      if (layer.has_neurons()) widest = std::max(widest, b * features);
      previous = last_ = i;
    }
    state_.push_back(std::move(state));
  }
  summed_ = Tensor({widest});
  discarded_ = Tensor({widest, 1});
  running_ = Tensor({2, widest});
}

void PerturbedPass::keep_on(kernels::Residency& residency) const {
  using Role = kernels::Residency::Role;
  // Not batch-norm's statistics: the host makes these few numbers a channel.
  for (const State& s : state_) {
    for (const Tensor* t : {&s.output, &s.gradient, &s.weights, &s.biases, &s.weight_copies, &s.bias_copies})
      residency.keep(Role::scratch, *t);
    residency.keep(Role::scratch, std::span<const std::uint8_t>(s.places));
  }
  for (const LayerGradient& g : gradients_)
    for (const Tensor* t : {&g.weight, &g.bias}) residency.keep(Role::result, *t);
  residency.keep(Role::input, ones_);
  for (const Tensor* t : {&reordered_, &summed_, &discarded_}) residency.keep(Role::scratch, *t);
}

PerturbedPass::Input PerturbedPass::input_of(std::size_t index) const {
  const std::size_t from = before_[index];
  if (from == none) return {reorder_ ? reordered_.view() : x_, true, {ActivationKind::identity}};
  const State& state = state_[from];
  return {state.output.view(), state.shared, state.carried};
}

TensorView PerturbedPass::all_rows(Tensor& t) const {
  return {t.data(), {options_.samples * options_.batch, t.shape()[2]}};
}

TensorView PerturbedPass::logit_gradient() { return state_[last_].gradient; }

kernels::Perturbation PerturbedPass::perturbation(const Layer& layer, std::size_t index) const {
  return {{seed_, Purpose::perturbation, static_cast<std::uint32_t>(index), step_},
          static_cast<float>(std::sqrt(options_.scale / static_cast<double>(layer.fan_in()))),
          static_cast<float>(std::sqrt(options_.scale / static_cast<double>(layer.units())))};
}

ConstTensorView PerturbedPass::forward(const kernels::Execution& exec, const Model& model, ConstTensorView x,
                                       std::uint64_t seed, std::uint32_t step) {
  if (x.rows() != options_.batch || x.cols() != model.inputs()) {
    throw Error(ErrorCode::usage, "a perturbed pass got a batch of another shape than it was made for");
  }
  x_ = x.matrix();
  seed_ = seed;
  step_ = step;
  const auto& layers = model.layers();
  if (reorder_) kernels::planar_to_channels_last(exec, x_, layers.front().input.channels, reordered_);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (passes_through(layers[i])) continue;
    state_[i].shared ? layer_forward(exec, layers[i], input_of(i).view, state_[i].output)
                     : forward_layer(exec, layers[i], i);
  }
  return state_[last_].output.view();
}

void PerturbedPass::forward_layer(const kernels::Execution& exec, const Layer& layer, std::size_t index) {
  State& state = state_[index];
  if (layer.kind == LayerKind::dense) return forward_dense(exec, layer, index);
  if (layer.kind == LayerKind::conv2d) return forward_stored(exec, layer, index);
  const Input in = input_of(index);
  const std::int64_t s = options_.samples, b = options_.batch;
  if (layer.kind == LayerKind::batch_norm) {
    for (std::int64_t i = 0; i < s; ++i) {
      const ConstTensorView x(in.shared ? in.view.data() : in.view.row(i), {b, layer.input.features()});
      const auto c = static_cast<std::size_t>(layer.weight.size());
      const std::span<float> running = running_.flat();
      kernels::batch_norm_forward(
          exec, x, norm_parameters(layer), layer.activation,
          {std::span(state.mean.view().row(i), c), std::span(state.inverse_std.view().row(i), c)},
          {running.first(c), running.subspan(c, c), Layer::batch_norm_momentum},
          TensorView(state.output.view().row(i), {b, layer.output.features()}));
    }
    return;
  }
  const ConstTensorView x(in.view.data(), {s * b, layer.input.features()});
  if (layer.kind == LayerKind::max_pool) {
    kernels::max_pool_forward(exec, x, pool_shape(layer), all_rows(state.output), std::span(state.places));
  } else {
    layer_forward(exec, layer, x, all_rows(state.output));
  }
}

void PerturbedPass::forward_dense(const kernels::Execution& exec, const Layer& layer, std::size_t index) {
  const Input in = input_of(index);
  const kernels::Perturbation noise = perturbation(layer, index);
  const std::int64_t b = options_.batch, fan_in = layer.fan_in();
  if (!in.shared || !options_.span || b >= fan_in) {
    if (stores(exec, layer)) return forward_stored(exec, layer, index);
    kernels::perturbed_dense_forward(exec, noise, in.view, layer.weight, layer.bias.flat(), layer.activation,
                                     state_[index].output);
    return;
  }
  // X^T = Q R: the network of fan-in B with inputs R^T and weights W Q.
  using Columns = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;
  if (basis_.empty()) {
    basis_ = Tensor({b, fan_in});
    span_input_ = Tensor({b, b});
    span_weight_ = Tensor({layer.units(), b});
  }
  kernels::on_host("mmd: QR factorization of every batch, for perturbations in its span (span=false: none)");
  kernels::fetch(in.view);
  Columns x(fan_in, b);
  for (std::int64_t r = 0; r < b; ++r) std::copy_n(in.view.row(r), fan_in, x.col(r).data());
  const Eigen::HouseholderQR<Eigen::Ref<Columns>> qr(x);
  Eigen::Map<Columns>(basis_.data(), fan_in, b) = qr.householderQ() * Columns::Identity(fan_in, b);
  for (std::int64_t r = 0; r < b; ++r) {
    for (std::int64_t c = 0; c < b; ++c) span_input_.data()[r * b + c] = c <= r ? x(c, r) : 0.0F;
  }
  const std::vector<float> no_bias(static_cast<std::size_t>(b));
  kernels::Residency residency(exec);
  residency.keep(kernels::Residency::Role::scratch, span_weight_);
  kernels::dense_forward(exec, layer.weight, basis_, no_bias, {ActivationKind::identity}, span_weight_);
  kernels::perturbed_dense_forward(exec, noise, span_input_.view(), span_weight_, layer.bias.flat(), layer.activation,
                                   state_[index].output);
}

// Draws that fill whole blocks of the stream row by row are those of the kernels that draw by themselves.
bool PerturbedPass::stores(const kernels::Execution& exec, const Layer& layer) const {
  if (layer.kind == LayerKind::conv2d) return true;
  return !exec.target->gpu && layer.fan_in() % 4 == 0 && options_.samples * layer.weight.size() <= options_.most_stored;
}

void PerturbedPass::draw_sample(const kernels::Execution& exec, const Layer& layer, std::size_t index,
                                std::int64_t sample) {
  State& state = state_[index];
  const kernels::Perturbation noise = perturbation(layer, index);
  const std::int64_t weight_blocks = blocks(layer.weight.size());
  const auto first = static_cast<std::uint32_t>(sample * (weight_blocks + blocks(layer.units())));
  const std::span<float> w(state.weights.view().row(sample), static_cast<std::size_t>(layer.weight.size()));
  const std::span<float> bias(state.biases.view().row(sample), static_cast<std::size_t>(layer.units()));
  kernels::philox_normal(exec, noise.stream, 0, noise.weight_stddev, w, first);
  kernels::philox_normal(exec, noise.stream, 0, noise.bias_stddev, bias,
                         first + static_cast<std::uint32_t>(weight_blocks));
  kernels::sgd_step(exec, layer.weight.flat(), add, w);
  kernels::sgd_step(exec, layer.bias.flat(), add, bias);
}

void PerturbedPass::forward_stored(const kernels::Execution& exec, const Layer& layer, std::size_t index) {
  State& state = state_[index];
  const Input in = input_of(index);
  const std::int64_t b = options_.batch;
  if (state.weights.empty()) {
    state.weights = Tensor({options_.samples, layer.weight.size()});
    state.biases = Tensor({options_.samples, layer.units()});
  }
  // Sample by sample: its weights are still in cache.
  for (std::int64_t i = 0; i < options_.samples; ++i) {
    draw_sample(exec, layer, index, i);
    const ConstTensorView w(state.weights.view().row(i), {layer.units(), layer.fan_in()});
    const std::span<const float> bias(state.biases.view().row(i), static_cast<std::size_t>(layer.units()));
    const ConstTensorView x(in.shared ? in.view.data() : in.view.row(i), {b, layer.input.features()});
    const TensorView y(state.output.view().row(i), {b, layer.output.features()});
    if (layer.kind == LayerKind::dense) {
      kernels::dense_forward(exec, x, w, bias, layer.activation, y);
    } else {
      kernels::conv2d_forward(exec, x, w, bias, layer.activation, conv_shape(layer), y);
    }
  }
}

}  // namespace kindling
