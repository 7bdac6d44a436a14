#include "theory/curvature_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/activation_kernels.h"
#include "kernels/jacobian.h"
#include "kernels/layout.h"
#include "kernels/loss.h"
#include "kernels/pool.h"
#include "nn/forward_pass.h"
#include "nn/layer_shapes.h"
#include "nn/linear_layer.h"

namespace kindling {
namespace {

constexpr Activation identity{ActivationKind::identity};

void check(const Model& model, ConstTensorView x, const LossTarget& target) {
  const auto refuse = [](const std::string& text) { throw Error(ErrorCode::usage, "curvature: " + text); };
  if (model.layers().empty()) refuse("the model has no layers");
  for (const Layer& layer : model.layers()) {
    if (layer.kind != LayerKind::batch_norm) continue;
    refuse(
        fmt::format("{} is batch-norm, whose second derivatives are not built: expected dense, convolution, pooling, "
                    "flatten or dropout layers",
                    layer.name));
  }
  if (x.rank() < 1 || x.rows() < 1 || x.cols() != model.inputs()) {
    refuse(fmt::format("expected samples of {} inputs, found {}", model.inputs(), shape_string(x.shape())));
  }
  if (target.kind == LossKind::squared_error) {
    if (target.values.rank() < 1 || target.values.rows() != x.rows() || target.values.cols() != model.outputs()) {
      refuse(fmt::format("expected targets of {}x{}, found {}", x.rows(), model.outputs(),
                         shape_string(target.values.shape())));
    }
    return;
  }
  if (static_cast<std::int64_t>(target.labels.size()) != x.rows()) {
    refuse(fmt::format("expected {} labels, found {}", x.rows(), target.labels.size()));
  }
}

}  // namespace

LossCurvature::State::State(const Model& m, ConstTensorView x, const LossTarget& target, const Context& c)
    : model(&m),
      context(c),
      exec(kernels::execution(c)),
      rows_(x.rank() < 1 ? 0 : x.rows()),
      kind_(target.kind),
      residency_(exec) {
  check(m, x, target);
  using Role = kernels::Residency::Role;
  x_ = Tensor({rows_, m.inputs()});
  residency_.keep(Role::scratch, x_);
  keep_parameters(residency_, m);
  if (reorders_input(m)) {
    kernels::planar_to_channels_last(exec, x.matrix(), m.layers().front().input.channels, x_);
  } else {
    kernels::copy_rows(exec, x.matrix(), x_);
  }
  std::int64_t widest = m.inputs(), units = 0, weights = 0;
  for (const Layer& layer : m.layers()) {
    widest = std::max(widest, layer.output.features());
    units = std::max(units, layer.units());
    weights = std::max(weights, layer.weight.size());
  }
  for (int i = 0; i < 3; ++i) buffers_.emplace_back(std::vector<std::int64_t>{rows_, widest});
  ones_.assign(static_cast<std::size_t>(std::max(rows_, units)), 1.0F);
  no_bias_.assign(static_cast<std::size_t>(units), 0.0F);
  unused_bias_ = no_bias_;
  unused_weight_ = Tensor({weights});
  for (const Tensor& t : buffers_) residency_.keep(Role::scratch, t);
  residency_.keep(Role::scratch, unused_weight_);
  residency_.keep(Role::input, std::span<const float>(ones_));
  residency_.keep(Role::input, std::span<const float>(no_bias_));
  forward();
  backward(target);
}

Activation LossCurvature::State::activation(std::size_t i) const {
  return layer(i).has_neurons() ? layer(i).activation : identity;
}

void LossCurvature::State::forward() {
  for (std::size_t i = 0; i < depth(); ++i) {
    const Layer& l = layer(i);
    LayerState& state = layers_.emplace_back();
    const std::int64_t width = l.output.features();
    state.y = Tensor({rows_, width});
    state.ry = Tensor({rows_, width});
    for (const Tensor* t : {&state.y, &state.ry}) residency_.keep(kernels::Residency::Role::scratch, *t);
    if (l.kind == LayerKind::max_pool) {
      state.places.resize(static_cast<std::size_t>(rows_ * width));
      residency_.keep(kernels::Residency::Role::scratch, std::span<const std::uint8_t>(state.places));
      kernels::max_pool_forward(exec, input(i), pool_shape(l), state.y, state.places);
    } else {
      layer_forward(exec, l, input(i), state.y);
    }
  }
}

void LossCurvature::State::backward(const LossTarget& target) {
  const std::size_t last = depth() - 1;
  const auto n = static_cast<std::size_t>(rows_);
  std::vector<float> losses(n);
  const auto scratch = [&](std::int64_t width) {
    Tensor t({rows_, width});
    residency_.keep(kernels::Residency::Role::scratch, t);
    return t;
  };
  layers_[last].dy = scratch(model->outputs());
  const float scale = 1 / static_cast<float>(rows_);
  if (kind_ == LossKind::cross_entropy) {
    std::vector<std::int32_t> predictions(n);
    kernels::softmax_cross_entropy(exec, layers_[last].y, target.labels, scale, losses, layers_[last].dy, predictions);
  } else {
    kernels::squared_error(exec, layers_[last].y, target.values, scale, losses, layers_[last].dy);
  }
  for (const float l : losses) loss += double{l};
  loss /= static_cast<double>(rows_);
  if (!std::isfinite(loss)) {
    throw Error(ErrorCode::numerical, fmt::format("curvature: the loss is {}, expected a finite number", loss));
  }
  for (std::size_t i = last;; --i) {
    const Layer& l = layer(i);
    LayerState& state = layers_[i];
    state.du = scratch(l.output.features());
    kernels::activation_gradient(exec, state.y, activation(i), state.dy, state.du);
    if (i == 0) return;
    layers_[i - 1].dy = scratch(l.input.features());
    if (l.has_neurons()) {
      linear_transposed(exec, l, l.weight.view().matrix(), state.du, input(i), layers_[i - 1].dy);
    } else {
      fixed_transposed(exec, l, state.places, state.du, input(i), layers_[i - 1].dy);
    }
  }
}

std::int64_t LossCurvature::State::size(const HessianBlock& block) const {
  std::int64_t total = 0;
  for (std::size_t j = 0; j < block.layers.size(); ++j) {
    const std::size_t i = block.layers[j];
    if (i >= depth() || !layer(i).has_neurons() || (j > 0 && i <= block.layers[j - 1])) {
      throw Error(ErrorCode::usage,
                  fmt::format("curvature: expected ascending indices of dense or convolution layers below {}, found {}",
                              depth(), i));
    }
    total += layer(i).weight.size() + (block.biases ? layer(i).units() : 0);
  }
  return total;
}

std::vector<LossCurvature::State::Move> LossCurvature::State::cut(const HessianBlock& block,
                                                                  std::span<const float> direction) const {
  if (size(block) != static_cast<std::int64_t>(direction.size())) {
    throw Error(ErrorCode::usage, fmt::format("curvature: expected a vector of the block's {} parameters, found {}",
                                              size(block), direction.size()));
  }
  std::vector<Move> moves(depth());
  for (const std::size_t i : block.layers) {
    const Layer& l = layer(i);
    const auto units = static_cast<std::size_t>(l.units()), weights = static_cast<std::size_t>(l.weight.size());
    moves[i].weight = {direction.data(), {l.units(), l.fan_in()}};
    moves[i].bias = block.biases ? direction.subspan(weights, units) : std::span(no_bias_).first(units);
    direction = direction.subspan(weights + (block.biases ? units : 0));
  }
  return moves;
}

void LossCurvature::State::add(TensorView t, ConstTensorView s) const {
  const std::span<const float> one = std::span(ones_).first(static_cast<std::size_t>(t.rows()));
  kernels::jacobian_join(exec, t, one, s, one, {s, identity}, t);
}

void LossCurvature::State::tangent(std::size_t i, const Move& move, bool input_moves) {
  const Layer& l = layer(i);
  LayerState& state = layers_[i];
  const TensorView r = state.ry;
  if (!l.has_neurons()) {
    fixed_forward(exec, l, state.places, layers_[i - 1].ry, r);
    return;
  }
  const bool moves = move.weight.rank() > 0;
  const ConstTensorView w = l.weight.view().matrix();
  const auto none = std::span(std::as_const(no_bias_)).first(static_cast<std::size_t>(l.units()));
  const kernels::Derivative at{state.y, l.activation};
  if (!moves && l.kind == LayerKind::dense) {
    kernels::jacobian_transposed(exec, layers_[i - 1].ry, w, at, r);
    return;
  }
  if (moves) linear_forward(exec, l, move.weight, move.bias, input(i), r);
  if (!input_moves) {
    kernels::activation_gradient(exec, state.y, l.activation, r, r);
    return;
  }
  if (!moves) {
    linear_forward(exec, l, w, none, layers_[i - 1].ry, r);
    kernels::activation_gradient(exec, state.y, l.activation, r, r);
    return;
  }
  const TensorView other = buffer(0, r.cols());
  linear_forward(exec, l, w, none, layers_[i - 1].ry, other);
  const std::span<const float> one = std::span(ones_).first(static_cast<std::size_t>(rows_));
  kernels::jacobian_join(exec, r, one, other, one, at, r);
}

std::size_t LossCurvature::State::tangents(const std::vector<Move>& moves) {
  std::size_t first = 0;
  while (first < depth() && moves[first].weight.rank() == 0) ++first;
  for (std::size_t i = first; i < depth(); ++i) tangent(i, moves[i], i > first);
  return first;
}

void LossCurvature::State::loss_hessian(ConstTensorView t, float scale, TensorView out) const {
  if (kind_ == LossKind::cross_entropy) {
    kernels::softmax_hessian_product(exec, layers_.back().y, t, scale, out);
    return;
  }
  const std::vector<float> twice(static_cast<std::size_t>(t.rows()), 2 * scale / static_cast<float>(t.cols()));
  kernels::scale_rows(exec, t, twice, out);
}

void LossCurvature::State::through_activation(std::size_t i, TensorView r, HessianKind kind) {
  const LayerState& state = layers_[i];
  const Activation f = activation(i);
  if (f.kind == ActivationKind::identity) return;
  kernels::activation_gradient(exec, state.y, f, r, r);
  if (kind == HessianKind::gauss_newton || !kernels::is_smooth(f)) return;
  // f''(u) R{u} dy = (f'' / f') R{y} dy
  const TensorView bend = buffer(2, r.cols());
  kernels::jacobian_curvature(exec, state.dy, state.ry, {state.y, f}, bend);
  add(r, bend);
}

void LossCurvature::State::parameter_gradient(std::size_t i, ConstTensorView rdu, bool second_term, TensorView dw,
                                              std::span<float> db) {
  const Layer& l = layer(i);
  linear_weight_gradient(exec, l, input(i), rdu, dw, db);
  if (!second_term) return;
  const TensorView other(unused_weight_.data(), {dw.rows(), dw.cols()});
  linear_weight_gradient(exec, l, layers_[i - 1].ry, layers_[i].du, other, std::span(unused_bias_).first(db.size()));
  add(dw, other);
}

void LossCurvature::State::product(const HessianBlock& block, std::span<const float> direction, std::span<float> result,
                                   HessianKind kind) {
  const std::vector<Move> moves = cut(block, direction);
  if (result.size() != direction.size()) {
    throw Error(ErrorCode::usage,
                fmt::format("curvature: expected a result of {} numbers, found {}", direction.size(), result.size()));
  }
  if (block.layers.empty()) return;
  context.check_stop();
  const std::size_t first = tangents(moves), last = depth() - 1;
  std::size_t held = 0;  // which buffer holds R{dy}, then R{du}
  loss_hessian(layers_[last].ry, 1 / static_cast<float>(rows_), buffer(held, model->outputs()));
  std::span<float> rest = result;
  for (std::size_t i = last;; --i) {
    const Layer& l = layer(i);
    const TensorView r = buffer(held, l.output.features());
    through_activation(i, r, kind);
    if (moves[i].weight.rank() > 0) {
      const auto units = static_cast<std::size_t>(l.units()), weights = static_cast<std::size_t>(l.weight.size());
      const std::span<float> mine = rest.last(weights + (block.biases ? units : 0));
      rest = rest.first(rest.size() - mine.size());
      parameter_gradient(i, r, kind == HessianKind::exact && i > first, {mine.data(), {l.units(), l.fan_in()}},
                         block.biases ? mine.last(units) : std::span(unused_bias_).first(units));
    }
    if (i == first) return;
    const TensorView below = buffer(1 - held, l.input.features());
    if (l.has_neurons()) {
      linear_transposed(exec, l, l.weight.view().matrix(), r, input(i), below);
      if (moves[i].weight.rank() > 0 && kind == HessianKind::exact) {
        const TensorView other = buffer(2, l.input.features());
        linear_transposed(exec, l, moves[i].weight, layers_[i].du, input(i), other);
        add(below, other);
      }
    } else {
      fixed_transposed(exec, l, layers_[i].places, r, input(i), below);
    }
    held = 1 - held;
  }
}

void LossCurvature::State::gradient(const HessianBlock& block, std::span<float> result) {
  if (size(block) != static_cast<std::int64_t>(result.size())) {
    throw Error(ErrorCode::usage, fmt::format("curvature: expected room for the block's {} parameters, found {}",
                                              size(block), result.size()));
  }
  for (const std::size_t i : block.layers) {
    const Layer& l = layer(i);
    const auto units = static_cast<std::size_t>(l.units()), weights = static_cast<std::size_t>(l.weight.size());
    const auto bias = block.biases ? result.subspan(weights, units) : std::span(unused_bias_).first(units);
    linear_weight_gradient(exec, l, input(i), layers_[i].du, {result.data(), {l.units(), l.fan_in()}}, bias);
    result = result.subspan(weights + (block.biases ? units : 0));
  }
}

double LossCurvature::State::gauss_newton_form(const HessianBlock& block, std::span<const float> direction) {
  const std::vector<Move> moves = cut(block, direction);
  if (block.layers.empty()) return 0;
  tangents(moves);
  const ConstTensorView v = layers_.back().ry;
  const TensorView h = buffer(0, v.cols());
  loss_hessian(v, 1.0F, h);
  std::vector<float> dots(static_cast<std::size_t>(rows_));
  kernels::row_dots(exec, v, h, dots);
  double sum = 0;
  for (const float d : dots) sum += double{d};
  return sum / static_cast<double>(rows_);
}

}  // namespace kindling
