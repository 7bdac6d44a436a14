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
};

struct PeerRow {
  std::string name;
  const Peer* peer = nullptr;  ///< null: not built
  std::string absent_because;
};

/// All peers that the suite knows, built or not.
const std::vector<PeerRow>& peers();

}  // namespace kindling::bench
