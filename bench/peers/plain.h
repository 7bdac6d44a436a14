// What one would write with the standard library and a loop; compiled with -O3 for this machine like every peer.
#pragma once

#include <kindling/tensor.h>

#include <cstdint>
#include <span>

namespace kindling::bench {

/// std::normal_distribution on std::mt19937.
void plain_normals(std::span<float> out);

/// Softmax cross entropy of each row, its gradient times `scale`, and the arg-max.
void plain_softmax_cross_entropy(ConstTensorView logits, std::span<const std::int32_t> labels, float scale,
                                 std::span<float> loss, TensorView gradient, std::span<std::int32_t> predicted);

/// out(r, k) = (bytes(index[r], k) / 255 - mean[k]) * inverse_std[k]
void plain_gather_rows_u8(BasicTensorView<const std::uint8_t> bytes, std::span<const std::int32_t> index,
                          std::span<const float> mean, std::span<const float> inverse_std, TensorView out);

}  // namespace kindling::bench
