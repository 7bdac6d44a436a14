#include "nn/batches.h"

#include "kernels/random.h"
#include "kernels/scatter.h"

namespace kindling {

void read_rows(const kernels::Execution& exec, const Dataset& data, const Samples& split, std::int64_t first,
               TensorView out) {
  const std::int64_t rows = out.rows();
  if (split.eight_bit()) {
    const BasicTensorView<const std::uint8_t> x(split.bytes.data() + first * split.features, {rows, split.features});
    kernels::standardize_u8(exec, x, data.mean, data.inverse_std, out);
  } else {
    const ConstTensorView x(split.floats.data() + first * split.features, {rows, split.features});
    kernels::standardize(exec, x, data.mean, data.inverse_std, out);
  }
}

void gather_rows(const kernels::Execution& exec, const Dataset& data, const Samples& split,
                 std::span<const std::int32_t> indices, TensorView out) {
  if (split.eight_bit()) {
    const BasicTensorView<const std::uint8_t> x(split.bytes.data(), {split.count, split.features});
    kernels::gather_rows_u8(exec, x, indices, data.mean, data.inverse_std, out);
  } else {
    const ConstTensorView x(split.floats.data(), {split.count, split.features});
    kernels::gather_rows(exec, x, indices, data.mean, data.inverse_std, out);
  }
}

void keep_samples(kernels::Residency& residency, const Dataset& data, const Samples& split) {
  using Role = kernels::Residency::Role;
  residency.keep(Role::input, std::span(split.bytes));
  residency.keep(Role::input, std::span(split.floats));
  residency.keep(Role::input, std::span(data.mean));
  residency.keep(Role::input, std::span(data.inverse_std));
}

void gather_labels(const Samples& split, std::span<const std::int32_t> indices, std::span<std::int32_t> out) {
  for (std::size_t i = 0; i < indices.size(); ++i) out[i] = split.labels[static_cast<std::size_t>(indices[i])];
}

}  // namespace kindling
