// OpenBLAS: sgemm, with bias, ReLU and masks by hand in a second pass over the result. The SGD step costs the weight
// gradient nothing: sgemm adds -rate * dz^T x onto w.
#include <cblas.h>

#include <algorithm>

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

 private:
  mutable RowWorkers workers_;
};

}  // namespace

const Peer& openblas_peer() {
  static const OpenBlasPeer peer;
  return peer;
}

}  // namespace kindling::bench
