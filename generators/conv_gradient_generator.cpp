// Weight and bias gradient of a 2-d convolution: a contraction over the pixels of all samples.
#include "common/bias_sums.h"
#include "common/image_contraction.h"

namespace kindling {
namespace {

using namespace Halide;

// dW(o, c, ky, kx) = sum over samples and pixels p of dZ(o, p) X(c, window of p at (kx, ky)), db(o) = sum of dZ(o, p).
// Groups of samples are summed on their own and their sums added up in order, so that the number of threads makes no
// difference.
class ConvWeightGradient : public Generator<ConvWeightGradient> {
 public:
  Input<Buffer<float, 3>> x{"x"};    // (channels_in * width, height, batch)
  Input<Buffer<float, 3>> dz{"dz"};  // (channels_out, out_width * out_height, batch)
  Input<int> stride{"stride"};
  Input<int> padding{"padding"};
  Output<Buffer<float, 4>> dw{"dw"};  // (kernel_width, kernel_height, channels_in, channels_out)
  Output<Buffer<float, 1>> db{"db"};  // (channels_out)

  void generate() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Expr channels = dw.dim(2).extent(), kernel_width = dw.dim(0).extent(), kernel_height = dw.dim(1).extent();
    const Expr width = x.dim(0).extent() / channels, height = x.dim(1).extent();
    const PaddedImage image{[&](Expr i, Expr row, Expr n) { return x(i, row, n); },
                            channels,
                            width,
                            height,
                            x.dim(2).extent(),
                            padding,
                            padding,
                            1,
                            width + 2 * padding,
                            height + 2 * padding};
    const Windows windows{kernel_width,
                          kernel_height,
                          stride,
                          0,
                          0,
                          (image.padded_width - kernel_width) / stride + 1,
                          (image.padded_height - kernel_height) / stride + 1};
    pixels_ = windows.pixels();
    cols_ = dz.dim(0).extent();
    const Expr run = kernel_width * channels;
    const bool gpu = get_target().has_gpu_feature();
    const int tile = gpu ? facts.gpu_thread_tile_y : 1;
    line_terms_ = (run + tile - 1) / tile * tile;
    terms_ = kernel_height * line_terms_;
    samples_per_group_ = max(pixels_per_group / max(pixels_, 1), 1);
    groups_ = (dz.dim(2).extent() + samples_per_group_ - 1) / samples_per_group_;

    partial_(col_, term_, group_) = undef<float>();
    if (gpu) {
      add_on_gpu(facts, image, windows);
    } else {
      base_(pixel_) = windows.base(image, pixel_);
      // Term (ky, kx, c) of a window, as an offset from where the window begins.
      offset_(term_) = term_ / run * image.pitch() + term_ % run;
      for (const ColumnRange& r : column_ranges(facts, cols_))
        add("gradient" + r.suffix, r.shape, r.first, r.width, r.partial, image);
    }
    const Type total_type = Float(gpu ? 32 : 64);  // not every GPU has double
    group_terms_ = RDom(0, groups_, "group_terms");
    total_(col_, term_) = cast(total_type, 0);
    total_(col_, term_) += cast(total_type, partial_(col_, term_, group_terms_));
    dw(kx_, ky_, channel_, col_) = cast<float>(total_(col_, ky_ * line_terms_ + kx_ * channels + channel_));

    bias_ =
        BiasSums({pixels_, dz.dim(2).extent(), samples_per_group_,
                  [&](const Expr& col, const Expr& pixel, const Expr& n) { return dz(col, pixel, n); }, total_type});
    db(col_) = bias_(col_);
  }

