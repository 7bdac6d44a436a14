// With S_i the gradients of a logit at what layer i gives before its activation, and M_i the layer's linear map,
// S_(i-1) = f' * (M_i^T S_i) from the logits to the input. The gradient runs back up: with A the gradient with respect
// to S_(i-1) and T = f' * A, that with respect to S_i is M_i T, and the one with respect to the layer's weights is the
// weight gradient kernel's for inputs T and output gradients S_i.
#include "nn/layer_jacobian.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/activation_kernels.h"
#include "kernels/batch_norm.h"
#include "kernels/conv.h"
#include "kernels/dense.h"
#include "kernels/device_log.h"
#include "kernels/jacobian.h"
#include "kernels/layout.h"
#include "kernels/optimizer.h"
#include "kernels/pool.h"
#include "kernels/residency.h"
#include "nn/forward_pass.h"
#include "nn/layer_shapes.h"
#include "nn/trainer.h"

namespace kindling {
namespace {

constexpr kernels::SgdStep add{.learning_rate = -1.0F};
constexpr Activation identity{ActivationKind::identity};
constexpr std::int64_t block_rows = 256;  // rows of Jacobians at a time

class LayerJacobian {
 public:
  LayerJacobian(const Model& model, ConstTensorView x, const Context& context, kernels::Residency* keeper)
      : model_(model),
        context_(context),
        exec_(kernels::execution(context)),
        x_(x.matrix()),
        d_(model.outputs()),
        kept_outside_(keeper != nullptr),
        residency_(exec_) {
    if (const std::string problem = layer_jacobian_problem(model); !problem.empty()) {
      throw Error(ErrorCode::usage, "Jacobians: " + problem);
    }
    residency_.keep(Role::input, x_);
    keep_parameters(residency_, model);
    block_ = std::max<std::int64_t>(1, std::min(x.rows(), block_rows / d_));
    const std::int64_t rows = block_ * d_;
    if (reorders_input(model)) {
      reordered_ = Tensor({x.rows(), model.inputs()});
      residency_.keep(Role::scratch, reordered_);
      kernels::planar_to_channels_last(exec_, x_, model.layers().front().input.channels, reordered_);
      x_ = std::as_const(reordered_).view();
    }
    std::int64_t widest = model.inputs();
    for (std::size_t i = 0; i < model.layers().size(); ++i) {
      const Layer& layer = model.layers()[i];
      gradients_.push_back(empty_gradient(layer));
      if (!passes_through(layer)) add_step(layer, i, rows);
      widest = std::max({widest, layer.output.features(), layer.weight.size()});
    }
    steps_.back().point = none;  // the logits themselves are no x_l
    points_ = 1;
    for (Step& step : steps_) {
      if (step.point != none) step.point = points_++;
    }
    input_rows_ = Tensor({rows, model.inputs()});
    zeros_ = Tensor({rows, widest});
    for (Tensor* t : {&adjoint_, &next_}) *t = Tensor({rows, widest});
    ones_ = std::vector<float>(static_cast<std::size_t>(rows), 1.0F);
    none_ = std::vector<float>(ones_.size(), 0.0F);
    scratch_ = Tensor({widest});
    unused_ = std::vector<float>(static_cast<std::size_t>(widest));
    kernels::Residency& results = keeper != nullptr ? *keeper : residency_;
    for (LayerGradient& g : gradients_) {
      for (Tensor* t : {&g.weight, &g.bias}) {
        results.keep(kept_outside_ ? Role::scratch : Role::result, *t);
        kernels::zero(exec_, t->flat());
      }
    }
    for (const Tensor* t : {&input_rows_, &adjoint_, &next_, &scratch_}) residency_.keep(Role::scratch, *t);
    residency_.keep(Role::scratch, zeros_);
    kernels::zero(exec_, zeros_.flat());
    residency_.keep(Role::scratch, std::span<const float>(unused_));
  }

  Tensor norms() {
    const std::int64_t n = x_.rows();
    Tensor all({points_, n * d_}), part({points_, block_ * d_});
    for (std::int64_t first = 0; first < n; first += block_) {
      const std::int64_t count = std::min(block_, n - first);
      down(first, count, part);
      for (std::int64_t l = 0; l < points_; ++l)
        std::copy_n(part.data() + l * count * d_, count * d_, all.data() + l * n * d_ + first * d_);
    }
    return all;
  }

