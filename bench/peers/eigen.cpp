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

// Arrays of values in blocks that stay in cache over the expressions of `body(first, count)`, shared among threads.
template <class Body>
void in_blocks(std::size_t size, const Body& body) {
  constexpr Eigen::Index block = 4096;
  const auto end = static_cast<Eigen::Index>(size);
#pragma omp parallel for num_threads(Eigen::nbThreads())
  for (Eigen::Index first = 0; first < end; first += block) body(first, std::min(block, end - first));
}
using Values = Eigen::Map<Eigen::ArrayXf>;
using ConstValues = Eigen::Map<const Eigen::ArrayXf>;
Values part(std::span<float> v, Eigen::Index first, Eigen::Index count) { return {v.data() + first, count}; }
ConstValues part(std::span<const float> v, Eigen::Index first, Eigen::Index count) { return {v.data() + first, count}; }

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

  [[nodiscard]] std::function<void()> sgd_step(const OptimizerStep& a) const override {
    return [a] {
      in_blocks(a.gradient.size(), [&](auto first, auto count) {
        part(a.parameters, first, count) -= *a.learning_rate * part(a.gradient, first, count);
      });
    };
  }

  [[nodiscard]] std::function<void()> momentum_step(const OptimizerStep& a) const override {
    return [a] {
      in_blocks(a.gradient.size(), [&](auto first, auto count) {
        auto velocity = part(a.first, first, count);
        velocity = a.momentum * velocity + part(a.gradient, first, count);
        part(a.parameters, first, count) -= *a.learning_rate * velocity;
      });
    };
  }

  [[nodiscard]] std::function<void()> adam_step(const OptimizerStep& a) const override {
    return [a] {
      // In float64: 1 - beta^t would lose digits.
      const auto correction = [&](double beta) { return static_cast<float>(1 - std::pow(beta, a.step)); };
      const float rate = *a.learning_rate / correction(a.beta1), bias = correction(a.beta2);
      in_blocks(a.gradient.size(), [&](auto first, auto count) {
        const auto gradient = part(a.gradient, first, count);
        auto mean = part(a.first, first, count), square = part(a.second, first, count);
        mean = a.beta1 * mean + (1.0F - a.beta1) * gradient;
        square = a.beta2 * square + (1.0F - a.beta2) * gradient.square();
        part(a.parameters, first, count) -= rate * mean / ((square / bias).sqrt() + a.epsilon);
      });
    };
  }

  [[nodiscard]] std::function<void()> squared_error(const SquaredError& a) const override {
    return [a] {
      const auto y = map(a.y), target = map(a.target);
      auto gradient = map(a.gradient);
      const float features = static_cast<float>(y.cols()), scale = 2.0F / features * a.scale;
#pragma omp parallel for num_threads(Eigen::nbThreads())
      for (Eigen::Index n = 0; n < y.rows(); ++n) {
        gradient.row(n) = y.row(n) - target.row(n);
        a.loss[static_cast<std::size_t>(n)] = gradient.row(n).squaredNorm() / features;
        gradient.row(n) *= scale;
      }
    };
  }

  [[nodiscard]] std::function<void()> tanh_gradient(const TanhGradient& a) const override {
    return [a] {
      in_blocks(a.y.flat().size(), [&](auto first, auto count) {
        part(a.dz.flat(), first, count) =
            part(a.dy.flat(), first, count) * (1.0F - part(a.y.flat(), first, count).square());
      });
    };
  }

  [[nodiscard]] std::function<void()> row_norms(const RowProducts& a) const override {
    return [a] {
      const auto x = map(a.x);
#pragma omp parallel for num_threads(Eigen::nbThreads())
      for (Eigen::Index r = 0; r < x.rows(); ++r) a.out[static_cast<std::size_t>(r)] = x.row(r).norm();
    };
  }

  [[nodiscard]] std::function<void()> row_dots(const RowProducts& a) const override {
    return [a] {
      const auto x = map(a.x), y = map(a.y);
#pragma omp parallel for num_threads(Eigen::nbThreads())
      for (Eigen::Index r = 0; r < x.rows(); ++r) a.out[static_cast<std::size_t>(r)] = x.row(r).dot(y.row(r));
    };
  }

  [[nodiscard]] std::function<void()> standardize(const Standardize& a) const override {
    return [a] {
      const auto x = map(a.x);
      auto y = map(a.y);
      const Eigen::Map<const Row> mean(a.mean.data(), x.cols()), inverse_std(a.inverse_std.data(), x.cols());
#pragma omp parallel for num_threads(Eigen::nbThreads())
      for (Eigen::Index n = 0; n < x.rows(); ++n) y.row(n) = (x.row(n) - mean).cwiseProduct(inverse_std);
    };
  }
};

}  // namespace

const Peer& eigen_peer() {
  static const EigenPeer peer;
  return peer;
}

}  // namespace kindling::bench
