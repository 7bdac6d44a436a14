// Gaussian kernels by another library, in blocks of rows so that no large matrix is stored.
#pragma once

#include <kindling/tensor.h>

#include <span>

namespace kindling::bench {

/// Threads of all later calls.
void eigen_gram_threads(int threads);

/// row_sums[i] = sum_j exp(-|x_i - y_j|^2 / (2 gamma^2)): by differences, one row at a time.
void eigen_gram_by_rows(ConstTensorView x, ConstTensorView y, float gamma, std::span<double> row_sums);
/// The same by one product per block of rows.
void eigen_gram_by_products(ConstTensorView x, ConstTensorView y, float gamma, std::span<double> row_sums);

}  // namespace kindling::bench
