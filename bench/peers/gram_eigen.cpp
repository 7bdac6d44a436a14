// Gaussian Gram sums as one would write them with Eigen 3. OpenMP shares the blocks of rows among threads.
#include <Eigen/Core>
#include <algorithm>

#include "peers/gram_peer.h"

namespace kindling::bench {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Array = Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Map = Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>;

constexpr std::int64_t block_rows = 64;
int thread_count = 1;

Map map(const ConstTensorView& v) { return {v.data(), v.rows(), v.cols(), Eigen::OuterStride<>(v.row_stride())}; }

}  // namespace

void eigen_gram_threads(int threads) {
  thread_count = threads;
  Eigen::setNbThreads(1);  // the blocks are shared, not the products inside them
}

void eigen_gram_by_rows(ConstTensorView x, ConstTensorView y, float gamma, std::span<double> row_sums) {
  const Array columns = map(y).transpose().array();  // d x m: long vectors for any d
  const float scale = -0.5F / (gamma * gamma);
#pragma omp parallel num_threads(thread_count)
  {
    Eigen::Array<float, 1, Eigen::Dynamic> squared(columns.cols());
#pragma omp for schedule(dynamic, block_rows)
    for (std::int64_t i = 0; i < x.rows(); ++i) {
      squared.setZero();
      for (std::int64_t k = 0; k < x.cols(); ++k) squared += (columns.row(k) - x(i, k)).square();
      row_sums[static_cast<std::size_t>(i)] = (squared * scale).exp().sum();
    }
  }
}

void eigen_gram_by_products(ConstTensorView x, ConstTensorView y, float gamma, std::span<double> row_sums) {
  const Map xs = map(x), ys = map(y);
  const float scale = -0.5F / (gamma * gamma);
  const Eigen::Array<float, 1, Eigen::Dynamic> norm_y = ys.rowwise().squaredNorm().transpose().array();
  const std::int64_t blocks = (x.rows() + block_rows - 1) / block_rows;
#pragma omp parallel num_threads(thread_count)
  {
    Matrix product;
#pragma omp for schedule(dynamic)
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t first = b * block_rows, rows = std::min(block_rows, x.rows() - first);
      product.noalias() = xs.middleRows(first, rows) * ys.transpose();
      for (std::int64_t i = 0; i < rows; ++i) {
        const float norm_x = xs.row(first + i).squaredNorm();
        row_sums[static_cast<std::size_t>(first + i)] =
            ((norm_y + norm_x - 2.0F * product.row(i).array()).max(0.0F) * scale).exp().sum();
      }
    }
  }
}

}  // namespace kindling::bench
