// Layouts of images: a sample as a matrix transposed (planar to channels-last and back), and the receptive fields of a
// convolution as rows.
#include "common/hardware.h"

namespace kindling {
namespace {

using namespace Halide;

// y(i, j) = x(j, i) in every sample.
class TransposeSamples : public Generator<TransposeSamples> {
 public:
  Input<Buffer<float, 3>> x{"x"};   // (j, i, samples)
  Output<Buffer<float, 3>> y{"y"};  // (i, j, samples)

  void generate() {
    source_(j_, i_, n_) = x(min(likely(j_), x.dim(0).extent() - 1), min(likely(i_), x.dim(1).extent() - 1), n_);
    y(i_, j_, n_) = source_(j_, i_, n_);
  }

  void schedule() {
    for (int d = 0; d < 3; ++d) x.dim(d).set_min(0);
    y.dim(0).set_bounds(0, x.dim(1).extent());
    y.dim(1).set_bounds(0, x.dim(0).extent());
    y.dim(2).set_bounds(0, x.dim(2).extent());
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Squares of four by four: dense loads, shuffles in registers, dense stores. Measured against memcpy of the same
  // bytes.
  void schedule_cpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Var task("task"), sample("sample"), column("column"), line("line"), i_in("i_in"), j_in("j_in");
    const Expr features = x.dim(0).extent() * x.dim(1).extent();
    y.split(n_, task, sample, max(1, facts.parallel_grain / max(features, 1)), TailStrategy::GuardWithIf)
        .parallel(task);
    y.split(i_, column, i_in, 4, TailStrategy::GuardWithIf)
        .split(j_, line, j_in, 4, TailStrategy::GuardWithIf)
        .reorder(i_in, j_in, line, column, sample, task)
        .vectorize(i_in)
        .unroll(j_in);
    source_.compute_at(Func(y), line).store_in(MemoryType::Stack).bound_extent(j_, 4).bound_extent(i_, 4);
    if (facts.transpose_stride > 4) source_.bound_storage(j_, facts.transpose_stride);
    source_.vectorize(j_).unroll(i_);
  }

  // A thread per element; reads along a column. Measured by registers under ptxas.
  void schedule_gpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const Var column("column"), line("line"), i_in("i_in"), j_in("j_in");
    y.gpu_tile(i_, j_, column, line, i_in, j_in, facts.gpu_block_x, facts.gpu_block_y, TailStrategy::GuardWithIf);
  }

  Var i_{"i"}, j_{"j"}, n_{"n"};
  Func source_{"source"};
};

// Row (w, h, n) holds what the output pixel (w, h) of sample n sees: channel by channel, row by row of its window, as
// the weights of a convolution lie; zeros where the window reaches into the padding.
class Patches : public Generator<Patches> {
 public:
  Input<Buffer<float, 4>> x{"x"};  // (channels, width, height, samples)
  Input<int32_t> stride{"stride"}, padding{"padding"}, out_width{"out_width"}, out_height{"out_height"};
  // (kernel_width, kernel_height, channels, out_width * out_height * samples)
  Output<Buffer<float, 4>> patches{"patches"};

  void generate() {
    const Expr width = x.dim(1).extent(), height = x.dim(2).extent();
    const Expr w = row_ % out_width, h = row_ / out_width % out_height, n = row_ / (out_width * out_height);
    const Expr col = w * stride - padding + kw_, line = h * stride - padding + kh_;
    const Expr inside = col >= 0 && col < width && line >= 0 && line < height;
    patches(kw_, kh_, c_, row_) = select(
        inside, x(c_, clamp(col, 0, width - 1), clamp(line, 0, height - 1), clamp(n, 0, x.dim(3).extent() - 1)), 0.0F);
  }

  void schedule() {
    for (int d = 0; d < 4; ++d) x.dim(d).set_min(0);
    for (int d = 0; d < 4; ++d) patches.dim(d).set_min(0);
    patches.dim(2).set_bounds(0, x.dim(0).extent());
    const HardwareFacts facts = hardware_facts(get_target());
    const Var task("task"), in("in"), line("line"), thread("thread"), lane("lane"), block("block"), pixel("pixel");
    if (get_target().has_gpu_feature()) {
      // A thread per channel of a patch. Measured by registers under ptxas.
      patches.split(c_, block, lane, facts.gpu_block_x, TailStrategy::GuardWithIf)
          .split(row_, line, thread, facts.gpu_block_y, TailStrategy::GuardWithIf)
          .reorder(kw_, kh_, lane, thread, line, block)
          .gpu_threads(lane, thread)
          .gpu_blocks(line, block);
      return;
    }
    // Lanes are channels, read densely and stored one by one. Measured against the dense product that consumes the
    // patches, of which it must stay a small part.
    const Expr fan_in = x.dim(0).extent() * patches.dim(0).extent() * patches.dim(1).extent();
    patches.split(row_, task, in, max(1, facts.parallel_grain / max(fan_in, 1)), TailStrategy::GuardWithIf)
        .split(c_, block, lane, facts.vector_width, TailStrategy::GuardWithIf)
        .reorder(lane, kw_, kh_, block, in, task)
        .vectorize(lane)
        .parallel(task);
  }

 private:
  Var kw_{"kw"}, kh_{"kh"}, c_{"c"}, row_{"row"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::TransposeSamples, transpose_samples)
HALIDE_REGISTER_GENERATOR(kindling::Patches, patches)
