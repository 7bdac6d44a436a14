// Eigen 3: its own blocked product, then bias and ReLU as one elementwise expression. Threads by OpenMP.
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <vector>

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

  // Two passes, row by row onto the class's row: the sums of ten classes stay in cache.
  [[nodiscard]] std::function<void()> class_moments(const ClassMoments& a) const override {
    return [a, count = std::vector<float>(static_cast<std::size_t>(a.mean.rows()))]() mutable {
      const auto z = map(a.z);
      auto mean = map(a.mean), variance = map(a.variance);
      std::fill(count.begin(), count.end(), 0.0F);
      mean.setZero();
      variance.setZero();
      for (Eigen::Index n = 0; n < z.rows(); ++n) {
        const auto c = a.labels[static_cast<std::size_t>(n)];
        mean.row(c) += z.row(n);
        count[static_cast<std::size_t>(c)] += 1.0F;
      }
      for (Eigen::Index c = 0; c < mean.rows(); ++c) mean.row(c) /= count[static_cast<std::size_t>(c)];
      for (Eigen::Index n = 0; n < z.rows(); ++n) {
        const auto c = a.labels[static_cast<std::size_t>(n)];
        variance.row(c) += (z.row(n) - mean.row(c)).cwiseAbs2();
      }
      for (Eigen::Index c = 0; c < mean.rows(); ++c) variance.row(c) /= count[static_cast<std::size_t>(c)];
    };
  }

  [[nodiscard]] std::function<void()> covariance(const Covariance& a) const override {
    return [a, centred = Matrix(a.x.rows(), a.x.cols())]() mutable {
      const auto x = map(a.x);
      const Row mean = x.colwise().mean();
      centred = x.rowwise() - mean;
      map(a.covariance).noalias() = centred.transpose() * centred / static_cast<float>(x.rows());
    };
  }

  [[nodiscard]] std::function<void()> information_loss(const InformationLoss& a) const override {
    return [a] {
      const auto joint = map(a.joint), product = map(a.product);
      auto joint_gradient = map(a.joint_gradient), product_gradient = map(a.product_gradient);
      joint_gradient.setConstant(1.0F / static_cast<float>(joint.cols()));
      for (Eigen::Index b = 0; b < joint.rows(); ++b) {
        const float top = product.row(b).maxCoeff();
        product_gradient.row(b) = (product.row(b).array() - top).exp();
        const float sum = product_gradient.row(b).sum();
        product_gradient.row(b) *= -1.0F / sum;
        a.value[static_cast<std::size_t>(b)] =
            joint.row(b).mean() - (top + std::log(sum / static_cast<float>(product.cols())));
      }
    };
  }
};

}  // namespace

const Peer& eigen_peer() {
  static const EigenPeer peer;
  return peer;
}

}  // namespace kindling::bench
