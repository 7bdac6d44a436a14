// Eigen 3: its own blocked product, then bias and ReLU as one elementwise expression. Threads by OpenMP.
#include <Eigen/Core>

#include "peers/peers.h"

namespace kindling::bench {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Stride = Eigen::OuterStride<>;
using Row = Eigen::Matrix<float, 1, Eigen::Dynamic>;

Eigen::Map<const Matrix, 0, Stride> map(const ConstTensorView& v) {
  return {v.data(), v.rows(), v.cols(), Stride(v.row_stride())};
}
Eigen::Map<Matrix, 0, Stride> map(const TensorView& v) {
  return {v.data(), v.rows(), v.cols(), Stride(v.row_stride())};
}

class EigenPeer final : public Peer {
 public:
  [[nodiscard]] std::string version() const override {
    return "Eigen " + std::to_string(EIGEN_WORLD_VERSION) + "." + std::to_string(EIGEN_MAJOR_VERSION) + "." +
           std::to_string(EIGEN_MINOR_VERSION) + " (" + Eigen::SimdInstructionSetsInUse() + ")";
  }
  void set_threads(int threads) const override { Eigen::setNbThreads(threads); }

  [[nodiscard]] std::function<void()> dense_forward(const DenseForward& a) const override {
    return [a] {
      const Eigen::Map<const Row> bias(a.bias.data(), static_cast<Eigen::Index>(a.bias.size()));
      auto y = map(a.y);
      y.noalias() = map(a.x) * map(a.w).transpose();
      if (a.relu) {
        y = (y.rowwise() + bias).cwiseMax(0.0F);
      } else {
        y.rowwise() += bias;
      }
    };
  }

  [[nodiscard]] std::function<void()> dense_backward(const DenseBackward& a) const override {
    return [a] {
      const float rate = *a.learning_rate;
      const auto dz = map(a.dz);
      const auto x = map(a.x);
      auto w = map(a.w);
      if (a.dx.rank() != 0) {
        auto dx = map(a.dx);
        dx.noalias() = dz * w;
        dx.array() = (x.array() > 0.0F).select(dx.array(), 0.0F);
      }
      w.noalias() -= rate * dz.transpose() * x;
      Eigen::Map<Row> bias(a.bias.data(), static_cast<Eigen::Index>(a.bias.size()));
      bias -= rate * dz.colwise().sum();
    };
  }
};

}  // namespace

const Peer& eigen_peer() {
  static const EigenPeer peer;
  return peer;
}

}  // namespace kindling::bench
