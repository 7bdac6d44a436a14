// Convolutions with kernels of 3 x 3 and stride 1 by Winograd's minimal filtering F(2 x 2, 3 x 3): Y = A'[(G g G') (B'
// d B)]A for tiles of 2 x 2 pixels, d the 4 x 4 pixels they see and g the kernel. (Lavin and Gray, Fast algorithms for
// convolutional neural networks, equations 8 to 11.) The products of channels are 16 contractions with 4/9 of the
// multiply-adds.
//
// A block of tiles at a time is transformed, multiplied by one panel of transformed weights after the other and
// transformed back while all of it is in a core's second cache.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tile.h"
#include "winograd_operands.h"

namespace kindling {

class WinogradContraction {
 public:
  using Weight = std::function<Halide::Expr(Halide::Expr channel, Halide::Expr kx, Halide::Expr ky, Halide::Expr col)>;
  /// What to store at (col, pixel, sample), given the sum.
  using Epilogue =
      std::function<Halide::Expr(Halide::Expr sum, Halide::Expr col, Halide::Expr pixel, Halide::Expr sample)>;

  WinogradContraction() = default;
  WinogradContraction(const std::string& name, const HardwareFacts& facts, bool gpu, const WinogradImage& image,
                      const Halide::Expr& padding, const Halide::Expr& cols, const Weight& weight)
      : facts_(facts),
        image_(image),
        padding_(padding),
        cols_(cols),
        width_(image.width + 2 * padding - 2),
        height_(image.height + 2 * padding - 2),
        tiles_(width_, height_, image.samples) {
    using namespace Halide;
    if (gpu) {
      const int width = facts.gpu_thread_tile_x;
      add(name, {facts.gpu_thread_tile_y, width, 1}, 0, cols, weight, true);
      return;
    }
    for (const ColumnRange& r : column_ranges(facts, cols)) add(name + r.suffix, r.shape, r.first, r.width, weight);
  }

  /// Adds the updates f(col, pixel, sample) = epilogue(...) that cover the whole result.
  void store(Halide::Func f, const Epilogue& epilogue) {
    using namespace Halide;
    target_ = f;
    for (Region& r : regions_) {
      r.update = f.num_update_definitions();
      const Expr tile = r.domain.w * r.tiles + r.domain.z;
      const FuncRef place = r.place(r.domain.z, r.domain.w);
      const Expr x = place[0] + r.domain.y % 2, y = place[1] + r.domain.y / 2;
      r.domain.where(x < width_ && y < height_ && tile < tiles_.count());
      const Expr col = r.first_col + r.domain.x, sample = unsafe_promise_clamped(place[2], 0, image_.samples - 1);
      const Expr pixel = unsafe_promise_clamped(y * width_ + x, 0, width_ * height_ - 1);
      const Expr sum =
          r.pixels(r.domain.x % r.shape.cols(), r.domain.y, r.domain.z, r.domain.x / r.shape.cols(), r.domain.w);
      f(col, pixel, sample) = epilogue(sum, col, pixel, sample);
    }
  }

  /// Of the result.
  [[nodiscard]] Halide::Expr pixels() const { return width_ * height_; }

