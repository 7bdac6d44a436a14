// Gradient of a function of the row norms: the sweep that makes the Jacobians is run backwards, from the input to the
// logits. With S_l = (S_(l+1) W_l) * f'(x_l), r_l = ||S_l|| and A_l the gradient with respect to S_l,
//   A_l = (dF/dr_l / r_l) S_l + T_(l-1) W_(l-1)^T,   T_l = f'(x_l) * A_l,   dF/dW_l = S_(l+1)^T T_l.
#include <array>
#include <utility>

#include "kernels/activation_kernels.h"
#include "kernels/dense.h"
#include "kernels/device_log.h"
#include "kernels/optimizer.h"
#include "nn/jacobian.h"
#include "nn/jacobian_chain.h"

namespace kindling {
namespace {

// Adding a product onto a gradient is a descent step of rate -1.
constexpr kernels::SgdStep add{.learning_rate = -1.0F};

class NormGradientSweep {
 public:
  NormGradientSweep(const JacobianChain& chain, const kernels::Execution& execution, kernels::Residency* keeper)
      : chain_(chain),
        execution_(execution),
        top_(chain.depth() - 1),
        d_(chain.outputs()),
        block_(std::min(chain.block_samples(), std::max<std::int64_t>(chain.samples(), 1))),
        input_(chain.weight(0), top_ == 0 ? 0 : chain.samples() * d_, execution),
        norms_({chain.depth(), block_ * d_}),
        seeds_({chain.depth(), block_ * d_}),
        ones_({block_ * d_, 1}),
        kept_outside_(keeper != nullptr),
        residency_(execution) {
    std::int64_t widest = 0, curved_width = 0;
    for (std::int64_t l = 0; l <= top_; ++l) {
      const std::int64_t width = chain.width(l);
      const bool stored = l > 0 || !input_.pays();
      s_.emplace_back(std::vector<std::int64_t>{stored ? block_ * d_ : 0, width});
      if (stored) widest = std::max(widest, width);
      const Layer& layer = chain.layer(l);
      gradients_.push_back({Tensor(layer.weight.shape()), Tensor(layer.bias.shape())});
      const bool curved = l > 0 && kernels::is_smooth(chain.layer(l - 1).activation);
      curvature_.emplace_back(std::vector<std::int64_t>{curved ? block_ : 0, width});
      if (curved) curved_width = std::max(curved_width, width);
      unused_.resize(std::max(unused_.size(), static_cast<std::size_t>(std::max(width, layer.fan_out()))));
    }
    adjoint_ = Tensor({block_ * d_, widest});
    next_ = Tensor({block_ * d_, widest});
    // A layer below a curved one gets its gradient too, whatever its own activation.
    for (std::int64_t l = 1; l <= top_ && curved_width > 0; ++l) curved_width = std::max(curved_width, chain.width(l));
    for (Tensor& t : du_) t = Tensor({curved_width > 0 ? block_ : 0, curved_width});
    if (input_.pays()) weighted_gram_ = Tensor({chain.width(1), chain.width(1)});
    std::fill(ones_.flat().begin(), ones_.flat().end(), 1.0F);
    keep_on_device(keeper != nullptr ? *keeper : residency_);
  }

  void add_block(std::int64_t first, std::int64_t count, const NormGradient& norm_gradient) {
    first_ = first;
    count_ = count;
    rows_ = count * d_;
    down();
    const ConstTensorView norms(norms_.data(), {top_ + 1, rows_});
    const TensorView seeds(seeds_.data(), {top_ + 1, rows_});
    std::fill(seeds.flat().begin(), seeds.flat().end(), 0.0F);
    norm_gradient(first, count, norms, seeds);
    for (std::int64_t i = 0; i < seeds.size(); ++i) {
      seeds.data()[i] = norms.data()[i] == 0 ? 0.0F : seeds.data()[i] / norms.data()[i];
    }
    up();
    through_pre_activations();
  }

  std::vector<LayerGradient> finish() {
    if (input_.pays()) {
      Tensor product(chain_.layer(0).weight.shape());
      kernels::Residency residency(execution_);
      residency.keep(Role::scratch, product);
      kernels::jacobian_product(execution_, weighted_gram_, chain_.weight(0), product);
      kernels::sgd_step(execution_, product.flat(), add, gradients_.front().weight.flat());
    }
    if (!kept_outside_) residency_.finish();
    return std::move(gradients_);
  }

 private:
  using Role = kernels::Residency::Role;

