// Cache lines fetched ahead, a few in every step of a loop that needs the memory little. Halide's own directive does
// this for inputs and stored Funcs, but knows no output that an update reads back.
#pragma once

#include <vector>

#include "Halide.h"

namespace kindling {

/// Where a tile of `rows` x `cols` elements begins in arrays that lie contiguous along their columns.
struct PrefetchedTile {
  std::vector<Halide::OutputImageParam> arrays;
  Halide::Expr first_col, first_row;
  int rows = 1, cols = 1;

  static constexpr int line = 64 / sizeof(float);
  [[nodiscard]] int lines() const { return (cols + line - 1) / line + 1; }  // of a row, which need not begin with one
  /// Steps in which all lines have been named.
  [[nodiscard]] int steps() const { return rows * lines(); }
};

/// `value`, the element of operand A for row `row_in` of the tile, in step `k` < steps() of its sum. On the way the
/// step of row i fetches a line of array i.
inline Halide::Expr fetching(Halide::Expr value, const PrefetchedTile& tile, const Halide::Expr& k,
                             const Halide::Expr& row_in) {
  using namespace Halide;
  using Internal::Call;
  const Expr row = tile.first_row + k / tile.lines();
  const Expr col = tile.first_col + min(k % tile.lines() * PrefetchedTile::line, tile.cols - 1);
  for (int i = 0; i < static_cast<int>(tile.arrays.size()); ++i) {
    const OutputImageParam& array = tile.arrays[i];
    const Expr base = Internal::Variable::make(Handle(), array.name(), array.parameter());
    const Expr offset = (col - array.dim(0).min()) + (row - array.dim(1).min()) * array.dim(1).stride();
    const Expr fetch = Call::make(Float(32), Call::prefetch, {base, offset, Expr(1), Expr(1)}, Call::Intrinsic);
    value =
        select(row_in == i, Call::make(value.type(), Call::return_second, {fetch, value}, Call::PureIntrinsic), value);
  }
  return value;
}

}  // namespace kindling
