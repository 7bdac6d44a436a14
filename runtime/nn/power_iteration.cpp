#include "nn/power_iteration.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "kernels/loss.h"

namespace kindling {

SingularValues largest_singular_values(ConstTensorView w, const kernels::Derivative& at,
                                       const PowerIterationOptions& options, const Context& context) {
  if (options.max_iterations < 1 || !(options.tolerance >= 0)) {
    throw Error(
        ErrorCode::usage,
        fmt::format("largest_singular_values: expected at least one iteration and a tolerance of 0 or more, found "
                    "{} and {}",
                    options.max_iterations, options.tolerance));
  }
  if (w.rank() < 1 || at.y.rank() < 1 || at.y.cols() != w.rows()) {
    throw Error(ErrorCode::usage, "largest_singular_values: expected y with one column for each row of w");
  }
  const kernels::Execution execution = kernels::execution(context);
  const std::int64_t samples = at.y.rows();
  const auto n = static_cast<std::size_t>(samples);
  SingularValues result;
  result.value.resize(n);
  if (samples == 0 || w.size() == 0) return result;

  Tensor v({samples, w.cols()}), next({samples, w.cols()}), u({samples, w.rows()});
  Stream start = options.start;
  start.seed = context.seed;
  fill_normal(start, 0.0F, 1.0F, v.flat(), context);
  std::vector<float> norms(n), scale(n);
  const auto normalize = [&](Tensor& vectors) {
    kernels::row_norms(execution, vectors, norms);
    for (std::size_t i = 0; i < n; ++i) scale[i] = norms[i] == 0 ? 0.0F : 1 / norms[i];
    kernels::scale_rows(execution, vectors, scale, vectors);
  };
  normalize(v);
  std::vector<float> before(n, -1.0F);
  while (true) {
    context.check_stop();
    kernels::jacobian_transposed(execution, v, w, at, u);  // J v
    kernels::row_norms(execution, u, result.value);
    result.unconverged = 0;
    for (std::size_t i = 0; i < n; ++i) {
      // A NaN never converges.
      const bool settled = std::abs(double{result.value[i]} - double{before[i]}) <=
                           options.tolerance * std::abs(double{result.value[i]});
      result.unconverged += settled ? 0 : 1;
    }
    if (++result.iterations >= options.max_iterations || result.unconverged == 0) return result;
    before = result.value;
    kernels::activation_gradient(execution, at.y, at.activation, u, u);
    kernels::jacobian_product(execution, u, w, next);
    normalize(next);
    std::swap(v, next);
  }
}

}  // namespace kindling
