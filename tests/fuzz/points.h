// Samples of points for the kernels over pairs: a strided matrix for one problem, or a tensor for several.
#pragma once

#include "fuzz/fuzz.h"

namespace kindling::fuzz {

struct Points {
  std::int64_t problems, rows, depth;
  bool tensor;  // or a matrix
  Array<float> values;

  Points(Case& c, std::int64_t count, std::int64_t n, std::int64_t d, double mean = 0)
      : problems(count),
        rows(n),
        depth(d),
        tensor(count != 1),
        values(tensor ? Array<float>::adjacent(c, count, n * d) : Array<float>(c, n, d)) {
    values.fill([&] { return mean + c.normal(); });
  }
  [[nodiscard]] double operator()(std::int64_t p, std::int64_t i, std::int64_t k) {
    return tensor ? values(p, i * depth + k) : values(i, k);
  }
  [[nodiscard]] TensorView view() {
    if (!tensor) return values.view();
    return TensorView(values.data(), {problems, rows, depth});
  }
  [[nodiscard]] ConstTensorView in() { return view(); }
  /// Without the last row, where a sum over the rows must lose a term.
  [[nodiscard]] ConstTensorView fewer(const Case& c) {
    const bool drop = c.mutation == Mutation::dropped_term && !tensor && rows > 2;
    return drop ? in().rows(0, rows - 1) : in();
  }
  /// Of the coordinates.
  [[nodiscard]] std::vector<double> mean(std::int64_t p) {
    std::vector<double> m(static_cast<std::size_t>(depth));
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t k = 0; k < depth; ++k)
        m[static_cast<std::size_t>(k)] += (*this)(p, i, k) / static_cast<double>(rows);
    return m;
  }
};

}  // namespace kindling::fuzz