  void keep_on_device(kernels::Residency& results) {
    for (LayerGradient& g : gradients_) {
      for (Tensor* t : {&g.weight, &g.bias}) {
        results.keep(kept_outside_ ? Role::scratch : Role::result, *t);
        kernels::zero(execution_, t->flat());
      }
    }
    for (const auto* tensors : {&s_, &curvature_})
      for (const Tensor& t : *tensors) residency_.keep(Role::scratch, t);
    for (const Tensor* t : {&adjoint_, &next_, &weighted_gram_, &du_[0], &du_[1]}) residency_.keep(Role::scratch, *t);
    kernels::zero(execution_, weighted_gram_.flat());
    residency_.keep(Role::input, ones_);
    residency_.keep(Role::scratch, std::span<const float>(unused_));
  }

  [[nodiscard]] TensorView s(std::int64_t l) { return s_[static_cast<std::size_t>(l)].view().rows(0, rows_); }
  [[nodiscard]] kernels::Derivative below(std::int64_t l) const { return chain_.below(l, first_, count_); }
  [[nodiscard]] std::span<float> norms(std::int64_t l) {
    return norms_.flat().subspan(static_cast<std::size_t>(l * rows_), static_cast<std::size_t>(rows_));
  }
  [[nodiscard]] std::span<float> seeds(std::int64_t l) {
    return seeds_.flat().subspan(static_cast<std::size_t>(l * rows_), static_cast<std::size_t>(rows_));
  }
  [[nodiscard]] std::span<float> unused(std::int64_t size) {
    return std::span(unused_).first(static_cast<std::size_t>(size));
  }
  TensorView buffer(Tensor& t, std::int64_t width) const { return {t.data(), {rows_, width}}; }

  // dF/dW_l += dz^T t.
  void add_product(std::int64_t l, ConstTensorView t, ConstTensorView dz) {
    kernels::dense_weight_sgd(execution_, t, dz, {gradients_[static_cast<std::size_t>(l)].weight, unused(dz.cols())},
                              add);
  }

  // Jacobians and norms.
  void down() {
    kernels::jacobian_top(execution_, chain_.weight(top_), below(top_), s(top_));
    kernels::row_norms(execution_, s(top_), norms(top_));
    for (std::int64_t l = top_ - 1; l >= (input_.pays() ? 1 : 0); --l) {
      chain_.product(l, first_, count_, s(l + 1), s(l));
      kernels::row_norms(execution_, s(l), norms(l));
    }
    if (!input_.pays()) return;
    // S_1 G serves the norms and, later, the adjoint.
    const TensorView product = buffer(adjoint_, chain_.width(1));
    chain_.gram_product(1, first_, count_, s(1), input_.gram(), product);
    std::vector<float> forms(static_cast<std::size_t>(rows_));
    kernels::row_dots(execution_, product, s(1), forms);
    plain_ = input_.finish(s(1), norms(1), forms, norms(0));
  }

  // Adjoints, layer by layer; `adjoint_` holds T_l at the end of each.
  void up() {
    std::int64_t l = 0;
    if (input_.pays()) {
      first_layer_by_gram();
      l = 1;
    } else {
      kernels::scale_rows(execution_, s(0), seeds(0), buffer(adjoint_, chain_.width(0)));
    }
    for (; l < top_; ++l) {
      const TensorView t = buffer(adjoint_, chain_.width(l)), next = buffer(next_, chain_.width(l + 1));
      add_product(l, t, s(l + 1));
      const kernels::Derivative at = below(l + 1);
      if (kernels::is_smooth(at.activation)) {
        // Unmasked first: f' itself depends on what enters it.
        const kernels::Derivative one{at.y, {ActivationKind::identity}};
        kernels::jacobian_adjoint(execution_, t, chain_.weight(l), s(l + 1), seeds(l + 1), one, next);
        curve(l + 1, next);
      } else {
        kernels::jacobian_adjoint(execution_, t, chain_.weight(l), s(l + 1), seeds(l + 1), at, next);
      }
      std::swap(adjoint_, next_);
    }
    // The last layer's Jacobian is W itself for every sample: sums over samples.
    const ConstTensorView t(adjoint_.data(), {count_, d_ * chain_.width(top_)});
    LayerGradient& last = gradients_.back();
    kernels::dense_weight_sgd(execution_, t, ones_.view().rows(0, count_),
                              {TensorView(last.weight.data(), {1, last.weight.size()}), unused(1)}, add);
  }

