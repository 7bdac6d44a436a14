// What all sweeps through a chain of dense layers share: the activations, and the blocks of samples.
#pragma once

#include <kindling/model.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/jacobian.h"
#include "kernels/residency.h"

namespace kindling {

/// A model and the outputs of its hidden layers for all samples.
class JacobianChain {
 public:
  /// Throws Error{usage} for a layer that is not dense, with its name, and for an x that does not fit. `caller` is
  /// named.
  JacobianChain(std::string_view caller, const Model& model, ConstTensorView x, const kernels::Execution& execution);

  [[nodiscard]] std::int64_t depth() const { return static_cast<std::int64_t>(model_->layers().size()); }
  [[nodiscard]] std::int64_t samples() const { return x_.rows(); }
  [[nodiscard]] std::int64_t outputs() const { return model_->outputs(); }
  [[nodiscard]] const Layer& layer(std::int64_t l) const { return model_->layers()[static_cast<std::size_t>(l)]; }
  [[nodiscard]] ConstTensorView weight(std::int64_t l) const { return layer(l).weight; }
  [[nodiscard]] std::int64_t width(std::int64_t l) const { return layer(l).fan_in(); }

  /// What feeds layer l, for `count` samples, and the activation it comes from: none, that is the identity, for l = 0.
  [[nodiscard]] kernels::Derivative below(std::int64_t l, std::int64_t first, std::int64_t count) const;
  [[nodiscard]] kernels::Derivative below(std::int64_t l) const { return below(l, 0, samples()); }

  /// One step of a block's Jacobians towards the input: s = (v W_l) * f'(x_l), v those at layer l + 1. Along the lists
  /// of active units where that is cheaper.
  void product(std::int64_t l, std::int64_t first, std::int64_t count, ConstTensorView v, TensorView s) const;
  /// v G v^T of the rows v of a block's Jacobians at layer l; likewise.
  void forms(std::int64_t l, std::int64_t first, std::int64_t count, ConstTensorView v, ConstTensorView g,
             std::span<float> forms) const;
  /// V G of the same, G symmetric; likewise.
  void gram_product(std::int64_t l, std::int64_t first, std::int64_t count, ConstTensorView v, ConstTensorView g,
                    TensorView s) const;

  /// Samples of one block: some thousand rows, so that packing W costs little and a block of rows stays in cache. A
  /// function of the model alone.
  [[nodiscard]] std::int64_t block_samples() const { return std::max<std::int64_t>(1, block_rows / outputs()); }

 private:
  static constexpr std::int64_t block_rows = 1280;

  struct Lists {  // of the units active at what feeds a layer, empty where all terms are added
    std::vector<std::int32_t> index, count;
  };
  void list_active_units(std::int64_t l);
  // The lists of some samples; none if `index` is empty.
  [[nodiscard]] kernels::ActiveUnits active(std::int64_t l, std::int64_t first, std::int64_t count) const;

  const Model* model_;
  kernels::Execution execution_;
  ConstTensorView x_;
  std::vector<Tensor> outputs_;  // of layers 0 .. L-2
  std::vector<Lists> lists_;     // of layers 0 .. L-1
  kernels::Residency residency_;
};

/// Norms of the rows of V W without V W, where that is cheaper: through G = W W^T, with a plain computation of the rows
/// that cancellation could spoil.
class InputNorms {
 public:
  InputNorms(ConstTensorView w, std::int64_t rows, const kernels::Execution& execution);

  /// Whether G pays; if not, nothing else here may be used.
  [[nodiscard]] bool pays() const { return !gram_.empty(); }
  [[nodiscard]] ConstTensorView gram() const { return gram_; }

  /// norms(r) = ||v(r) W||, given ||v(r)|| and v(r) G v(r)^T in `forms`. Returns the rows computed plainly.
  std::vector<std::int64_t> finish(ConstTensorView v, std::span<const float> v_norms, std::span<const float> forms,
                                   std::span<float> norms);
  /// The rows of V that finish() computed plainly, and their products with W, in that order; until the next call.
  [[nodiscard]] ConstTensorView plain_rows() const { return plain_rows_; }
  [[nodiscard]] TensorView plain_products() { return plain_products_; }

 private:
  ConstTensorView w_;
  kernels::Execution execution_;
  Tensor gram_;
  double cancels_below_ = 0;  // forms below this times ||v||^2
  Tensor plain_rows_, plain_products_;
  kernels::Residency residency_;
};

}  // namespace kindling
