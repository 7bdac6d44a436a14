// Pairs (row x_i, column y_j) of one or many independent problems: tiles of squared distances in registers, and the two
// reductions over columns that the Gaussian kernel's sums and gradients need. The rows x columns matrix of a problem is
// never stored.
//
// Dimensions: (column in panel, row in tile, panel of columns, tile of rows, problem).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "Halide.h"
#include "hardware.h"
#include "polynomials.h"

namespace kindling {

/// 2^t for t <= 0: exactly 1 at 0, relative error at most 1.8e-7 down to 2^-126; below, off by less than 2^-126, and
/// exactly 0 for t <= -127. A NaN may be lost in the clamp: callers see to it that there is none.
inline Halide::Expr exp2_nonpositive(const Halide::Expr& t) {
  using namespace Halide;
  using Internal::Call;
  Expr x = max(t, -127.0F);
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits. Strict, or it is folded away.
  Expr shifted = Call::make(x.type(), Call::strict_add, {x, 12582912.0F}, Call::PureIntrinsic);
  Expr f = x - Call::make(x.type(), Call::strict_sub, {shifted, 12582912.0F}, Call::PureIntrinsic);
  Expr p = horner(f, {1.32647e-3F, 9.67151e-3F, 5.550734e-2F, 0.24022242F, 0.693147F, 1.0F});
  return reinterpret<float>(reinterpret<int32_t>(p) + (reinterpret<int32_t>(shifted) << 23));
}

/// A tile of squared distances |x_i - y_j|^2.
class PairTile {
 public:
  /// Coordinate k of row or column `index` of a problem.
  using Element = std::function<Halide::Expr(Halide::Expr k, Halide::Expr index, Halide::Expr problem)>;

  enum class Form {
    difference,  ///< sum of squared differences: relative error (d + 2) eps
    contraction  ///< |x|^2 + |y|^2 - 2 x.y about `centre`: half the operations, error of the size eps (|x|^2 + |y|^2)
  };
  struct Operands {
    Halide::Expr depth, rows, cols;
    Element x, y;         ///< x may be empty for Form::difference: rows are the columns again
    Halide::Func centre;  ///< (k, problem), a point near the columns; for Form::contraction and centred()
  };

  /// Square distance of the columns that fill up the last panel: their kernel values are 0.
  static constexpr float far_away = 3e38F;

  PairTile() = default;
  PairTile(const std::string& name, const HardwareFacts& facts, bool gpu, Form form, const Operands& o)
      : gpu_(gpu), form_(form), cols_(o.cols), centre_(o.centre), k_(0, o.depth, "k_" + name) {
    using namespace Halide;
    // A difference needs a register of its own before it is squared.
    row_count_ = gpu ? 1 : form == Form::difference ? facts.tile_rows * 2 / 3 : facts.tile_rows;
    width_ = gpu ? 1 : facts.vector_width;
    vectors_ = gpu ? facts.gpu_thread_tile_x : facts.tile_vectors;
    if (!o.x && !gpu) {
      // Square, so that little of a tile lies on the wrong side of the diagonal; rows end where panels do.
      row_count_ = width_;
      vectors_ = width_ < 8 ? 2 : 1;
    }
    const auto centre = [&](const Expr& k) { return form == Form::contraction ? o.centre(k, problem) : Expr(0.0F); };

    packed_ = Func("columns_" + name);
    rows_ = Func("rows_" + name);
    bias_ = Func("bias_" + name);
    norm_ = Func("norm_" + name);
    squared_ = Func("squared_" + name);
    const Expr column = panel * columns() + col_in;
    const auto packed = [&](const Expr& k, const Expr& j) {
      const Expr y = o.y(k, j, problem);
      return form == Form::difference ? y : -2.0F * (y - centre(k));
    };
    if (gpu) {
      packed_(col_in, depth_, panel, problem) = packed(depth_, min(column, o.cols - 1));
    } else {
      r_packed_ = RDom(0, o.depth, 0, columns(), "packed_" + name);
      const Expr j = panel * columns() + r_packed_.y;
      r_packed_.where(j < o.cols);
      packed_(col_in, depth_, panel, problem) = 0.0F;
      packed_(r_packed_.y, r_packed_.x, panel, problem) = packed(r_packed_.x, min(likely(j), o.cols - 1));
    }
    const int tiles = columns() / row_count_;  // of rows, in a panel
    const Expr x = o.x ? o.x(depth_, min(likely(row_tile * row_count_ + row_in), o.rows - 1), problem)
                       : packed_(row_tile % tiles * row_count_ + row_in, depth_, row_tile / tiles, problem);
    const Expr padding = select(likely(column < o.cols), 0.0F, far_away);
    if (form == Form::difference) {
      rows_(row_in, depth_, row_tile, problem) = x;
      bias_(col_in, panel, problem) = padding;
      squared_(col_in, row_in, panel, row_tile, problem) = bias_(col_in, panel, problem);
      const Expr difference = rows_(row_in, k_, row_tile, problem) - packed_(col_in, k_, panel, problem);
      squared_(col_in, row_in, panel, row_tile, problem) += difference * difference;
    } else {
      rows_(row_in, depth_, row_tile, problem) = x - centre(depth_);
      const Expr along_y = packed_(col_in, k_, panel, problem), along_x = rows_(row_in, k_, row_tile, problem);
      bias_(col_in, panel, problem) = padding;
      bias_(col_in, panel, problem) += 0.25F * along_y * along_y;
      norm_(row_in, row_tile, problem) += along_x * along_x;
      squared_(col_in, row_in, panel, row_tile, problem) =
          bias_(col_in, panel, problem) + norm_(row_in, row_tile, problem);
      squared_(col_in, row_in, panel, row_tile, problem) += along_x * along_y;
    }
  }

