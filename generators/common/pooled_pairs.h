// Pairs i < j of a pooled sample z = (x, y) of one problem or many: what the kernels of pairwise distances share.
#pragma once

#include <limits>
#include <vector>

#include "gaussian_pairs.h"

namespace kindling {

// The inputs of these kernels, and tiles of squared distances, infinite where j <= i.
template <class Derived>
class PooledPairs : public Halide::Generator<Derived> {
 public:
  template <class T>
  using In = typename Halide::Generator<Derived>::template Input<T>;

  In<Halide::Buffer<float, 3>> x{"x"}, y{"y"};        // (d, n, problems), (d, m, problems)
  In<int32_t> pooled_rows{"pooled_rows"};             // n + m, or n where y stands for nothing
  In<Halide::Buffer<int32_t, 1>> problem{"problem"};  // (active), the problems looked at

 protected:
  void define_tiles() {
    using namespace Halide;
    const Expr n = x.dim(1).extent(), m = y.dim(1).extent();
    const auto at = [&](const Expr& k, const Expr& j, const Expr& a) {
      const Expr p = clamp(problem(a), 0, x.dim(2).extent() - 1);
      return select(j < n, x(k, min(j, n - 1), p), y(k, clamp(j - n, 0, m - 1), p));
    };
    const bool gpu = this->get_target().has_gpu_feature();
    tile_ = PairTile("pairs", hardware_facts(this->get_target()), gpu, PairTile::Form::difference,
                     {x.dim(0).extent(), pooled_rows, pooled_rows, {}, at, Func()});
    const Expr ahead = tile_.panel * tile_.columns() + tile_.col_in - (tile_.row_tile * tile_.rows() + tile_.row_in);
    masked_(tile_.col_in, tile_.row_in, tile_.panel, tile_.row_tile, tile_.problem) =
        max(tile_(tile_.col_in, tile_.row_in, tile_.panel, tile_.row_tile, tile_.problem),
            select(ahead > 0, 0.0F, std::numeric_limits<float>::infinity()));
  }
  // Whether a panel holds a column j > i of a tile's rows i.
  Halide::Expr above_diagonal(const Halide::Expr& panel, const Halide::Expr& row_tile) {
    return (panel + 1) * tile_.columns() > row_tile * tile_.rows() + 1;
  }
  Halide::Expr row_tiles() { return (pooled_rows + tile_.rows() - 1) / tile_.rows(); }

  void bound_inputs() {
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    x.dim(2).set_min(0);
    y.dim(0).set_bounds(0, x.dim(0).extent());
    y.dim(1).set_min(0);
    y.dim(2).set_bounds(0, x.dim(2).extent());
    problem.dim(0).set_min(0);
  }

  PairTile tile_;
  Halide::Func masked_{"masked"};
};

inline std::vector<Halide::Expr> elements(const Halide::FuncRef& tuple) {
  std::vector<Halide::Expr> v;
  for (int i = 0; i < static_cast<int>(tuple.size()); ++i) v.push_back(tuple[i]);
  return v;
}

/// The smallest of an ascending list and one more number, as many as before, ascending: the new one passes along.
inline std::vector<Halide::Expr> with_one_more(std::vector<Halide::Expr> ascending, Halide::Expr passing) {
  for (Halide::Expr& place : ascending) {
    const Halide::Expr smaller = min(place, passing);
    passing = max(place, passing);
    place = smaller;
  }
  return ascending;
}

/// The smaller half of two ascending lists of 2^k numbers, ascending: the smaller of opposite places, then a bitonic
/// sort.
inline std::vector<Halide::Expr> smaller_half(const std::vector<Halide::Expr>& a, const std::vector<Halide::Expr>& b) {
  const std::size_t size = a.size();
  std::vector<Halide::Expr> c;
  for (std::size_t i = 0; i < size; ++i) c.push_back(min(a[i], b[size - 1 - i]));
  for (std::size_t half = size / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < size; ++i) {
      if ((i & half) != 0) continue;
      const Halide::Expr smaller = min(c[i], c[i + half]);
      c[i + half] = max(c[i], c[i + half]);
      c[i] = smaller;
    }
  }
  return c;
}

}  // namespace kindling
