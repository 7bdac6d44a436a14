// What one would write with the standard library and a loop; compiled with -O3 for this machine like every peer.
#pragma once

#include <kindling/tensor.h>

#include <cstdint>
#include <span>

namespace kindling::bench {

/// std::normal_distribution on std::mt19937.
void plain_normals(std::span<float> out);

/// std::uniform_real_distribution and std::exponential_distribution (mean 1) on std::mt19937.
void plain_uniforms(float low, float high, std::span<float> out);
void plain_exponentials(std::span<float> out);
/// The square root of a uniform draw.
void plain_beta21(std::span<float> out);
/// A draw of std::gamma_distribution over the sum of two.
void plain_betas(float alpha, float beta, std::span<float> out);
/// Exponential draws over their sum in each row.
void plain_simplex(TensorView out);

/// y = x / (1 - rate) or 0, by std::bernoulli_distribution on std::mt19937.
void plain_dropout(ConstTensorView x, double rate, TensorView y);

/// Softmax cross entropy of each row, its gradient times `scale`, and the arg-max.
void plain_softmax_cross_entropy(ConstTensorView logits, std::span<const std::int32_t> labels, float scale,
                                 std::span<float> loss, TensorView gradient, std::span<std::int32_t> predicted);

/// out(r, k) = (bytes(index[r], k) / 255 - mean[k]) * inverse_std[k]
void plain_gather_rows_u8(BasicTensorView<const std::uint8_t> bytes, std::span<const std::int32_t> index,
                          std::span<const float> mean, std::span<const float> inverse_std, TensorView out);

}  // namespace kindling::bench