  [[nodiscard]] int rows() const { return row_count_; }
  [[nodiscard]] int vectors() const { return vectors_; }
  [[nodiscard]] int width() const { return width_; }
  [[nodiscard]] int columns() const { return vectors_ * width_; }
  [[nodiscard]] Halide::Expr panels() const { return (cols_ + columns() - 1) / columns(); }

  /// |x_i - y_j|^2 in tile coordinates. The contraction may come out below zero by its rounding error.
  Halide::Expr operator()(const Halide::Expr& col, const Halide::Expr& row, const Halide::Expr& at_panel,
                          const Halide::Expr& tile, const Halide::Expr& at_problem) {
    return squared_(col, row, at_panel, tile, at_problem);
  }

  /// Coordinate k of a column less the centre's, from the packed columns.
  Halide::Expr centred(const Halide::Expr& col, const Halide::Expr& k, const Halide::Expr& at_panel,
                       const Halide::Expr& at_problem) {
    const Halide::Expr y = packed_(col, k, at_panel, at_problem);
    return form_ == Form::difference ? y - centre_(k, at_problem) : -0.5F * y;
  }

  /// CPU: a tile in registers at `tile`, the columns packed at `columns`, rows (contraction) at `rows`.
  void schedule_cpu(const Halide::LoopLevel& tile, const Halide::LoopLevel& at_rows,
                    const Halide::LoopLevel& at_columns) {
    using namespace Halide;
    registers(squared_.compute_at(tile).store_in(MemoryType::Stack));
    squared_.update().reorder(col_in, row_in, k_).vectorize(col_in, width_).unroll(col_in).unroll(row_in);
    packed_.compute_at(at_columns).bound_extent(col_in, columns());
    packed_.vectorize(col_in, width_).unroll(col_in);
    // Columns are as short as a problem has coordinates: one after the other, read in their order.
    packed_.update().reorder(r_packed_.x, r_packed_.y, panel).parallel(panel);
    bias_.compute_at(at_columns).bound_extent(col_in, columns()).vectorize(col_in, width_).unroll(col_in);
    if (form_ == Form::contraction) {
      bias_.update().reorder(col_in, k_, panel).vectorize(col_in, width_).unroll(col_in).parallel(panel);
      rows_.compute_at(at_rows).bound_extent(row_in, row_count_).reorder(row_in, depth_, row_tile).unroll(row_in);
      norm_.compute_at(at_rows).bound_extent(row_in, row_count_).unroll(row_in);
      norm_.update().reorder(row_in, k_, row_tile).unroll(row_in);
    }
  }

  /// GPU: in the registers of each thread.
  void schedule_gpu(const Halide::LoopLevel& tile, const Halide::LoopLevel& thread) {
    using namespace Halide;
    registers(squared_.compute_at(tile).store_in(MemoryType::Register));
    squared_.update().reorder(col_in, row_in, k_).unroll(col_in).unroll(row_in);
    if (form_ == Form::contraction) {
      const Var block("block"), lane("lane");
      bias_.compute_at(tile).store_in(MemoryType::Register).bound_extent(col_in, columns()).unroll(col_in);
      bias_.update().reorder(col_in, k_).unroll(col_in);
      norm_.compute_at(thread).store_in(MemoryType::Register);
    }
  }

  Halide::Var col_in{"col_in"}, row_in{"row_in"}, panel{"panel"}, row_tile{"row_tile"}, problem{"problem"};

 private:
  void registers(Halide::Func& f) {
    f.bound_extent(col_in, columns()).bound_extent(row_in, row_count_).reorder(col_in, row_in);
    f.vectorize(col_in, width_).unroll(col_in).unroll(row_in);
  }

  bool gpu_ = false;
  Form form_ = Form::difference;
  int row_count_ = 1, vectors_ = 1, width_ = 1;
  Halide::Expr cols_;
  Halide::Func centre_;
  Halide::RDom k_, r_packed_;
  Halide::Func packed_, rows_, bias_, norm_, squared_;
  Halide::Var depth_{"depth"};
};

}  // namespace kindling