  std::vector<LayerGradient> gradient(const NormGradient& norm_gradient) {
    Tensor norms({points_, block_ * d_}), seeds({points_, block_ * d_});
    for (std::int64_t first = 0; first < x_.rows(); first += block_) {
      context_.check_stop();
      const std::int64_t count = std::min(block_, x_.rows() - first);
      down(first, count, norms);
      const TensorView seed(seeds.data(), {points_, count * d_});
      std::fill(seed.flat().begin(), seed.flat().end(), 0.0F);
      norm_gradient(first, count, ConstTensorView(norms.data(), {points_, count * d_}), seed);
      for (std::int64_t i = 0; i < seed.size(); ++i) {
        seed.data()[i] = norms.data()[i] == 0 ? 0.0F : seed.data()[i] / norms.data()[i];
      }
      up(seed);
    }
    if (!kept_outside_) residency_.finish();
    return std::move(gradients_);
  }

 private:
  using Role = kernels::Residency::Role;
  static constexpr std::int64_t none = -1;
  struct Step {
    std::size_t layer = 0;
    Tensor output;                      // N x features
    Tensor rows;                        // S at the layer, R x features
    Activation carried{identity};       // derivative that S at the layer holds
    bool masks_below = false;           // whether its transposed map is followed by the derivative of the step below
    std::int64_t point = 0;             // l of x_l, none for no x_l
    std::vector<float> scale, inverse;  // batch_norm
    std::vector<std::uint8_t> places;   // max_pool: of all samples
  };

  // A layer's forward pass on the whole batch, in training mode.
  void add_step(const Layer& layer, std::size_t index, std::int64_t rows) {
    const std::int64_t n = x_.rows();
    const ConstTensorView x = steps_.empty() ? x_ : std::as_const(steps_.back().output).view();
    Step step{.layer = index, .output = Tensor({n, layer.output.features()})};
    step.rows = Tensor({rows, layer.output.features()});
    for (const Tensor* t : {&step.output, &step.rows}) residency_.keep(Role::scratch, *t);
    step.carried = carried_by(layer, steps_.empty() ? identity : steps_.back().carried);
    step.masks_below = layer.kind != LayerKind::max_pool && layer.kind != LayerKind::flatten;
    const bool normed = index + 1 < model_.layers().size() && model_.layers()[index + 1].kind == LayerKind::batch_norm;
    step.point = (layer.has_neurons() && !normed) || layer.kind == LayerKind::batch_norm ? 0 : none;
    if (layer.kind == LayerKind::batch_norm) {
      const auto c = static_cast<std::size_t>(layer.weight.size());
      std::vector<float> mean(c), running(2 * c);
      step.inverse.resize(c);
      kernels::batch_norm_forward(exec_, x, norm_parameters(layer), layer.activation, {mean, step.inverse},
                                  {std::span(running).first(c), std::span(running).last(c), Layer::batch_norm_momentum},
                                  step.output);
      for (std::size_t k = 0; k < c; ++k) step.scale.push_back(layer.weight.data()[k] * step.inverse[k]);
    } else if (layer.kind == LayerKind::max_pool) {
      step.places.resize(static_cast<std::size_t>(n * layer.output.features()));
      residency_.keep(Role::scratch, std::span<const std::uint8_t>(step.places));
      kernels::max_pool_forward(exec_, x, pool_shape(layer), step.output, step.places);
    } else {
      layer_forward(exec_, layer, x, step.output);
    }
    steps_.push_back(std::move(step));
  }

  [[nodiscard]] const Layer& layer_of(const Step& step) const { return model_.layers()[step.layer]; }
  TensorView part(Tensor& t, std::int64_t cols) const { return {t.data(), {rows_, cols}}; }
  std::span<const float> first_rows(const std::vector<float>& v) const {
    return std::span(v).first(static_cast<std::size_t>(rows_));
  }
  // f' of what a step holds, for the samples of the block.
  kernels::Derivative derivative(const Step& step) const {
    return {step.output.view().rows(first_, count_), step.carried};
  }
  static bool plain(const Activation& a) { return a.kind == ActivationKind::identity; }

