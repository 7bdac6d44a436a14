// The three losses of initialization learned by MMD on one batch, and the gradient of their weighted sum.
#pragma once

#include <kindling/mmd.h>

#include "kernels/dispatch.h"
#include "nn/jacobian.h"
#include "nn/perturbed_pass.h"

namespace kindling {

/// Throws Error{usage} for options out of range and for models that cannot be learned.
void check_mmd(const Model& model, const MmdOptions& options);

class MmdObjective {
 public:
  MmdObjective(const Model& model, const MmdOptions& options, std::int64_t batch);

  /// Keeps the buffers on the device, the gradients among them.
  void keep_on(kernels::Residency& residency) const;

  /// As mmd_losses. The gradient is in gradients() afterwards.
  MmdTerms evaluate(const Model& model, ConstTensorView x, std::uint32_t step, bool gradient, const Context& context);
  [[nodiscard]] std::vector<LayerGradient>& gradients() { return pass_.gradients(); }

 private:
  void softmax(ConstTensorView logits);
  double uniformity(const kernels::Execution& exec, std::uint32_t step, std::uint64_t seed);
  double softmax_hinge();
  void logit_gradient();
  double detachment(const Model& model, ConstTensorView x, bool gradient, const Context& context);

  MmdOptions options_;
  std::int64_t batch_, classes_;
  bool share_;
  PerturbedPass pass_;
  Tensor probabilities_, uniform_, mmd_gradient_;  // B x S x d
  std::vector<double> values_;                     // B
  std::vector<float> bandwidths_;                  // B
  std::vector<float> slope_;                       // B x S x d, of the total with respect to the probabilities
};

}  // namespace kindling
