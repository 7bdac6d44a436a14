#include "theory/lanczos.h"

#include <fmt/format.h>

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/dense.h"
#include "kernels/device_log.h"
#include "kernels/jacobian.h"
#include "kernels/residency.h"

namespace kindling {
namespace {

constexpr Activation identity{ActivationKind::identity};

ConstTensorView row(std::span<const float> v) { return {v.data(), {1, static_cast<std::int64_t>(v.size())}}; }
TensorView row(std::span<float> v) { return {v.data(), {1, static_cast<std::int64_t>(v.size())}}; }

// y = a y + b x
void combine(const kernels::Execution& exec, float a, std::span<float> y, float b, std::span<const float> x) {
  kernels::jacobian_join(exec, row(y), {&a, 1}, row(x), {&b, 1}, {row(x), identity}, row(y));
}

void scale(const kernels::Execution& exec, double a, std::span<float> y) {
  const auto factor = static_cast<float>(a);
  kernels::scale_rows(exec, row(y), {&factor, 1}, row(y));
}

class Iteration {
 public:
  Iteration(const kernels::Execution& exec, std::int64_t size, int max_steps)
      : exec_(exec),
        size_(size),
        basis_({max_steps, size}),
        w_({size}),
        overlap_({max_steps}),
        part_({size}),
        residency_(exec) {
    for (const Tensor* t : {&basis_, &w_, &overlap_, &part_}) residency_.keep(kernels::Residency::Role::scratch, *t);
  }

  std::span<float> vector(int j) { return {basis_.view().row(j), static_cast<std::size_t>(size_)}; }
  std::span<float> w() { return w_.flat(); }

  // Takes from w its parts along the first `count` vectors, twice.
  void orthogonalise(int count) {
    const ConstTensorView basis = basis_.view().rows(0, count);
    const TensorView overlap(overlap_.data(), {1, count});
    const std::vector<float> none(static_cast<std::size_t>(count));
    for (int pass = 0; pass < 2; ++pass) {
      kernels::dense_forward(exec_, row(w()), basis, none, identity, overlap);
      kernels::jacobian_product(exec_, overlap, basis, row(part_.flat()));
      combine(exec_, 1, w(), -1, part_.flat());
    }
  }

  // The Ritz vector of coefficients s over the first vectors, of length 1.
  std::span<const float> ritz(const Eigen::VectorXd& s) {
    std::vector<float> coefficients(static_cast<std::size_t>(s.size()));
    for (Eigen::Index i = 0; i < s.size(); ++i) coefficients[static_cast<std::size_t>(i)] = static_cast<float>(s(i));
    kernels::jacobian_product(exec_, row(std::span<const float>(coefficients)), basis_.view().rows(0, s.size()),
                              row(part_.flat()));
    const double norm = std::sqrt(dot(exec_, part_.flat(), part_.flat()));
    scale(exec_, 1 / norm, part_.flat());
    return part_.flat();
  }

 private:
  const kernels::Execution& exec_;
  std::int64_t size_;
  Tensor basis_, w_, overlap_, part_;
  kernels::Residency residency_;
};

struct Tridiagonal {
  std::vector<double> diagonal, off;  // off: one fewer while iterating

  [[nodiscard]] Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solve() const {
    const auto n = static_cast<Eigen::Index>(diagonal.size());
    Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver;
    solver.computeFromTridiagonal(Eigen::Map<const Eigen::VectorXd>(diagonal.data(), n),
                                  Eigen::Map<const Eigen::VectorXd>(off.data(), n - 1));
    return solver;
  }
};

}  // namespace

double dot(const kernels::Execution& exec, std::span<const float> a, std::span<const float> b) {
  constexpr std::size_t piece = 4096;
  double sum = 0;
  const auto add = [&](std::size_t first, std::size_t rows, std::size_t cols) {
    if (rows == 0 || cols == 0) return;
    const auto r = static_cast<std::int64_t>(rows), c = static_cast<std::int64_t>(cols);
    std::vector<float> dots(rows);
    kernels::row_dots(exec, ConstTensorView(a.data() + first, {r, c}), ConstTensorView(b.data() + first, {r, c}), dots);
    for (const float d : dots) sum += double{d};
  };
  const std::size_t whole = a.size() / piece;
  add(0, whole, piece);
  add(whole * piece, 1, a.size() - whole * piece);
  return sum;
}

ExtremeEigenvalues lanczos(const kernels::Execution& exec, std::int64_t size, const SymmetricProduct& product,
                           const LanczosOptions& options, const Stream& start, const Context& context) {
  if (options.max_steps < 1 || !(options.tolerance >= 0)) {
    throw Error(ErrorCode::usage, fmt::format("lanczos: expected at least one step and a tolerance of 0 or more, found "
                                              "{} and {}",
                                              options.max_steps, options.tolerance));
  }
  ExtremeEigenvalues result;
  if (size == 0) {
    result.converged = true;
    return result;
  }
  kernels::on_host("lanczos: eigenvalues of the tridiagonal matrix");
  const int most = static_cast<int>(std::min<std::int64_t>(options.max_steps, size));
  Iteration it(exec, size, most);
  fill_normal(start, 0, 1, it.vector(0), context);
  const double length = std::sqrt(dot(exec, it.vector(0), it.vector(0)));
  scale(exec, 1 / length, it.vector(0));
  Tridiagonal t;
  Eigen::VectorXd low, high;
  for (int j = 0; j < most; ++j) {
    context.check_stop();
    product(it.vector(j), it.w());
    ++result.products;
    const double alpha = dot(exec, it.vector(j), it.w());
    if (!std::isfinite(alpha)) {
      throw Error(ErrorCode::numerical, fmt::format("lanczos: step {}: the product is not finite", j + 1));
    }
    t.diagonal.push_back(alpha);
    it.orthogonalise(j + 1);
    const double beta = std::sqrt(dot(exec, it.w(), it.w()));
    const auto solver = t.solve();
    const Eigen::Index n = solver.eigenvalues().size();
    low = solver.eigenvectors().col(0);
    high = solver.eigenvectors().col(n - 1);
    result.smallest = solver.eigenvalues()(0);
    result.largest = solver.eigenvalues()(n - 1);
    const double unsettled = beta * std::max(std::abs(low(n - 1)), std::abs(high(n - 1)));
    // Where rounding is all that is left the vectors span an invariant subspace.
    result.converged = unsettled <= options.tolerance * result.norm() || beta <= 1e-6 * result.norm() || j + 1 == size;
    if (result.converged || j + 1 == most) break;
    t.off.push_back(beta);
    scale(exec, 1 / beta, it.w());
    kernels::copy_rows(exec, row(it.w()), row(it.vector(j + 1)));
  }
  const auto residual = [&](const Eigen::VectorXd& s, double value) {
    const std::span<const float> y = it.ritz(s);
    product(y, it.w());
    ++result.products;
    combine(exec, 1, it.w(), static_cast<float>(-value), y);
    return std::sqrt(dot(exec, it.w(), it.w()));
  };
  result.largest_residual = residual(high, result.largest);
  result.smallest_residual = residual(low, result.smallest);
  return result;
}

}  // namespace kindling