  // The places of the block's maxima, for every row.
  std::vector<std::uint8_t> places(const Step& step) const {
    kernels::on_host("Jacobians: places of the maxima, repeated for every output");
    kernels::fetch(std::span<const std::uint8_t>(step.places));
    const std::int64_t features = layer_of(step).output.features();
    std::vector<std::uint8_t> result;
    for (std::int64_t n = first_; n < first_ + count_; ++n) {
      for (std::int64_t i = 0; i < d_; ++i) {
        result.insert(result.end(), step.places.begin() + n * features, step.places.begin() + (n + 1) * features);
      }
    }
    return result;
  }

  // M^T s.
  void transposed(const Step& step, ConstTensorView s, TensorView out) {
    const Layer& layer = layer_of(step);
    const ConstTensorView any(zeros_.data(), {rows_, out.cols()});
    switch (layer.kind) {
      case LayerKind::dense: kernels::dense_input_gradient(exec_, s, layer.weight, any, identity, out); break;
      case LayerKind::conv2d:
        kernels::conv2d_input_gradient(exec_, s, layer.weight.view().matrix(), any, identity, conv_shape(layer), out);
        break;
      case LayerKind::batch_norm: scale_channels(step, s, out); break;
      case LayerKind::max_pool: kernels::max_pool_gradient(exec_, s, places(step), pool_shape(layer), out); break;
      case LayerKind::average_pool:
        kernels::average_pool_gradient(exec_, s, any, identity, pool_shape(layer), out);
        break;
      case LayerKind::flatten: kernels::planar_to_channels_last(exec_, s, layer.input.channels, out); break;
      case LayerKind::dropout: break;
    }
  }

  // M t.
  void forward(const Step& step, ConstTensorView t, TensorView out) {
    const Layer& layer = layer_of(step);
    const std::span<const float> no_bias =
        std::span<const float>(zeros_.flat()).first(static_cast<std::size_t>(std::max<std::int64_t>(layer.units(), 0)));
    switch (layer.kind) {
      case LayerKind::dense: kernels::dense_forward(exec_, t, layer.weight, no_bias, identity, out); break;
      case LayerKind::conv2d:
        kernels::conv2d_forward(exec_, t, layer.weight.view().matrix(), no_bias, identity, conv_shape(layer), out);
        break;
      case LayerKind::batch_norm: scale_channels(step, t, out); break;
      case LayerKind::max_pool: kernels::max_pool_take(exec_, t, places(step), pool_shape(layer), out); break;
      case LayerKind::average_pool: kernels::average_pool_forward(exec_, t, pool_shape(layer), out); break;
      case LayerKind::flatten: kernels::channels_last_to_planar(exec_, t, layer.input.channels, out); break;
      case LayerKind::dropout: break;
    }
  }

  void scale_channels(const Step& step, ConstTensorView x, TensorView y) {
    // Variance and epsilon add up to exactly 1.
    constexpr float epsilon = 0x1p-10F;
    const std::vector<float> zero(step.scale.size(), 0.0F), variance(step.scale.size(), 1 - epsilon);
    kernels::batch_norm_inference(exec_, x, {step.scale, zero, epsilon}, zero, variance, identity, y);
  }

  // S at every layer, and the norms (points x rows).
  void down(std::int64_t first, std::int64_t count, Tensor& norms) {
    first_ = first;
    count_ = count;
    rows_ = count * d_;
    const auto norms_of = [&](std::int64_t l) {
      return norms.flat().subspan(static_cast<std::size_t>(l * rows_), static_cast<std::size_t>(rows_));
    };
    Step& top = steps_.back();
    std::fill(top.rows.flat().begin(), top.rows.flat().end(), 0.0F);
    for (std::int64_t r = 0; r < rows_; ++r) top.rows.view()(r, r % d_) = 1;
    kernels::changed(top.rows);
    for (std::size_t i = steps_.size(); i-- > 0;) {
      Step& step = steps_[i];
      if (step.point != none) kernels::row_norms(exec_, part(step.rows, step.output.shape()[1]), norms_of(step.point));
      Tensor& below = i > 0 ? steps_[i - 1].rows : input_rows_;
      const TensorView out = part(below, layer_of(step).input.features());
      transposed(step, part(step.rows, step.output.shape()[1]), out);
      if (i > 0 && step.masks_below && !plain(steps_[i - 1].carried)) {
        kernels::jacobian_join(exec_, out, first_rows(ones_), out, first_rows(none_), derivative(steps_[i - 1]), out);
      }
    }
    kernels::row_norms(exec_, part(input_rows_, model_.inputs()), norms_of(0));
  }

