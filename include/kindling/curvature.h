#pragma once

#include <kindling/context.h>
#include <kindling/model.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace kindling {

/// The loss whose curvature is asked for, as a mean over the samples.
enum class LossKind {
  cross_entropy,  ///< softmax cross-entropy of the outputs, in nats
  squared_error   ///< (1/d) sum over the d outputs of (z - t)^2
};
struct LossTarget {
  LossKind kind = LossKind::cross_entropy;
  std::span<const std::int32_t> labels;  ///< cross_entropy: one a sample, in 0 .. outputs - 1
  ConstTensorView values;                ///< squared_error: N x outputs
};

/// The parameters that a block of the Hessian is taken of: their vector holds, layer after layer in the order of
/// `layers`, the weights row by row and then, with `biases`, the biases.
struct HessianBlock {
  std::vector<std::size_t> layers;  ///< indices into Model::layers(), ascending; dense and convolution layers
  bool biases = false;
};

enum class HessianKind {
  exact,
  gauss_newton  ///< without the term that holds second derivatives of the outputs: H_1 of Skorski's eq. 10
};

/// A network, samples and a loss at one point of parameter space: activations and gradients are computed once and serve
/// every product. Exact Hessian-vector products by the R-operator (Pearlmutter 1994), forward over reverse, on the
/// kernels. f'' of a piecewise-linear activation counts as 0. Memory: about four activations a sample and unit. Dropout
/// is that of inference. Results are bitwise the same for any number of threads. A use of one thread at a time.
class LossCurvature {
 public:
  /// x: N x inputs, samples in the order C, H, W. The model must outlive the object and keep its parameters. Throws
  /// Error{usage} for shapes that do not fit, labels outside the outputs and layers whose second derivatives are not
  /// built (batch-norm), by name; Error{numerical} when the loss is not finite.
  LossCurvature(const Model& model, ConstTensorView x, const LossTarget& target, const Context& context);
  ~LossCurvature();
  LossCurvature(LossCurvature&&) noexcept;
  LossCurvature& operator=(LossCurvature&&) noexcept;

  [[nodiscard]] const Model& model() const;
  [[nodiscard]] std::int64_t samples() const;
  /// Mean loss.
  [[nodiscard]] double loss() const;
  /// Numbers of a block's parameters. Throws Error{usage} that names a layer without neurons.
  [[nodiscard]] std::int64_t size(const HessianBlock& block) const;
  /// result = dL / d(block).
  void gradient(const HessianBlock& block, std::span<float> result);
  /// result = H direction, H the block of the Hessian of the mean loss. Costs about as much as a gradient for one layer
  /// and two gradients for all.
  void product(const HessianBlock& block, std::span<const float> direction, std::span<float> result,
               HessianKind kind = HessianKind::exact);
  /// direction^T H direction. For gauss_newton this is the mean of v^T H_z v, v = B^(k+1) A^(k) g F^(k): the
  /// approximation of Skorski's Theorem 1 (eq. 4, whose B^(k) should read B^(k+1)), evaluated as it stands there.
  double form(const HessianBlock& block, std::span<const float> direction, HessianKind kind = HessianKind::exact);

  class State;
  [[nodiscard]] const State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

struct LanczosOptions {
  int max_steps = 80;       ///< products, at least 1; memory is as many vectors of the block's size
  double tolerance = 1e-3;  ///< both ends have settled when their residual is at most this share of the norm
  HessianKind kind = HessianKind::exact;
};
/// Ends of the spectrum of a block. Each lies within its residual of an eigenvalue: |lambda - value| <= ||H y - value
/// y|| for a unit vector y, which is computed by a product of its own and not estimated.
struct ExtremeEigenvalues {
  double largest = 0, largest_residual = 0;
  double smallest = 0, smallest_residual = 0;
  int products = 0;
  bool converged = false;
  /// ||H||, the largest absolute eigenvalue.
  [[nodiscard]] double norm() const { return largest > -smallest ? largest : -smallest; }
};
/// Lanczos iteration with full reorthogonalisation; starts from a random vector of the context's seed. Throws
/// Error{numerical} when a product is not finite, Error{interrupted}.
ExtremeEigenvalues extreme_eigenvalues(LossCurvature& curvature, const HessianBlock& block,
                                       const LanczosOptions& options, const Context& context);

/// How the loss curves along one layer's weights, and what the theory says of it.
struct LayerCurvature {
  std::string layer;
  double jacobian_norm = 0;      ///< ||J^(k)||, mean over the samples
  ExtremeEigenvalues hessian;    ///< of the block of this layer's weights
  double gauss_newton_norm = 0;  ///< top eigenvalue of Theorem 1's approximation
  /// Theorem 2 as corrected: mean over the samples of ||H_z|| prod_(i != k) ||J^(i)||^2 ||A^(k)||^2 ||z^(0)||^2. It
  /// bounds the Gauss-Newton part where eq. 5 is exact: piecewise-linear activations without biases.
  double bound = 0;
  /// The same with ||z^(k)||^2 itself for ||z^(0)||^2 prod_(i < k) ||J^(i)||^2: bounds the Gauss-Newton part of any
  /// network.
  double bound_at_layer = 0;
  double factorization_error = 0;  ///< eq. 5: mean of ||z^(k) - J^(k-1) ... J^(0) z^(0)|| / ||z^(k)||
  double guaranteed_step = 0;      ///< 1 / lambda_max: best guaranteed decrease along this layer; infinite for <= 0
  double stability_limit = 0;      ///< 2 / lambda_max: larger steps diverge on the quadratic model
};
struct CurvatureReport {
  double loss = 0;
  double gradient_norm = 0;
  std::vector<LayerCurvature> layers;  ///< dense and convolution layers
  ExtremeEigenvalues whole;            ///< of all weights and biases together
};
struct CurvatureOptions {
  LanczosOptions lanczos;
  bool whole = true;  ///< also the Hessian of all parameters
};
/// Everything above for every layer of a network.
CurvatureReport curvature_report(const Model& model, ConstTensorView x, const LossTarget& target,
                                 const CurvatureOptions& options, const Context& context);

}  // namespace kindling
