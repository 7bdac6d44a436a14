#include "peers/plain.h"

#include <cmath>
#include <random>

namespace kindling::bench {

void plain_normals(std::span<float> out) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  for (float& v : out) v = normal(engine);
}

void plain_uniforms(float low, float high, std::span<float> out) {
  std::mt19937 engine(1);
  std::uniform_real_distribution<float> uniform(low, high);
  for (float& v : out) v = uniform(engine);
}

void plain_exponentials(std::span<float> out) {
  std::mt19937 engine(1);
  std::exponential_distribution<float> exponential;
  for (float& v : out) v = exponential(engine);
}

void plain_beta21(std::span<float> out) {
  std::mt19937 engine(1);
  std::uniform_real_distribution<float> uniform;
  for (float& v : out) v = std::sqrt(uniform(engine));
}

void plain_betas(float alpha, float beta, std::span<float> out) {
  std::mt19937 engine(1);
  std::gamma_distribution<float> first(alpha), second(beta);
  for (float& v : out) {
    const float g = first(engine);
    v = g / (g + second(engine));
  }
}

void plain_simplex(TensorView out) {
  std::mt19937 engine(1);
  std::exponential_distribution<float> exponential;
  for (std::int64_t r = 0; r < out.rows(); ++r) {
    float* row = out.row(r);
    float sum = 0;
    for (std::int64_t k = 0; k < out.cols(); ++k) sum += row[k] = exponential(engine);
    const float scale = 1.0F / sum;
    for (std::int64_t k = 0; k < out.cols(); ++k) row[k] *= scale;
  }
}

void plain_dropout(ConstTensorView x, double rate, TensorView y) {
  std::mt19937 engine(1);
  std::bernoulli_distribution dropped(rate);
  const auto scale = static_cast<float>(1 / (1 - rate));
  for (std::int64_t r = 0; r < x.rows(); ++r)
    for (std::int64_t k = 0; k < x.cols(); ++k) y(r, k) = dropped(engine) ? 0.0F : x(r, k) * scale;
}

void plain_softmax_cross_entropy(ConstTensorView logits, std::span<const std::int32_t> labels, float scale,
                                 std::span<float> loss, TensorView gradient, std::span<std::int32_t> predicted) {
  const std::int64_t classes = logits.cols();
  for (std::int64_t n = 0; n < logits.rows(); ++n) {
    const float* __restrict z = logits.row(n);
    float* __restrict g = gradient.row(n);
    std::int64_t best = 0;
    for (std::int64_t c = 1; c < classes; ++c) best = z[c] > z[best] ? c : best;
    float sum = 0;
    for (std::int64_t c = 0; c < classes; ++c) {
      g[c] = std::exp(z[c] - z[best]);
      sum += g[c];
    }
    const auto r = static_cast<std::size_t>(n);
    const std::int64_t label = labels[r];
    const float factor = scale / sum;
    for (std::int64_t c = 0; c < classes; ++c) g[c] *= factor;
    g[label] -= scale;
    loss[r] = std::log(sum) - (z[label] - z[best]);
    predicted[r] = static_cast<std::int32_t>(best);
  }
}

void plain_gather_rows_u8(BasicTensorView<const std::uint8_t> bytes, std::span<const std::int32_t> index,
                          std::span<const float> mean, std::span<const float> inverse_std, TensorView out) {
  const std::int64_t features = out.cols();
  const float* __restrict m = mean.data();
  const float* __restrict s = inverse_std.data();
  for (std::int64_t r = 0; r < out.rows(); ++r) {
    const std::uint8_t* __restrict from = bytes.row(index[static_cast<std::size_t>(r)]);
    float* __restrict to = out.row(r);
    for (std::int64_t k = 0; k < features; ++k) to[k] = (static_cast<float>(from[k]) * (1.0F / 255.0F) - m[k]) * s[k];
  }
}

}  // namespace kindling::bench
