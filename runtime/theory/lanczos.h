// Lanczos iteration for the ends of a symmetric matrix's spectrum, the vectors in the kernels' hands.
#pragma once

#include <kindling/curvature.h>
#include <kindling/random.h>

#include <functional>
#include <span>

#include "kernels/dispatch.h"

namespace kindling {

/// result = H v for a symmetric H.
using SymmetricProduct = std::function<void(std::span<const float> v, std::span<float> result)>;

/// Full reorthogonalisation (twice is enough: Giraud et al. 2005); the tridiagonal matrix's eigenvectors by Eigen in
/// float64; starts from normal numbers of `start`.
ExtremeEigenvalues lanczos(const kernels::Execution& exec, std::int64_t size, const SymmetricProduct& product,
                           const LanczosOptions& options, const Stream& start, const Context& context);

/// a . b: float32 within pieces of some thousand numbers, float64 across them.
double dot(const kernels::Execution& exec, std::span<const float> a, std::span<const float> b);

}  // namespace kindling
