// Other libraries doing the same work on the same buffers, each in its own object file, compiled for this machine.
#pragma once

#include <kindling/tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace kindling::bench {

/// y = relu(x w^T + b), or without the relu.
struct DenseForward {
  ConstTensorView x;  ///< N x K
  ConstTensorView w;  ///< M x K
  std::span<const float> bias;
  bool relu = true;
  TensorView y;  ///< N x M
};

/// dx = (x > 0) * (dz w) with the old w, then w -= rate * dz^T x and bias -= rate * (column sums of dz).
struct DenseBackward {
  ConstTensorView dz;  ///< N x M
  ConstTensorView x;   ///< N x K
  TensorView w;        ///< M x K, updated
  std::span<float> bias;
  TensorView dx;  ///< N x K; a default view where the first layer needs none
  const float* learning_rate = nullptr;
};

/// Means and variances of every class over the rows of z, in any way that is stable.
struct ClassMoments {
  ConstTensorView z;  ///< N x M
  std::span<const std::int32_t> labels;
  TensorView mean, variance;  ///< C x M
};

/// Covariance of the columns of x, divided by N, both halves.
struct Covariance {
  ConstTensorView x;      ///< N x D
  TensorView covariance;  ///< D x D
};

/// Donsker-Varadhan value of B estimates and its gradient with respect to both scores.
struct InformationLoss {
  ConstTensorView joint, product;  ///< B x N, B x M
  std::span<float> value;
  TensorView joint_gradient, product_gradient;
};

/// One 2-d convolution with a 3 x 3 kernel or another, stride 1: images channels last, a row a sample; weights (O, I,
/// kh, kw). Forward: y = relu(x * w + b). Gradients of sum(y dz) without an activation: dx, dw and db.
struct Convolution {
  std::int64_t height, width, channels_in, channels_out, kernel, padding;
  ConstTensorView x, w;
  std::span<const float> bias;
  TensorView y;
  ConstTensorView dz;
  TensorView dx, dw;
  std::span<float> db;
};

/// Maximum or mean of a window x window pixels, channels last, a row a sample; padding counts as zeros in the mean and
/// never wins. The gradient of the maximum goes to the places that `index` names.
struct Pooling {
  std::int64_t height, width, channels, window, stride, padding;
  bool maximum = true;
  ConstTensorView x;
  TensorView y;
  std::span<std::uint8_t> index;  ///< of each maximum in its window, row by row; the forward pass writes it
  ConstTensorView dy;
  TensorView dx;
};

/// Batch normalisation over samples and positions, channels last. Training: y = relu(z) with the batch's own mean and
/// variance, which are written; inference: the same with those given. Gradient, of z without a ReLU, with those given.
struct BatchNorm {
  std::int64_t positions, channels;
  float epsilon;
  ConstTensorView x;
  std::span<const float> weight, bias;
  std::span<float> mean, variance;
  TensorView y;
  ConstTensorView dz;
  TensorView dx;
  std::span<float> dweight, dbias;
};

/// An optimiser's step in place. First and second: velocity, or Adam's means of the gradient and of its square.
struct OptimizerStep {
  std::span<const float> gradient;
  std::span<float> parameters, first, second;
  const float* learning_rate = nullptr;  ///< read at every call
  float momentum, beta1, beta2, epsilon;
  std::int64_t step;  ///< Adam's t
};

/// loss[n] = mean over d of (y - target)^2; gradient = 2 scale / D (y - target).
struct SquaredError {
  ConstTensorView y, target;
  float scale;
  std::span<float> loss;
  TensorView gradient;
};

/// dz = dy (1 - y^2), y the output of tanh.
struct TanhGradient {
  ConstTensorView y, dy;
  TensorView dz;
};

/// out[r] = ||x(r)||, or x(r) . y(r).
struct RowProducts {
  ConstTensorView x, y;
  std::span<float> out;
};

/// y = (x - mean[k]) inverse_std[k].
struct Standardize {
  ConstTensorView x;
  std::span<const float> mean, inverse_std;
  TensorView y;
};

class Peer {
 public:
  virtual ~Peer() = default;
  [[nodiscard]] virtual std::string version() const = 0;
  /// Threads of all later calls. To be called before an operation is bound and before each series of calls.
  virtual void set_threads(int threads) const = 0;
  /// Binds an operation to its buffers. An empty function: this peer does not offer it.
  [[nodiscard]] virtual std::function<void()> dense_forward(const DenseForward& arguments) const = 0;
  [[nodiscard]] virtual std::function<void()> dense_backward(const DenseBackward& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> class_moments(const ClassMoments& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> covariance(const Covariance& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> information_loss(const InformationLoss& /*arguments*/) const {
    return {};
  }
  [[nodiscard]] virtual std::function<void()> conv_forward(const Convolution& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> conv_input_gradient(const Convolution& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> conv_weight_gradient(const Convolution& /*arguments*/) const {
    return {};
  }
  [[nodiscard]] virtual std::function<void()> pool_forward(const Pooling& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> pool_gradient(const Pooling& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> batch_norm_forward(const BatchNorm& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> batch_norm_inference(const BatchNorm& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> batch_norm_gradient(const BatchNorm& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> sgd_step(const OptimizerStep& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> momentum_step(const OptimizerStep& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> adam_step(const OptimizerStep& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> squared_error(const SquaredError& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> tanh_gradient(const TanhGradient& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> row_norms(const RowProducts& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> row_dots(const RowProducts& /*arguments*/) const { return {}; }
  [[nodiscard]] virtual std::function<void()> standardize(const Standardize& /*arguments*/) const { return {}; }
};

struct PeerRow {
  std::string name;
  const Peer* peer = nullptr;  ///< null: not built
  std::string absent_because;
};

/// All peers that the suite knows, built or not.
const std::vector<PeerRow>& peers();

}  // namespace kindling::bench
