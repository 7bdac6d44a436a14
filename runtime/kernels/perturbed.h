// Dense layers with parameters perturbed anew for every sample s = 0 .. S-1: W + E_s and b + e_s, E_s ~ N(0,
// weight_stddev^2), e_s ~ N(0, bias_stddev^2), the sampling step of initialization learned by MMD. No E_s is stored on
// a CPU: it is drawn again wherever it is needed, from its own place in the stream.
//
// Sample s begins at block s B, B = M ceil(K / 4) + ceil(M / 4): the rows of E_s, ceil(K / 4) blocks each, then e_s. A
// row of E_s is what philox_normal gives from its first block on, bit for bit.
//
// N rows a sample, fan-in K, fan-out M, row-major float32, S x N x K and S x N x M contiguous in each sample. Results
// do not depend on the number of threads. A shape that does not fit throws Error{usage}, as do a stddev that is
// negative or not finite and samples that run past the stream's 2^32 blocks.
//
// The weights' gradient needs no kernel of its own: d(W + E_s) / dW = 1, so that dW = sum_s dZ_s^T X_s is
// dense_weight_gradient over the S N stacked rows; where all samples share X it is that of sum_s dZ_s over N rows.
#pragma once

#include <kindling/activation.h>
#include <kindling/random.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <span>

#include "kernels/dispatch.h"

namespace kindling::kernels {

struct Perturbation {
  Stream stream;
  float weight_stddev = 0;
  float bias_stddev = 0;
};

/// Blocks of the stream that one sample of a layer takes (B above).
std::int64_t perturbation_blocks(std::int64_t fan_in, std::int64_t fan_out);

/// Y_s = f(X_s (W + E_s)^T + b + e_s). x is S x N x K, or N x K where all samples share it; w (M x K), bias (M),
/// y (S x N x M). Error as dense_forward's, for the perturbed parameters as rounded to float32.
void perturbed_dense_forward(const Execution& execution, const Perturbation& perturbation, ConstTensorView x,
                             ConstTensorView w, std::span<const float> bias, const Activation& activation,
                             TensorView y);

/// dX_s = f'(X_s) * (dZ_s (W + E_s)) with the E_s of the forward pass; dz (S x N x M), w (M x K), x and dx (S x N x K),
/// x the output of the activation `below`. At the kink of a piecewise-linear activation (X = 0) the derivative is that
/// of the negative side.
void perturbed_input_gradient(const Execution& execution, const Perturbation& perturbation, ConstTensorView dz,
                              ConstTensorView w, ConstTensorView x, const Activation& below, TensorView dx);

}  // namespace kindling::kernels
