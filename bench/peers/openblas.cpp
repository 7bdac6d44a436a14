// OpenBLAS: sgemm, with bias, ReLU and masks by hand in a second pass over the result. The SGD step costs the weight
// gradient nothing: sgemm adds -rate * dz^T x onto w.
#include <cblas.h>

#include <algorithm>
#include <vector>

#include "peers/peers.h"
#include "peers/row_workers.h"

namespace kindling::bench {
namespace {

int as_int(std::int64_t n) { return static_cast<int>(n); }

void bias_relu(const DenseForward& a, std::int64_t first, std::int64_t last) {
  const std::int64_t m = a.y.cols();
  const float* __restrict bias = a.bias.data();
  for (std::int64_t n = first; n < last; ++n) {
    float* __restrict y = a.y.row(n);
    if (a.relu) {
      for (std::int64_t i = 0; i < m; ++i) {
        const float z = y[i] + bias[i];
        y[i] = z > 0.0F ? z : 0.0F;
      }
    } else {
      for (std::int64_t i = 0; i < m; ++i) y[i] += bias[i];
    }
  }
}

void relu_mask(const DenseBackward& a, std::int64_t first, std::int64_t last) {
  const std::int64_t k = a.dx.cols();
  for (std::int64_t n = first; n < last; ++n) {
    float* __restrict dx = a.dx.row(n);
    const float* __restrict x = a.x.row(n);
    for (std::int64_t i = 0; i < k; ++i) dx[i] = x[i] > 0.0F ? dx[i] : 0.0F;
  }
}

void bias_step(const DenseBackward& a) {
  const std::int64_t m = a.dz.cols();
  float* __restrict bias = a.bias.data();
  const float rate = *a.learning_rate;
  for (std::int64_t n = 0; n < a.dz.rows(); ++n) {
    const float* __restrict dz = a.dz.row(n);
    for (std::int64_t i = 0; i < m; ++i) bias[i] -= rate * dz[i];
  }
}

class OpenBlasPeer final : public Peer {
 public:
  [[nodiscard]] std::string version() const override { return openblas_get_config(); }
  void set_threads(int threads) const override {
    openblas_set_num_threads(threads);
    workers_.set_threads(threads);
  }

  [[nodiscard]] std::function<void()> dense_forward(const DenseForward& a) const override {
    return [this, a] {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, as_int(a.x.rows()), as_int(a.w.rows()), as_int(a.x.cols()),
                  1.0F, a.x.data(), as_int(a.x.row_stride()), a.w.data(), as_int(a.w.row_stride()), 0.0F, a.y.data(),
                  as_int(a.y.row_stride()));
      workers_.run(a.y.rows(), a.y.cols(), [&](std::int64_t first, std::int64_t last) { bias_relu(a, first, last); });
    };
  }

  [[nodiscard]] std::function<void()> dense_backward(const DenseBackward& a) const override {
    return [this, a] {
      const int n = as_int(a.x.rows());
      const int k = as_int(a.x.cols());
      const int m = as_int(a.w.rows());
      if (a.dx.rank() != 0) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, k, m, 1.0F, a.dz.data(), as_int(a.dz.row_stride()),
                    a.w.data(), as_int(a.w.row_stride()), 0.0F, a.dx.data(), as_int(a.dx.row_stride()));
        workers_.run(n, k, [&](std::int64_t first, std::int64_t last) { relu_mask(a, first, last); });
      }
      cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, k, n, -*a.learning_rate, a.dz.data(),
                  as_int(a.dz.row_stride()), a.x.data(), as_int(a.x.row_stride()), 1.0F, a.w.data(),
                  as_int(a.w.row_stride()));
      bias_step(a);
    };
  }

  // One-hot labels times the matrix, then times the squares of what the class means leave.
  [[nodiscard]] std::function<void()> class_moments(const ClassMoments& a) const override {
    const auto n = static_cast<std::size_t>(a.z.rows()), m = static_cast<std::size_t>(a.z.cols());
    const auto classes = static_cast<std::size_t>(a.mean.rows());
    return [this, a, n, m, classes, one_hot = std::vector<float>(n * classes),
            squares = std::vector<float>(n * m)]() mutable {
      std::vector<float> count(classes);
      std::fill(one_hot.begin(), one_hot.end(), 0.0F);
      for (std::size_t i = 0; i < n; ++i) count[static_cast<std::size_t>(a.labels[i])] += 1.0F;
      for (std::size_t i = 0; i < n; ++i) {
        const auto c = static_cast<std::size_t>(a.labels[i]);
        one_hot[i * classes + c] = 1.0F / count[c];
      }
      const auto sum = [&](const float* x, std::int64_t stride, const TensorView& y) {
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, as_int(y.rows()), as_int(y.cols()), as_int(a.z.rows()),
                    1.0F, one_hot.data(), as_int(y.rows()), x, as_int(stride), 0.0F, y.data(), as_int(y.row_stride()));
      };
      sum(a.z.data(), a.z.row_stride(), a.mean);
      workers_.run(a.z.rows(), a.z.cols(), [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i) {
          const float* __restrict z = a.z.row(i);
          const float* __restrict mean = a.mean.row(a.labels[static_cast<std::size_t>(i)]);
          float* __restrict square = squares.data() + static_cast<std::size_t>(i) * m;
          for (std::size_t k = 0; k < m; ++k) square[k] = (z[k] - mean[k]) * (z[k] - mean[k]);
        }
      });
      sum(squares.data(), a.z.cols(), a.variance);
    };
  }

  [[nodiscard]] std::function<void()> covariance(const Covariance& a) const override {
    const auto n = static_cast<std::size_t>(a.x.rows()), d = static_cast<std::size_t>(a.x.cols());
    return [this, a, n, d, centred = std::vector<float>(n * d)]() mutable {
      std::vector<float> mean(d);
      for (std::size_t i = 0; i < n; ++i) {
        const float* __restrict x = a.x.row(static_cast<std::int64_t>(i));
        for (std::size_t k = 0; k < d; ++k) mean[k] += x[k];
      }
      for (float& v : mean) v /= static_cast<float>(n);
      workers_.run(a.x.rows(), a.x.cols(), [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i) {
          const float* __restrict x = a.x.row(i);
          float* __restrict y = centred.data() + static_cast<std::size_t>(i) * d;
          for (std::size_t k = 0; k < d; ++k) y[k] = x[k] - mean[k];
        }
      });
      cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, as_int(a.x.cols()), as_int(a.x.rows()),
                  1.0F / static_cast<float>(n), centred.data(), as_int(a.x.cols()), 0.0F, a.covariance.data(),
                  as_int(a.covariance.row_stride()));
      for (std::int64_t i = 0; i < a.x.cols(); ++i)
        for (std::int64_t j = 0; j < i; ++j) a.covariance.row(i)[j] = a.covariance.row(j)[i];
    };
  }

 private:
  mutable RowWorkers workers_;
};

}  // namespace

const Peer& openblas_peer() {
  static const OpenBlasPeer peer;
  return peer;
}

}  // namespace kindling::bench
