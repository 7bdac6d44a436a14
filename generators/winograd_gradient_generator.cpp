// Weight and bias gradient of a 2-d convolution with a kernel of 3 x 3 and stride 1 by Winograd's filtering F(3 x 3, 2
// x 2): dW = A'[sum over tiles of (G dz G') (B' d B)]A, dz the 2 x 2 gradients of a tile, d the 4 x 4 pixels they saw.
// Four ninths of the multiply-adds of conv_gradient_generator.cpp.
//
// Blocks of tiles are transformed and multiplied while they are in a core's second cache. Groups of blocks are summed
// on their own and their sums added up in order, so that the number of threads makes no difference.
#include "common/bias_sums.h"
#include "common/winograd.h"

namespace kindling {
namespace {

using namespace Halide;

class WinogradWeightGradient : public Generator<WinogradWeightGradient> {
 public:
  Input<Buffer<float, 3>> x{"x"};     // (channels_in * width, height, batch)
  Input<Buffer<float, 3>> dz{"dz"};   // (channels_out, out_width * out_height, batch)
  Input<int> padding{"padding"};      // at most 2
  Output<Buffer<float, 4>> dw{"dw"};  // (3, 3, channels_in, channels_out)
  Output<Buffer<float, 1>> db{"db"};  // (channels_out)

  void generate() {
    const HardwareFacts facts = hardware_facts(get_target());
    const bool gpu = get_target().has_gpu_feature();
    channels_ = dw.dim(2).extent(), cols_ = dz.dim(0).extent();
    const Expr samples = x.dim(2).extent(), width = x.dim(0).extent() / channels_, height = x.dim(1).extent();
    const Expr out_width = width + 2 * padding - 2, out_height = height + 2 * padding - 2;
    pixels_ = out_width * out_height;
    image_ = {[&](Expr c, Expr i, Expr row, Expr n) { return x(i * channels_ + c, row, n); }, channels_, width, height,
              samples};
    gradient_image_ = {[&](Expr c, Expr i, Expr row, Expr n) { return dz(c, row * out_width + i, n); }, cols_,
                       out_width, out_height, samples};
    tiles_ = WinogradTiles(out_width, out_height, samples);
    // Odd, so that frequencies do not fall on the same lines of a cache.
    block_tiles_ = clamp(block_floats / (channels_ + cols_), 16, 100) | 1;
    blocks_ = pieces(tiles_.count(), block_tiles_);
    group_blocks_ = max(pieces(least_group, block_tiles_), pieces(blocks_, most_groups));
    groups_ = pieces(blocks_, group_blocks_);

    partial_(col_, channel_, frequency_, group_) = 0.0F;
    if (gpu) {
      add("gradient", {facts.gpu_thread_tile_y, facts.gpu_thread_tile_x, 1}, 0, cols_);
    } else {
      for (const ColumnRange& r : column_ranges(facts, cols_)) add("gradient" + r.suffix, r.shape, r.first, r.width);
    }

    const Type total_type = Float(gpu ? 32 : 64);  // not every GPU has double
    group_terms_ = RDom(0, groups_, "group_terms");
    total_(col_, channel_, frequency_) = cast(total_type, 0);
    total_(col_, channel_, frequency_) += cast(total_type, partial_(col_, channel_, frequency_, group_terms_));
    // A' of F(3, 2).
    const auto gathered = [](const std::function<Expr(int)>& m) {
      return std::array<Expr, 3>{m(0) + m(1) + m(2), m(1) - m(2), m(1) + m(2) - m(3)};
    };
    std::array<std::array<Expr, 3>, 4> rows;
    for (int j = 0; j < 4; ++j) rows[j] = gathered([&](int i) { return total_(col_, channel_, 4 * i + j); });
    std::vector<Expr> taps;
    for (int i = 0; i < 3; ++i)
      for (const Expr& tap : gathered([&](int j) { return rows[j][i]; })) taps.push_back(tap);
    taps_(col_, tap_, channel_) = cast<float>(mux(tap_, taps));
    dw(kx_, ky_, channel_, col_) = taps_(col_, ky_ * 3 + kx_, channel_);

    bias_ =
        BiasSums({pixels_, samples, max(pixels_per_group / max(pixels_, 1), 1),
                  [&](const Expr& col, const Expr& pixel, const Expr& n) { return dz(col, pixel, n); }, total_type});
    db(col_) = bias_(col_);
  }