  void schedule() {
    for (int i = 0; i < 3; ++i) {
      x.dim(i).set_min(0);
      dz.dim(i).set_min(0);
    }
    for (int i = 0; i < 3; ++i) dw.dim(i).set_min(0);
    dw.dim(3).set_bounds(0, dz.dim(0).extent());
    db.dim(0).set_bounds(0, dz.dim(0).extent());
    dz.dim(1).set_stride(dz.dim(0).extent());
    dz.dim(2).set_extent(x.dim(2).extent());
    x.dim(1).set_stride(x.dim(0).extent());
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Pixels whose products one group adds up: enough that storing the group's sums costs little beside them.
  static constexpr int pixels_per_group = 512;

  struct Region {
    Tile::Shape shape;
    RDom domain;  // x: columns from first_col, y: terms of the window, z: groups
    PaddedCopy padded;
    Func window, gradient, sum;
    RDom pixels;  // x: pixels, y: samples of the group; GPU: x and y: of a row and rows, z: samples
    int update = 0;
    bool partial = false;
  };

  // `partial`: the last panel may hold columns beyond the end.
  void add(const std::string& name, const Tile::Shape& shape, Expr first_col, Expr width, bool partial,
           const PaddedImage& image) {
    Region r;
    r.shape = shape;
    r.partial = partial;
    const Expr samples = dz.dim(2).extent();
    r.domain = RDom(0, width, 0, select(width > 0, terms_, 0), 0, select(width > 0, groups_, 0), "at_" + name);
    r.pixels = RDom(0, pixels_, 0, samples_per_group_, "p_" + name);
    const Expr n = group_ * samples_per_group_ + r.pixels.y;
    r.pixels.where(n < samples);
    const Expr sample = unsafe_promise_clamped(n, 0, samples - 1);
    r.padded = PaddedCopy(name, image, false);
    r.window = Func("window_" + name);
    r.gradient = Func("gradient_" + name);
    r.sum = Func("sum_" + name);
    const Expr term = min(likely(row_tile_ * shape.rows + row_in_), terms_ - 1);
    r.window(row_in_, pixel_, row_tile_, sample_) = r.padded(base_(pixel_) + offset_(term), sample_);
    Expr col = first_col + panel_ * shape.cols() + col_in_;
    if (partial) col = min(col, cols_ - 1);  // repeats the last column; not stored
    r.gradient(col_in_, pixel_, panel_, sample_) = dz(col, pixel_, sample_);
    r.sum(col_in_, row_in_, panel_, row_tile_, group_) = 0.0F;
    r.sum(col_in_, row_in_, panel_, row_tile_, group_) +=
        r.window(row_in_, r.pixels.x, row_tile_, sample) * r.gradient(col_in_, r.pixels.x, panel_, sample);
    store(r, first_col);
  }

  // One thread owns a small tile. Rows of the window are whole tiles of terms, which lie side by side, so that one
  // address serves them all; dZ is packed. The last group's missing samples are zeros in both.
  void add_on_gpu(const HardwareFacts& facts, const PaddedImage& image, const Windows& windows) {
    const int rows = facts.gpu_thread_tile_y, cols = facts.gpu_thread_tile_x;
    const Expr samples = dz.dim(2).extent(), tiles = line_terms_ / rows;
    Region r;
    r.shape = {rows, cols, 1};
    r.domain = RDom(0, cols_, 0, terms_, 0, groups_, "at_gradient");
    r.pixels = RDom(0, windows.width, 0, windows.height, 0, samples_per_group_, "p_gradient");
    r.padded = PaddedCopy("gradient", image, true, rows - 1);
    r.window = Func("window");
    r.gradient = Func("gradient");
    r.sum = Func("sum");
    const Expr line = pixel_y_ * windows.step + row_tile_ / tiles;
    const Expr first = line * image.pitch() + pixel_ * windows.step * image.channels + row_tile_ % tiles * rows;
    r.window(row_in_, pixel_, pixel_y_, row_tile_, sample_) = r.padded(first + row_in_, sample_);
    const Expr col = min(panel_ * cols + col_in_, cols_ - 1);  // repeats the last column; not stored
    r.gradient(col_in_, pixel_, pixel_y_, panel_, sample_) =
        select(sample_ < samples, dz(col, pixel_y_ * windows.width + pixel_, min(sample_, samples - 1)), 0.0F);
    const Expr sample = group_ * samples_per_group_ + r.pixels.z;
    r.sum(col_in_, row_in_, panel_, row_tile_, group_) = 0.0F;
    r.sum(col_in_, row_in_, panel_, row_tile_, group_) += r.window(row_in_, r.pixels.x, r.pixels.y, row_tile_, sample) *
                                                          r.gradient(col_in_, r.pixels.x, r.pixels.y, panel_, sample);
    store(r, 0);
  }

  // The sums of a region, tile by tile.
  void store(Region& r, const Expr& first_col) {
    r.update = partial_.num_update_definitions();
    partial_(first_col + r.domain.x, r.domain.y, r.domain.z) =
        r.sum(r.domain.x % r.shape.cols(), r.domain.y % r.shape.rows, r.domain.x / r.shape.cols(),
              max(r.domain.y / r.shape.rows, 0), r.domain.z);
    regions_.push_back(r);
  }

  void schedule_registers(const Region& r, Func f) {
    f.bound_extent(col_in_, r.shape.cols()).bound_extent(row_in_, r.shape.rows).bound_extent(panel_, 1);
    f.bound_extent(row_tile_, 1).bound_extent(group_, 1);
    f.reorder(col_in_, row_in_).vectorize(col_in_, r.shape.vector_width).unroll(col_in_).unroll(row_in_);
  }

  // Measured against oneDNN's backward convolution by weights, and this core's multiply-add peak.
  void schedule_cpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const int v = facts.vector_width;
    base_.compute_root();
    offset_.compute_root();
    partial_.compute_root();
    for (Region& r : regions_) {
      const RVar col("col"), col_in("col_in"), row("row"), row_in("row_in");
      partial_.update(r.update)
          .split(r.domain.x, col, col_in, r.shape.cols(), TailStrategy::GuardWithIf)
          .split(r.domain.y, row, row_in, r.shape.rows, TailStrategy::GuardWithIf)
          .reorder(col_in, row_in, row, col, r.domain.z)
          .vectorize(col_in, r.shape.vector_width)
          .unroll(col_in)
          .unroll(row_in)
          .parallel(col)
          .parallel(r.domain.z);
      r.padded.compute_at(LoopLevel(partial_, r.domain.z), facts);
      r.sum.compute_at(LoopLevel(partial_, row)).store_in(MemoryType::Stack);
      schedule_registers(r, r.sum);
      r.sum.update()
          .reorder(col_in_, row_in_, r.pixels.x, r.pixels.y)
          .vectorize(col_in_, r.shape.vector_width)
          .unroll(col_in_)
          .unroll(row_in_);
      if (r.partial) {
        r.gradient.compute_at(LoopLevel(partial_, r.domain.z)).bound_extent(col_in_, r.shape.cols());
        r.gradient.vectorize(col_in_, v);
      }
    }
    dw.compute_root().reorder(col_, kx_, ky_, channel_).parallel(channel_);
    total_.compute_root().vectorize(col_, v, TailStrategy::GuardWithIf).parallel(term_);
    total_.update().reorder(col_, group_terms_, term_).vectorize(col_, v, TailStrategy::GuardWithIf).parallel(term_);

    bias_.schedule_cpu(db, col_, facts);
  }

  // Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Var block("block"), thread("thread"), blocks("blocks"), threads("threads"), flat("flat");
    for (Region& r : regions_) {
      const RVar col("col"), col_in("col_in"), row("row"), row_in("row_in"), tx("tx"), ty("ty");
      partial_.compute_root();
      partial_.update(r.update)
          .split(r.domain.x, col, col_in, r.shape.cols(), TailStrategy::GuardWithIf)
          .split(r.domain.y, row, row_in, r.shape.rows, TailStrategy::GuardWithIf)
          .split(col, col, tx, facts.gpu_threads / (facts.gpu_block_y * facts.gpu_block_y), TailStrategy::GuardWithIf)
          .split(row, row, ty, facts.gpu_block_y, TailStrategy::GuardWithIf)
          .reorder(col_in, row_in, tx, ty, r.domain.z, row, col)
          .unroll(col_in)
          .unroll(row_in)
          .gpu_blocks(r.domain.z, row, col)
          .gpu_threads(tx, ty);
      r.padded.compute_on_gpu(facts);
      r.sum.compute_at(LoopLevel(partial_, tx)).store_in(MemoryType::Register);
      schedule_registers(r, r.sum);
      r.sum.update().reorder(col_in_, row_in_, r.pixels.x, r.pixels.y, r.pixels.z).unroll(col_in_).unroll(row_in_);
      r.window.compute_at(r.sum, r.pixels.x).store_in(MemoryType::Register);
      r.window.bound_extent(row_in_, r.shape.rows).unroll(row_in_);
      load_packed_on_gpu(r.gradient, r.sum, r.pixels.x, col_in_, r.shape.cols(), facts);
      r.gradient.compute_root().bound_extent(col_in_, r.shape.cols());
      r.gradient.vectorize(col_in_, facts.gpu_vector_width).unroll(col_in_);
      r.gradient.fuse(pixel_, pixel_y_, flat).fuse(flat, sample_, flat);
      r.gradient.gpu_tile(flat, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf).gpu_blocks(panel_);
    }
    dw.compute_root().gpu_tile(channel_, col_, block, blocks, thread, threads, facts.gpu_block_x, facts.gpu_block_y,
                               TailStrategy::GuardWithIf);
    dw.reorder(kx_, ky_, thread, threads, block, blocks);
    total_.compute_root().gpu_tile(col_, term_, block, blocks, thread, threads, facts.gpu_block_x, facts.gpu_block_y,
                                   TailStrategy::GuardWithIf);
    total_.update()
        .gpu_tile(col_, term_, block, blocks, thread, threads, facts.gpu_block_x, facts.gpu_block_y,
                  TailStrategy::GuardWithIf)
        .reorder(group_terms_, thread, threads, block, blocks);
    bias_.schedule_gpu(db, col_, facts);
  }

  Expr pixels_, cols_, terms_, line_terms_, samples_per_group_, groups_;
  std::vector<Region> regions_;
  RDom group_terms_;
  BiasSums bias_;
  Func base_{"base"}, offset_{"offset"}, partial_{"partial"}, total_{"total"};
  Var pixel_{"pixel"}, term_{"term"}, col_{"col"}, group_{"group"}, kx_{"kx"}, ky_{"ky"}, channel_{"channel"},
      pixel_y_{"pixel_y"}, col_in_{"col_in"}, row_in_{"row_in"}, panel_{"panel"}, row_tile_{"row_tile"},
      sample_{"sample"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::ConvWeightGradient, conv2d_weight_gradient)
