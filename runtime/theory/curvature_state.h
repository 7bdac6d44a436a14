// What LossCurvature keeps of a network at a point.
#pragma once

#include <kindling/curvature.h>

#include <vector>

#include "kernels/dispatch.h"
#include "kernels/residency.h"

namespace kindling {

class LossCurvature::State {
 public:
  State(const Model& model, ConstTensorView x, const LossTarget& target, const Context& context);

  /// Whatever thread calls, its kernels find what is on the device.
  void enter() const { residency_.enter(); }
  void product(const HessianBlock& block, std::span<const float> direction, std::span<float> result, HessianKind kind);
  void gradient(const HessianBlock& block, std::span<float> result);
  double gauss_newton_form(const HessianBlock& block, std::span<const float> direction);
  [[nodiscard]] std::int64_t size(const HessianBlock& block) const;

  [[nodiscard]] std::int64_t samples() const { return rows_; }
  [[nodiscard]] const Layer& layer(std::size_t i) const { return model->layers()[i]; }
  [[nodiscard]] std::size_t depth() const { return model->layers().size(); }
  /// What feeds layer i, channels last, and what it puts out.
  [[nodiscard]] ConstTensorView input(std::size_t i) const { return i == 0 ? x_.view() : layers_[i - 1].y.view(); }
  [[nodiscard]] ConstTensorView output(std::size_t i) const { return layers_[i].y; }
  [[nodiscard]] std::span<const std::uint8_t> places(std::size_t i) const { return layers_[i].places; }
  /// out(n) = scale H_z t(n), H_z the Hessian of a sample's loss with respect to the outputs.
  void loss_hessian(ConstTensorView t, float scale, TensorView out) const;

  const Model* model;
  Context context;
  kernels::Execution exec;
  double loss = 0;

 private:
  struct LayerState {
    Tensor y;                          // N x outputs
    Tensor dy, du;                     // gradients of the mean loss at y and at the pre-activations
    Tensor ry;                         // the tangent of y, while a product is computed
    std::vector<std::uint8_t> places;  // max_pool
  };
  // A direction cut up by layers; views of no rows where a layer is not moved.
  struct Move {
    ConstTensorView weight;
    std::span<const float> bias;
  };

  void forward();
  void backward(const LossTarget& target);
  // Tangents of the outputs, from the first moved layer on; returns it.
  std::size_t tangents(const std::vector<Move>& moves);
  void tangent(std::size_t i, const Move& move, bool input_moves);
  // From r = R{dy_i} to R{du_i}, in place.
  void through_activation(std::size_t i, TensorView r, HessianKind kind);
  void parameter_gradient(std::size_t i, ConstTensorView rdu, bool second_term, TensorView dw, std::span<float> db);
  [[nodiscard]] std::vector<Move> cut(const HessianBlock& block, std::span<const float> direction) const;
  [[nodiscard]] Activation activation(std::size_t i) const;
  // t += s, and t = f'(y) (p + s).
  void add(TensorView t, ConstTensorView s) const;

  std::int64_t rows_;
  LossKind kind_;
  Tensor x_;  // channels last
  std::vector<LayerState> layers_;
  std::vector<Tensor> buffers_;  // three of N x the widest layer
  std::vector<float> ones_, no_bias_, unused_bias_;
  Tensor unused_weight_;
  mutable kernels::Residency residency_;

  [[nodiscard]] TensorView buffer(std::size_t which, std::int64_t cols) {
    return {buffers_[which].data(), {rows_, cols}};
  }
};

}  // namespace kindling
