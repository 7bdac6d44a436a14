// Batches of standardised inputs, converted by the kernels from whatever the data set stores.
#pragma once

#include <kindling/dataset.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <span>

#include "kernels/dispatch.h"
#include "kernels/residency.h"

namespace kindling {

/// Rows [first, first + out.rows()) of a split, standardised: out is rows x features.
void read_rows(const kernels::Execution& exec, const Dataset& data, const Samples& split, std::int64_t first,
               TensorView out);

/// Rows `indices` of a split, in that order, standardised: out is indices.size() x features.
void gather_rows(const kernels::Execution& exec, const Dataset& data, const Samples& split,
                 std::span<const std::int32_t> indices, TensorView out);

/// Keeps a split's inputs and what standardises them on the device.
void keep_samples(kernels::Residency& residency, const Dataset& data, const Samples& split);

/// The labels of rows `indices`.
void gather_labels(const Samples& split, std::span<const std::int32_t> indices, std::span<std::int32_t> out);

}  // namespace kindling