  void schedule_cpu() {
    using namespace Halide;
    for (Region& r : regions_) {
      const RVar col("col"), col_in("col_in");
      const int v = r.shape.vector_width, cols = r.shape.cols();
      // Every pixel is stored once, so that there is no race; but the proof would need the extents.
      target_.update(r.update)
          .allow_race_conditions()
          .split(r.domain.x, col, col_in, cols, TailStrategy::GuardWithIf)
          .reorder(col_in, r.domain.y, r.domain.z, col, r.domain.w)
          .vectorize(col_in, v)
          .unroll(col_in)
          .unroll(r.domain.y)
          .parallel(r.domain.w);
      r.place.compute_at(target_, r.domain.w);
      schedule_winograd_operand(r.input, channel_, tile_, frequency_, LoopLevel(target_, r.domain.w), v);
      r.product.compute_at(target_, col)
          .reorder(col_in_, row_in_, row_tile_, frequency_)
          .reorder_storage(col_in_, row_in_, row_tile_, frequency_)
          .bound_extent(frequency_, 16)
          .vectorize(col_in_, v)
          .unroll(col_in_)
          .unroll(row_in_);
      registers(r, r.product);
      registers(r, r.sum);
      r.sum.compute_at(r.product, row_tile_)
          .store_in(MemoryType::Stack)
          .vectorize(col_in_, v)
          .unroll(col_in_)
          .unroll(row_in_);
      r.sum.update().reorder(col_in_, row_in_, r.depth).vectorize(col_in_, v).unroll(col_in_).unroll(row_in_);
      r.pixels.compute_at(target_, r.domain.z)
          .store_in(MemoryType::Stack)
          .bound_extent(col_in_, cols)
          .bound_extent(quarter_, 4)
          .reorder(quarter_, col_in_)
          .vectorize(col_in_, v)
          .unroll(quarter_);
      r.kernel.compute_root()
          .reorder(col_in_, frequency_, channel_, panel_)
          .reorder_storage(col_in_, channel_, frequency_, panel_)
          .bound_extent(col_in_, cols)
          .bound_extent(frequency_, 16)
          .vectorize(col_in_, v)
          .unroll(frequency_)
          .parallel(panel_);
    }
  }

  /// All transformed operands and products in memory, a small tile of products in the registers of a thread.
  void schedule_gpu() {
    using namespace Halide;
    const int block = facts_.gpu_block_y;
    for (Region& r : regions_) {
      const RVar col("col"), col_in("col_in"), x("x"), tile("tile"), y("y");
      target_.update(r.update)
          .allow_race_conditions()
          .split(r.domain.x, col, col_in, r.shape.cols(), TailStrategy::GuardWithIf)
          .split(col, col, x, block, TailStrategy::GuardWithIf)
          .split(r.domain.z, tile, y, block, TailStrategy::GuardWithIf)
          .reorder(col_in, r.domain.y, x, y, col, tile, r.domain.w)
          .unroll(col_in)
          .unroll(r.domain.y)
          .gpu_blocks(col, tile, r.domain.w)
          .gpu_threads(x, y);
      r.pixels.compute_at(target_, x).store_in(MemoryType::Register).bound_extent(col_in_, r.shape.cols());
      r.pixels.bound_extent(quarter_, 4).unroll(quarter_).unroll(col_in_);
      schedule_winograd_operand_gpu(r.input, channel_, tile_, frequency_, block_, facts_);
      schedule_winograd_operand_gpu(r.kernel, col_in_, channel_, frequency_, panel_, facts_);
      r.kernel.bound_extent(col_in_, r.shape.cols());
      registers(r, r.product);
      registers(r, r.sum);
      const Var panel_block("panel_block"), tile_block("tile_block"), px("px"), py("py"), each("each");
      r.product.compute_root()
          .bound_extent(frequency_, 16)
          .gpu_tile(panel_, row_tile_, panel_block, tile_block, px, py, block, block, TailStrategy::GuardWithIf)
          .fuse(frequency_, block_, each)
          .reorder(col_in_, row_in_, px, py, panel_block, tile_block, each)
          .gpu_blocks(each)
          .unroll(col_in_)
          .unroll(row_in_);
      r.sum.compute_at(r.product, px).store_in(MemoryType::Register).unroll(col_in_).unroll(row_in_);
      r.sum.update().reorder(col_in_, row_in_, r.depth).unroll(col_in_).unroll(row_in_);
      // Tiles of a product lie side by side, as columns do.
      r.input.reorder_storage(tile_, channel_, frequency_, block_);
      load_packed_on_gpu(r.input, r.sum, r.depth, tile_, r.shape.rows, facts_);
      load_packed_on_gpu(r.kernel, r.sum, r.depth, col_in_, r.shape.cols(), facts_);
    }
  }

 private:
  struct Region {
    Tile::Shape shape;
    int tiles = 0;  // of a block
    Halide::Expr first_col;
    Halide::RDom domain;  // x: columns from first_col, y: quarters of a tile, z: tiles of a block, w: blocks
    Halide::RDom depth;
    Halide::Func place, input, kernel, sum, product, pixels;
    int update = 0;
  };

