// The dense layer's kernels: Y = f(X W^T + b), its gradients, and the class moments of Y without Y.
//
// Throughout: N samples, fan-in K, fan-out M, X (N x K), W (M x K), b (M), Y and dZ (N x M), row-major float32. Inputs
// may have strided rows. Outputs overlap no input unless said otherwise. Results do not depend on the number of
// threads. A shape that does not fit throws Error{usage}; NaN and infinity pass through as IEEE arithmetic has them.
#pragma once

#include <kindling/activation.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <span>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// Y = f(X W^T + b). Error of the pre-activation against exact arithmetic: at most K eps sum_k |x_k w_k| + 2 eps |b|,
/// eps = 2^-24; tanh and sigmoid add at most 4 ulp.
void dense_forward(const Execution& execution, ConstTensorView x, ConstTensorView w, std::span<const float> bias,
                   const Activation& activation, TensorView y);

/// Y = f(X W^T + A), row n of Y with row n mod P of A (P x M), P >= 1: a layer whose input is two parts, of which the
/// first, the same for every P-th row, was multiplied before (bias included). f is piecewise linear; Error{usage} for
/// tanh and sigmoid. Error before f as dense_forward's, with |A| for |b|.
void dense_forward_added(const Execution& execution, ConstTensorView x, ConstTensorView w, ConstTensorView added,
                         const Activation& activation, TensorView y);

/// dX = f'(X) * (dZ W), where X (N x K) is the output of the activation `below` that fed this layer. At the kink of a
/// piecewise-linear activation (X = 0) the derivative is that of the negative side.
void dense_input_gradient(const Execution& execution, ConstTensorView dz, ConstTensorView w, ConstTensorView x,
                          const Activation& below, TensorView dx);

/// dW = dZ^T X (M x K) and db = column sums of dZ (M). No samples: both are zero.
void dense_weight_gradient(const Execution& execution, ConstTensorView x, ConstTensorView dz, TensorView dw,
                           std::span<float> db);

/// Options of the fused steps; semantics of PyTorch's SGD (dampening 0, no Nesterov) and Adam. Weight decay is added to
/// the gradient of the weights and not to that of the biases.
struct SgdStep {
  float learning_rate = 0.1F;
  float weight_decay = 0.0F;
};
struct MomentumStep {
  float learning_rate = 0.1F;
  float momentum = 0.9F;
  float weight_decay = 0.0F;
};
struct AdamStep {
  float learning_rate = 1e-3F;
  float beta1 = 0.9F;
  float beta2 = 0.999F;
  float epsilon = 1e-8F;
  float weight_decay = 0.0F;
  std::int64_t step = 1;  ///< t in the bias corrections 1 - beta^t, counted from 1
};
/// Parameters of one layer, or an optimiser's state of the same shape.
struct DenseParameters {
  TensorView weight;      ///< (M x K)
  std::span<float> bias;  ///< (M)
};

/// Weight and bias gradient with the optimiser's step on each tile: dW is never stored, parameters and state change in
/// place. No samples: nothing changes.
void dense_weight_sgd(const Execution& execution, ConstTensorView x, ConstTensorView dz,
                      const DenseParameters& parameters, const SgdStep& step);
void dense_weight_momentum(const Execution& execution, ConstTensorView x, ConstTensorView dz,
                           const DenseParameters& parameters, const DenseParameters& velocity,
                           const MomentumStep& step);
void dense_weight_adam(const Execution& execution, ConstTensorView x, ConstTensorView dz,
                       const DenseParameters& parameters, const DenseParameters& mean, const DenseParameters& square,
                       const AdamStep& step);

/// Samples that dense_moments sums in float32 before it adds to the float64 totals.
inline constexpr std::int64_t moment_group_rows = 960;

/// Class moments of z = f(X W^T + b) - shift: sum[c * M + m] += sum of z over the samples of class c,
/// sum_squares[c * M + m] += sum of z^2. labels (N), each in [0, classes); shift (M); sum and sum_squares (classes *
/// M), added to. Rows are summed in groups of moment_group_rows, so data that comes in several calls gives the same
/// bits as in one when every call but the last brings a multiple of it. Memory does not depend on N.
void dense_moments(const Execution& execution, ConstTensorView x, ConstTensorView w, std::span<const float> bias,
                   const Activation& activation, std::span<const std::int32_t> labels, std::span<const float> shift,
                   std::int64_t classes, std::span<double> sum, std::span<double> sum_squares);

}  // namespace kindling::kernels
