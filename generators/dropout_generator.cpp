// Dropout (Srivastava et al., JMLR 2014) with a mask that is never stored: element (row n, column k) is kept where word
// k % 4 of Philox block n * ceil(K / 4) + k / 4 of the stream is not below a threshold. The backward pass draws the
// same numbers again.
#include "common/hardware.h"
#include "common/philox.h"
#include "common/polynomials.h"

namespace kindling {
namespace {

using namespace Halide;

class Dropout : public Generator<Dropout> {
 public:
  Input<Buffer<float, 2>> x{"x"};  // (columns, rows)
  Input<uint32_t> seed_low{"seed_low"}, seed_high{"seed_high"}, step{"step"}, unit{"unit"}, purpose{"purpose"};
  Input<uint32_t> threshold{"threshold"};  // rate * 2^32
  Input<float> scale{"scale"};             // of what is kept
  Output<Buffer<float, 2>> y{"y"};         // (columns, rows); may be x

  void generate() {
    const Expr blocks = (x.dim(0).extent() + 3) / 4;
    const Expr block = cast<uint32_t>(n_) * cast<uint32_t>(blocks) + cast<uint32_t>(b_);
    const PhiloxWords w = philox({block, step, unit, purpose}, seed_low, seed_high, get_target());
    words_(b_, n_) = Tuple(w[0], w[1], w[2], w[3]);
    const auto factor = [&](int q) { return select(words_(b_, n_)[q] < threshold, 0.0F, scale); };
    mask_(q_, b_, n_) = mux(q_, {factor(0), factor(1), factor(2), factor(3)});
    // A product, and a strict one: what is dropped becomes 0 * x, so that NaN stays NaN.
    y(k_, n_) = strict_product(x(k_, n_), mask_(k_ % 4, k_ / 4, n_));
  }

  void schedule() {
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    y.dim(0).set_bounds(0, x.dim(0).extent());
    y.dim(1).set_bounds(0, x.dim(1).extent());
    const HardwareFacts facts = hardware_facts(get_target());
    const Var chunk("chunk"), lane("lane"), part("part"), rows("rows"), row("row"), quad("quad"), thread("thread");
    if (get_target().has_gpu_feature()) {
      // A thread per block of four. Measured by registers under ptxas.
      y.split(k_, quad, lane, 4, TailStrategy::GuardWithIf)
          .split(quad, chunk, thread, facts.gpu_block_x, TailStrategy::GuardWithIf)
          .split(n_, rows, row, facts.gpu_block_y, TailStrategy::GuardWithIf)
          .reorder(lane, thread, row, rows, chunk)
          .unroll(lane)
          .gpu_threads(thread, row)
          .gpu_blocks(rows, chunk);
      mask_.compute_at(Func(y), thread).bound_extent(q_, 4).unroll(q_).store_in(MemoryType::Register);
      words_.compute_at(Func(y), thread);
      return;
    }
    // Lanes are blocks, four vectors of elements a step. Bound by the generator's arithmetic, not by memory; measured
    // against the raw words (philox_words).
    const int v = facts.vector_width, width = 4 * v;
    const int chunks = facts.parallel_grain / (4 * width);
    y.split(k_, chunk, lane, width, TailStrategy::GuardWithIf)
        .split(chunk, part, chunk, chunks, TailStrategy::GuardWithIf)
        .split(n_, rows, row, max(1, facts.parallel_grain / 4 / max(x.dim(0).extent(), 1)), TailStrategy::GuardWithIf)
        .reorder(lane, chunk, row, part, rows)
        .vectorize(lane, v)
        .unroll(lane)
        .parallel(part)
        .parallel(rows);
    mask_.compute_at(Func(y), chunk)
        .store_in(MemoryType::Stack)
        .bound_extent(q_, 4)
        .bound_extent(b_, v)
        .reorder(q_, b_)
        .unroll(q_)
        .vectorize(b_);
    words_.compute_at(Func(y), chunk).store_in(MemoryType::Stack).bound_extent(b_, v).vectorize(b_);
  }

 private:
  Var k_{"k"}, n_{"n"}, q_{"q"}, b_{"b"};
  Func words_{"words"}, mask_{"mask"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::Dropout, dropout)
