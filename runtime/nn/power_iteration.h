// Largest singular values of many Jacobians at once, by power iteration.
#pragma once

#include <kindling/model.h>
#include <kindling/random.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/jacobian.h"

namespace kindling {

struct PowerIterationOptions {
  int max_iterations = 200;
  /// A sample has converged when an iteration changes its estimate by at most this fraction.
  double tolerance = 1e-5;
  /// Of the starting vectors, normal numbers; sample n takes the numbers from n K on.
  Stream start{.purpose = Purpose::search};
};

struct SingularValues {
  std::vector<float> value;      ///< one a sample
  std::int64_t iterations = 0;   ///< of all samples together
  std::int64_t unconverged = 0;  ///< samples that were still changing at the end
};

/// One linear map for each sample: u(n) = J(n) v(n), v (N x inputs), u (N x outputs).
struct LinearMaps {
  std::int64_t samples = 0, inputs = 0, outputs = 0;
  std::function<void(ConstTensorView v, TensorView u)> apply;        ///< u(n) = J(n) v(n)
  std::function<void(TensorView u, TensorView v)> apply_transposed;  ///< v(n) = J(n)^T u(n); u may be overwritten
  std::shared_ptr<Tensor> unread;                                    ///< zeros that they may name
};

/// The largest singular value of every J(n). Iterates v <- J^T J v / ||J^T J v||, as below.
SingularValues largest_singular_values(const LinearMaps& maps, const PowerIterationOptions& options,
                                       const Context& context);

/// The maps J(n) = dz / dx of a dense or convolution layer with outputs y (N x outputs) on the inputs that gave them,
/// channels last: diag f'(u(n)) W, W the convolution as a matrix. Layer and y must outlive them. Throws Error{usage}
/// for another layer.
LinearMaps layer_jacobians(const kernels::Execution& execution, const Layer& layer, ConstTensorView y);

/// The largest singular value of J(n) = diag f'(u(n)) W for every sample n, as curvature-based initialization needs
/// them (Skorski, "Revisiting Initialization of Neural Networks", corollary 1). w (M x K), at.y (N x M): outputs of the
/// layer's activation. Iterates v <- J^T J v / ||J^T J v||; the estimate ||J v|| never exceeds the value but for
/// rounding and grows from step to step; where the two largest values nearly agree the vector turns slowly, but then
/// the estimate lies close to both. A sample whose J is 0 has the value 0. The same for any number of threads. Throws
/// Error{usage} for shapes that do not fit, fewer than one iteration and a negative tolerance.
SingularValues largest_singular_values(ConstTensorView w, const kernels::Derivative& at,
                                       const PowerIterationOptions& options, const Context& context);

}  // namespace kindling