  void up(ConstTensorView seeds) {
    kernels::scale_rows(exec_, part(input_rows_, model_.inputs()), seeds.rows(0, 1).flat(),
                        part(adjoint_, model_.inputs()));
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      Step& step = steps_[i];
      const Layer& layer = layer_of(step);
      const TensorView t = part(adjoint_, layer.input.features()), s = part(step.rows, layer.output.features());
      if (i > 0) {
        Step& below = steps_[i - 1];
        const std::span<const float> seed =
            below.point == none ? first_rows(none_) : std::span<const float>(seeds.row(below.point), rows_);
        const bool masked = step.masks_below && !plain(below.carried);
        const kernels::Derivative at =
            masked ? derivative(below) : kernels::Derivative{below.output.view().rows(first_, count_), identity};
        if (masked || below.point != none) {
          kernels::jacobian_join(exec_, t, first_rows(ones_), part(below.rows, t.cols()), seed, at, t);
        }
      }
      weight_gradient(step, t, s);
      if (i + 1 == steps_.size()) break;
      forward(step, t, part(next_, layer.output.features()));
      std::swap(adjoint_, next_);
    }
  }

  void weight_gradient(const Step& step, ConstTensorView t, ConstTensorView s) {
    const Layer& layer = layer_of(step);
    if (layer.weight.empty()) return;
    const std::span<float> sum = gradients_[step.layer].weight.flat(), found = scratch_.flat().first(sum.size());
    const std::span<float> discarded = std::span(unused_).first(static_cast<std::size_t>(layer.bias.size()));
    if (layer.kind == LayerKind::dense) {
      kernels::dense_weight_gradient(exec_, t, s, TensorView(found.data(), {layer.units(), layer.fan_in()}), discarded);
    } else if (layer.kind == LayerKind::conv2d) {
      kernels::conv2d_weight_gradient(exec_, t, s, conv_shape(layer),
                                      TensorView(found.data(), {layer.units(), layer.fan_in()}), discarded);
    } else {
      std::vector<float> mean(step.inverse.size(), 0.0F), inverse = step.inverse;
      kernels::batch_norm_weight_gradient(exec_, s, t, {mean, inverse}, found, discarded);
    }
    kernels::sgd_step(exec_, found, add, sum);
  }

  const Model& model_;
  const Context& context_;
  kernels::Execution exec_;
  ConstTensorView x_;
  std::int64_t d_, block_ = 0, first_ = 0, count_ = 0, rows_ = 0, points_ = 0;
  std::vector<Step> steps_;
  std::vector<LayerGradient> gradients_;
  Tensor reordered_, input_rows_, zeros_, adjoint_, next_, scratch_;
  std::vector<float> ones_, none_, unused_;
  bool kept_outside_;  // the gradients, by the caller
  kernels::Residency residency_;
};

}  // namespace

std::string layer_jacobian_problem(const Model& model) {
  for (const Layer& layer : model.layers()) {
    const bool active = layer.has_neurons() || layer.kind == LayerKind::batch_norm;
    if (active && kernels::is_smooth(layer.activation)) {
      return fmt::format(
          "beside convolution, pooling and flattening only piecewise-linear activations are known; {} has {}",
          layer.name, to_string(layer.activation));
    }
  }
  return "";
}

Tensor layer_jacobian_norms(const Model& model, ConstTensorView x, const Context& context) {
  return LayerJacobian(model, x, context, nullptr).norms();
}

std::vector<LayerGradient> layer_jacobian_norm_gradient(const Model& model, ConstTensorView x,
                                                        const NormGradient& norm_gradient, const Context& context,
                                                        kernels::Residency* keeper) {
  return LayerJacobian(model, x, context, keeper).gradient(norm_gradient);
}

}  // namespace kindling