  // T_0 = a S_1 W_0 is never formed: dF/dW_0 = (S_1^T a S_1) W_0, and its part of A_1 is a S_1 G.
  void first_layer_by_gram() {
    const std::int64_t width = chain_.width(1);
    std::vector<float> a(seeds(0).begin(), seeds(0).end());
    const TensorView product = buffer(adjoint_, width), scaled = buffer(next_, width);
    if (!plain_.empty()) {
      // Rows whose S_1 G cancels: the product formed after all.
      const TensorView t = input_.plain_products();
      kernels::on_host("Jacobians: rows whose norm would cancel are put in place one by one");
      Tensor back({t.rows(), width}), none({1, width});
      kernels::jacobian_transposed(execution_, t, chain_.weight(0), {none, {ActivationKind::identity}}, back);
      kernels::fetch(product);
      std::vector<float> scale;
      for (std::size_t i = 0; i < plain_.size(); ++i) {
        const auto row = static_cast<std::size_t>(plain_[i]);
        std::copy_n(back.view().row(static_cast<std::int64_t>(i)), width, product.row(plain_[i]));
        scale.push_back(std::exchange(a[row], 0.0F));
      }
      kernels::changed(product);
      kernels::scale_rows(execution_, t, scale, t);
      add_product(0, t, input_.plain_rows());
    }
    kernels::scale_rows(execution_, s(1), a, scaled);
    kernels::dense_weight_sgd(execution_, scaled, s(1), {weighted_gram_, unused(width)}, add);
    const kernels::Derivative at = below(1);
    const bool smooth = kernels::is_smooth(at.activation);
    const kernels::Derivative mask{at.y, smooth ? Activation{ActivationKind::identity} : at.activation};
    kernels::jacobian_join(execution_, product, seeds(0), s(1), seeds(1), mask, product);
    if (smooth) curve(1, product);
  }

  // The part of dF/dx_l that goes through f'(x_l), and then A_l masked in place.
  void curve(std::int64_t l, TensorView a) {
    const kernels::Derivative at = below(l);
    const TensorView du = curvature_[static_cast<std::size_t>(l)].view().rows(0, count_);
    kernels::jacobian_curvature(execution_, a, s(l), at, du);
    const std::vector<float> none(static_cast<std::size_t>(rows_), 0.0F);
    const std::span<const float> one = ones_.flat().first(static_cast<std::size_t>(rows_));
    kernels::jacobian_join(execution_, a, one, s(l), none, at, a);
  }

  // Back through the forward pass, for smooth activations.
  void through_pre_activations() {
    ConstTensorView above;  // dF/dx_(l+1), of rank 0 for none
    for (std::int64_t l = top_; l > 0; --l) {
      const std::size_t i = static_cast<std::size_t>(l);
      const bool curved = !curvature_[i].empty();
      if (!curved && above.rank() == 0) continue;
      const TensorView du(du_[i % 2].data(), {count_, chain_.width(l)});
      if (above.rank() != 0) {
        const kernels::Derivative at = below(l);
        kernels::dense_input_gradient(execution_, above, chain_.weight(l), at.y, at.activation, du);
      }
      if (curved && above.rank() == 0) kernels::zero(execution_, du.flat());
      if (curved) {
        const std::span<const float> own = curvature_[i].flat().first(static_cast<std::size_t>(du.size()));
        kernels::sgd_step(execution_, own, add, du.flat());
      }
      LayerGradient& layer = gradients_[i - 1];
      kernels::dense_weight_sgd(execution_, below(l - 1).y, du, {layer.weight, layer.bias.flat()}, add);
      above = du;
    }
  }

  const JacobianChain& chain_;
  const kernels::Execution& execution_;
  std::int64_t top_, d_, block_, first_ = 0, count_ = 0, rows_ = 0;
  InputNorms input_;
  Tensor norms_, seeds_;  // L x rows of the block; seeds: dF/dr, then divided by r
  Tensor ones_;
  std::vector<Tensor> s_;  // the Jacobians of a block, that of the input only where it is stored
  std::vector<Tensor> curvature_;
  Tensor adjoint_, next_, weighted_gram_;
  std::array<Tensor, 2> du_;  // for smooth activations
  std::vector<std::int64_t> plain_;
  std::vector<LayerGradient> gradients_;
  std::vector<float> unused_;  // biases that the fused kernels update beside the weights
  bool kept_outside_;          // the gradients, by the caller
  kernels::Residency residency_;
};

}  // namespace

std::vector<LayerGradient> jacobian_norm_gradient(const Model& model, ConstTensorView x,
                                                  const NormGradient& norm_gradient, const Context& context,
                                                  kernels::Residency* keeper) {
  const kernels::Execution execution = kernels::execution(context);
  const JacobianChain chain("jacobian_norm_gradient", model, x, execution);
  NormGradientSweep sweep(chain, execution, keeper);
  for (std::int64_t first = 0; first < chain.samples(); first += chain.block_samples()) {
    context.check_stop();
    sweep.add_block(first, std::min(chain.block_samples(), chain.samples() - first), norm_gradient);
  }
  return sweep.finish();
}

}  // namespace kindling