  void schedule() {
    for (int i = 0; i < 3; ++i) {
      x.dim(i).set_min(0);
      dz.dim(i).set_min(0);
    }
    dw.dim(0).set_bounds(0, 3);
    dw.dim(1).set_bounds(0, 3);
    dw.dim(2).set_min(0);
    dw.dim(3).set_bounds(0, dz.dim(0).extent());
    db.dim(0).set_bounds(0, dz.dim(0).extent());
    dz.dim(1).set_bounds(0, pixels_).set_stride(dz.dim(0).extent());
    dz.dim(2).set_extent(x.dim(2).extent());
    x.dim(1).set_stride(x.dim(0).extent());
    taps_.bound_extent(tap_, 9);
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  static constexpr int block_floats = 8192;     // of one frequency of a block, of both operands: 512 KiB in all
  static constexpr int least_group = 256;       // tiles whose products one group adds up
  static constexpr int most_groups = 64;        // since each has 16 sums for 9 weights
  static constexpr int pixels_per_group = 512;  // of the bias gradient, as in conv_gradient_generator.cpp

  struct Region {
    Tile::Shape shape;
    RDom domain;  // columns from the region's first, channels, frequencies, blocks of a group, groups
    RDom depth;   // tiles of a block
    Func place, input, gradient, sum;
    int update = 0;
  };

  void add(const std::string& name, const Tile::Shape& shape, const Expr& first_col, const Expr& width) {
    Region r;
    r.shape = shape;
    r.domain = RDom(0, width, 0, channels_, 0, 16, 0, group_blocks_, 0, select(width > 0, groups_, 0), "at_" + name);
    r.domain.where(r.domain[4] * group_blocks_ + r.domain[3] < blocks_);
    r.depth = RDom(0, block_tiles_, "t_" + name);
    r.place = Func("place_" + name), r.input = Func("input_" + name), r.gradient = Func("gradient_" + name);
    r.sum = Func("sum_" + name);
    // Tiles behind the last one see nothing.
    const Expr tile = block_ * block_tiles_ + tile_, there = tile < tiles_.count();
    const Tuple at = tiles_.place(min(tile, tiles_.count() - 1));
    const Expr beyond = -4;
    r.place(tile_, block_) = Tuple(at[0], select(there, at[1], beyond), at[2]);
    const FuncRef place = r.place(tile_, block_);
    r.input(channel_, tile_, frequency_, block_) = winograd_frequency(
        frequency_, 4,
        [](const auto& d) {
          return winograd_input({d(0), d(1), d(2), d(3)});
        },
        [&](int i, int j) { return image_.pixel(channel_, place[0] - padding + j, place[1] - padding + i, place[2]); });
    r.gradient(col_, tile_, frequency_, block_) = winograd_frequency(
        frequency_, 2,
        [](const auto& g) {  // G of F(3, 2)
          const Expr a = 0.5F * g(0), b = 0.5F * g(1);
          return Four{g(0), a + b, a - b, g(1)};
        },
        [&](int i, int j) { return gradient_image_.pixel(col_, place[0] + j, place[1] + i, place[2]); });
    r.sum(col_in_, row_in_, row_tile_, frequency_, panel_, block_) = 0.0F;
    r.sum(col_in_, row_in_, row_tile_, frequency_, panel_, block_) +=
        r.input(row_tile_ * shape.rows + row_in_, r.depth, frequency_, block_) *
        r.gradient(first_col + panel_ * shape.cols() + col_in_, r.depth, frequency_, block_);
    const RVar col = r.domain[0], row = r.domain[1], frequency = r.domain[2], block = r.domain[3], group = r.domain[4];
    r.update = partial_.num_update_definitions();
    partial_(first_col + col, row, frequency, group) +=
        r.sum(col % shape.cols(), row % shape.rows, row / shape.rows, frequency, col / shape.cols(),
              group * group_blocks_ + block);
    regions_.push_back(r);
  }

  void registers(const Region& r) {
    Func sum = r.sum;
    sum.bound_extent(col_in_, r.shape.cols()).bound_extent(row_in_, r.shape.rows);
    for (const Var& v : {row_tile_, frequency_, panel_, block_}) sum.bound_extent(v, 1);
    sum.reorder(col_in_, row_in_).vectorize(col_in_, r.shape.vector_width).unroll(col_in_).unroll(row_in_);
    sum.update().reorder(col_in_, row_in_, r.depth);
    sum.update().vectorize(col_in_, r.shape.vector_width).unroll(col_in_).unroll(row_in_);
  }

  // Measured against oneDNN's backward convolution by weights.
  void schedule_cpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const int v = facts.vector_width;
    partial_.compute_root().vectorize(col_, v, TailStrategy::GuardWithIf).parallel(group_);
    for (Region& r : regions_) {
      const RVar col("col"), col_in("col_in"), row("row"), row_in("row_in"), block = r.domain[3], group = r.domain[4];
      partial_.update(r.update)
          .split(r.domain[0], col, col_in, r.shape.cols(), TailStrategy::GuardWithIf)
          .split(r.domain[1], row, row_in, r.shape.rows, TailStrategy::GuardWithIf)
          .reorder(col_in, row_in, row, col, r.domain[2], block, group)
          .vectorize(col_in, v)
          .unroll(col_in)
          .unroll(row_in)
          .parallel(group);
      r.sum.compute_at(partial_, row).store_in(MemoryType::Stack);
      registers(r);
      const LoopLevel level(partial_, block);
      r.place.compute_at(level);
      schedule_winograd_operand(r.input, channel_, tile_, frequency_, level, v);
      schedule_winograd_operand(r.gradient, col_, tile_, frequency_, level, v);
    }
    taps_.compute_root()
        .reorder(tap_, col_, channel_)
        .vectorize(col_, v, TailStrategy::GuardWithIf)
        .unroll(tap_)
        .parallel(channel_);
    total_.compute_at(taps_, channel_).vectorize(col_, v, TailStrategy::GuardWithIf);
    total_.update().reorder(col_, group_terms_, frequency_).vectorize(col_, v, TailStrategy::GuardWithIf);
    dw.reorder(kx_, ky_, channel_, col_).parallel(col_);
    bias_.schedule_cpu(db, col_, facts);
  }

  // Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Var block("block"), thread("thread"), blocks("blocks"), threads("threads"), bx("bx"), by("by"), tx("tx"),
        ty("ty"), flat("flat");
    partial_.compute_root()
        .gpu_tile(col_, channel_, bx, by, tx, ty, facts.gpu_block_x, facts.gpu_block_y, TailStrategy::GuardWithIf)
        .fuse(frequency_, group_, flat)
        .gpu_blocks(flat);
    for (Region& r : regions_) {
      const RVar col("col"), col_in("col_in"), row("row"), row_in("row_in"), x("x"), y("y"), each("each");
      partial_.update(r.update)
          .split(r.domain[0], col, col_in, r.shape.cols(), TailStrategy::GuardWithIf)
          .split(r.domain[1], row, row_in, r.shape.rows, TailStrategy::GuardWithIf)
          .split(col, col, x, facts.gpu_block_y, TailStrategy::GuardWithIf)
          .split(row, row, y, facts.gpu_block_y, TailStrategy::GuardWithIf)
          .fuse(r.domain[2], r.domain[4], each)
          .reorder(col_in, row_in, r.domain[3], x, y, col, row, each)
          .unroll(col_in)
          .unroll(row_in)
          .gpu_blocks(col, row, each)
          .gpu_threads(x, y);
      r.sum.compute_at(partial_, r.domain[3]).store_in(MemoryType::Register);
      registers(r);
      schedule_winograd_operand_gpu(r.input, channel_, tile_, frequency_, block_, facts);
      schedule_winograd_operand_gpu(r.gradient, col_, tile_, frequency_, block_, facts);
      load_packed_on_gpu(r.input, r.sum, r.depth, channel_, r.shape.rows, facts);
      load_packed_on_gpu(r.gradient, r.sum, r.depth, col_, r.shape.cols(), facts);
    }
    total_.compute_root()
        .gpu_tile(col_, channel_, bx, by, tx, ty, facts.gpu_block_x, facts.gpu_block_y, TailStrategy::GuardWithIf)
        .gpu_blocks(frequency_);
    total_.update()
        .gpu_tile(col_, channel_, bx, by, tx, ty, facts.gpu_block_x, facts.gpu_block_y, TailStrategy::GuardWithIf)
        .reorder(group_terms_, tx, ty, bx, by, frequency_)
        .gpu_blocks(frequency_);
    taps_.compute_root()
        .gpu_tile(col_, channel_, bx, by, tx, ty, facts.gpu_block_x, facts.gpu_block_y, TailStrategy::GuardWithIf)
        .reorder(tap_, tx, ty, bx, by)
        .unroll(tap_);
    dw.compute_root()
        .gpu_tile(channel_, col_, bx, by, tx, ty, facts.gpu_block_x, facts.gpu_block_y, TailStrategy::GuardWithIf)
        .reorder(kx_, ky_, tx, ty, bx, by);
    bias_.schedule_gpu(db, col_, facts);
  }

  Expr channels_, cols_, pixels_, block_tiles_, blocks_, group_blocks_, groups_;
  WinogradImage image_, gradient_image_;
  WinogradTiles tiles_;
  std::vector<Region> regions_;
  RDom group_terms_;
  BiasSums bias_;
  Func partial_{"partial"}, total_{"total"}, taps_{"taps"};
  Var channel_{"channel"}, col_{"col"}, tile_{"tile"}, frequency_{"frequency"}, block_{"block"}, panel_{"panel"},
      col_in_{"col_in"}, row_in_{"row_in"}, row_tile_{"row_tile"}, group_{"group"}, tap_{"tap"}, kx_{"kx"}, ky_{"ky"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::WinogradWeightGradient, winograd_weight_gradient)