  void add(const std::string& name, const Tile::Shape& shape, const Halide::Expr& first_col, const Halide::Expr& width,
           const Weight& weight, bool gpu = false) {
    using namespace Halide;
    Region r;
    r.shape = shape;
    r.tiles = (gpu ? facts_.gpu_block_y : std::max(1, cpu_block_tiles / shape.rows)) * shape.rows;
    r.first_col = first_col;
    const Expr blocks = select(width > 0, pieces(tiles_.count(), r.tiles), 0);
    r.domain = RDom(0, width, 0, 4, 0, r.tiles, 0, blocks, "at_" + name);
    r.depth = RDom(0, image_.channels, "c_" + name);
    for (auto [f, part] : {std::pair{&r.place, "place_"},
                           {&r.input, "input_"},
                           {&r.kernel, "kernel_"},
                           {&r.sum, "sum_"},
                           {&r.product, "product_"},
                           {&r.pixels, "pixels_"}})
      *f = Func(part + name);

    r.place(tile_, block_) = tiles_.place(min(block_ * r.tiles + tile_, tiles_.count() - 1));
    const FuncRef place = r.place(tile_, block_);
    r.input(channel_, tile_, frequency_, block_) = winograd_frequency(
        frequency_, 4,
        [](const auto& d) {
          return winograd_input({d(0), d(1), d(2), d(3)});
        },
        [&](int i, int j) {
          return image_.pixel(channel_, place[0] - padding_ + j, place[1] - padding_ + i, place[2]);
        });

    const Expr col =
        unsafe_promise_clamped(min(likely(first_col + panel_ * shape.cols() + col_in_), cols_ - 1), 0, cols_ - 1);
    r.kernel(col_in_, channel_, frequency_, panel_) = winograd_frequency(
        frequency_, 3, [](const auto& g) { return winograd_kernel(g(0), g(1), g(2)); },
        [&](int i, int j) { return weight(channel_, j, i, col); });

    r.sum(col_in_, row_in_, row_tile_, frequency_, panel_, block_) = 0.0F;
    r.sum(col_in_, row_in_, row_tile_, frequency_, panel_, block_) +=
        r.input(r.depth, row_tile_ * shape.rows + row_in_, frequency_, block_) *
        r.kernel(col_in_, r.depth, frequency_, panel_);
    r.product(col_in_, row_in_, row_tile_, frequency_, panel_, block_) =
        r.sum(col_in_, row_in_, row_tile_, frequency_, panel_, block_);

    std::array<std::array<Expr, 2>, 4> rows;
    for (int j = 0; j < 4; ++j) {
      const auto m = [&](int i) {
        return r.product(col_in_, tile_ % shape.rows, tile_ / shape.rows, 4 * i + j, panel_, block_);
      };
      rows[j] = winograd_output({m(0), m(1), m(2), m(3)});
    }
    std::vector<Expr> quarters;
    for (int i = 0; i < 2; ++i)
      for (const Expr& pixel_of : winograd_output({rows[0][i], rows[1][i], rows[2][i], rows[3][i]}))
        quarters.push_back(pixel_of);
    r.pixels(col_in_, quarter_, tile_, panel_, block_) = mux(quarter_, quarters);
    regions_.push_back(r);
  }

  void registers(const Region& r, Halide::Func f) {
    f.bound_extent(col_in_, r.shape.cols()).bound_extent(row_in_, r.shape.rows);
  }

  // Enough that a panel's weights are read once for several tiles of rows; of 192 channels half a MiB.
  static constexpr int cpu_block_tiles = 40;

  HardwareFacts facts_;
  WinogradImage image_;
  Halide::Expr padding_, cols_, width_, height_;
  WinogradTiles tiles_;
  Halide::Func target_;
  std::vector<Region> regions_;
  Halide::Var channel_{"channel"}, tile_{"tile"}, frequency_{"frequency"}, block_{"block"}, panel_{"panel"},
      col_in_{"col_in"}, row_in_{"row_in"}, row_tile_{"row_tile"}, quarter_{"quarter"};
};

}  // namespace kindling
