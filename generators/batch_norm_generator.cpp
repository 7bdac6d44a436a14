// Batch normalisation (Ioffe & Szegedy, ICML 2015) of a matrix (channels, rows): rows are samples, or all positions of
// all samples of images whose channels come last.
//
// Statistics: a block of rows has its sum and its sum of squares about its own mean in float32; blocks are put together
// in float64, in their order (Chan, Golub & LeVeque 1979). A large mean costs no digits, and threads no bits.
#include "common/activation.h"
#include "common/hardware.h"

namespace kindling {
namespace {

using namespace Halide;

// Rows of a block, which stays in the second cache while it is read twice.
constexpr int block_rows = 64;

// Rows that are added up side by side while a vector of channels has its sums in registers. Few, so that memory is
// still read in its order.
constexpr int rows_side_by_side = 4;

// Row `r` of block `b`; only the clamp tells the bounds inference that rows beyond the end are never visited.
Expr row_of(const Expr& b, const Expr& r, const Expr& rows) { return min(likely(b * block_rows + r), rows - 1); }

// Channel c; lanes beyond the last repeat it, and only in the last vector of a row.
Expr channel_of(const Expr& c, const Expr& channels) { return min(likely(c), channels - 1); }

// A float32 sum per channel and block, `part`, made of the stages `sums` (update 0 over `r`), and the float64 totals.
struct BlockSums {
  Func part;
  std::vector<Func> sums, totals;
  Var c, b;
  RDom r, blocks;

  // A task is a few blocks, read row by row. Measured against one pass over the matrix by memcpy, and oneDNN.
  void schedule_cpu(const HardwareFacts& facts, const Expr& channels) {
    const Var chunk("chunk"), lane("lane"), task("task"), block("block");
    const RVar side("side"), row("row");
    const int v = facts.vector_width;
    const Expr blocks_of_task = max(1, facts.parallel_grain / (max(channels, 1) * block_rows));
    part.compute_root()
        .vectorize(c, v, TailStrategy::GuardWithIf)
        .split(b, task, block, blocks_of_task, TailStrategy::GuardWithIf)
        .parallel(task);
    for (Func& f : sums) {
      f.compute_at(part, block).vectorize(c, v, TailStrategy::RoundUp);
      f.update()
          .split(c, chunk, lane, v, TailStrategy::RoundUp)
          .split(r, row, side, rows_side_by_side)
          .reorder(lane, side, chunk, row)
          .vectorize(lane)
          .unroll(side);
    }
    for (Func& f : totals) {
      f.compute_root().vectorize(c, v, TailStrategy::GuardWithIf);
      f.update().reorder(c, blocks).vectorize(c, v, TailStrategy::GuardWithIf);
    }
  }

  // A thread per channel and block. Blocks are put together on the host, since a device need not have float64.
  // Measured by registers under ptxas.
  void schedule_gpu(const HardwareFacts& facts) {
    const Var chunk("chunk"), lane("lane");
    part.compute_root()
        .split(c, chunk, lane, facts.gpu_threads, TailStrategy::GuardWithIf)
        .reorder(lane, b, chunk)
        .gpu_threads(lane)
        .gpu_blocks(b, chunk);
    for (Func& f : sums) f.compute_at(part, lane);
    for (Func& f : totals) f.compute_root();
  }
};

// Elements (c, row) of a matrix, in the order of memory: coefficients come from the first cache faster than rows out of
// order come from beyond it. Measured against memcpy of what is read and written, and oneDNN.
void schedule_rows(Func f, const Var& c, const Var& row, const Expr& channels, const Target& target) {
  const HardwareFacts facts = hardware_facts(target);
  const Var chunk("chunk"), lane("lane"), block("block"), in("in"), task("task");
  if (target.has_gpu_feature()) {
    f.split(c, chunk, lane, facts.gpu_block_x, TailStrategy::GuardWithIf)
        .split(row, block, in, facts.gpu_block_y, TailStrategy::GuardWithIf)
        .reorder(lane, in, block, chunk)
        .gpu_threads(lane, in)
        .gpu_blocks(block, chunk);
    return;
  }
  f.split(row, task, in, max(1, facts.parallel_grain / max(channels, 1)), TailStrategy::GuardWithIf)
      .vectorize(c, facts.vector_width, TailStrategy::GuardWithIf)
      .parallel(task);
}

class BatchNormStatistics : public Generator<BatchNormStatistics> {
 public:
  Input<Buffer<float, 2>> x{"x"};                                    // (channels, rows), rows >= 1
  Output<Func> statistics{"statistics", {Float(64), Float(64)}, 1};  // mean, variance over rows (not rows - 1)

  void generate() {
    const Expr rows = x.dim(1).extent();
    RDom r(0, block_rows, "r");
    r.where(b_ * block_rows + r < rows);
    const RDom blocks(0, (rows + block_rows - 1) / block_rows, "blocks");
    const auto count = [&](const Expr& b) { return min(block_rows, rows - b * block_rows); };
    Func sum("sum"), squares("squares"), part("part"), total("total"), spread("spread");
    const Expr value = x(channel_of(c_, x.dim(0).extent()), row_of(b_, r, rows));
    sum(c_, b_) += value;
    const Expr off = value - sum(c_, b_) / cast<float>(count(b_));
    squares(c_, b_) += off * off;
    part(c_, b_) = Tuple(sum(c_, b_), squares(c_, b_));
    total(c_) += cast<double>(part(c_, blocks)[0]);
    const Expr mean = total(c_) / rows;
    const Expr apart = cast<double>(part(c_, blocks)[0]) / count(blocks) - mean;
    spread(c_) += cast<double>(part(c_, blocks)[1]) + count(blocks) * apart * apart;
    result_(c_) = Tuple(mean, spread(c_) / rows);
    statistics = result_;
    sums_ = {part, {sum, squares}, {total, spread}, c_, b_, r, blocks};
  }

  void schedule() {
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    OutputImageParam(result_.output_buffers()[0]).dim(0).set_bounds(0, x.dim(0).extent());
    const HardwareFacts facts = hardware_facts(get_target());
    if (get_target().has_gpu_feature()) {
      sums_.schedule_gpu(facts);
    } else {
      sums_.schedule_cpu(facts, x.dim(0).extent());
    }
  }

 private:
  Var c_{"c"}, b_{"b"};
  Func result_{"result"};
  BlockSums sums_;
};

class BatchNormApply : public Generator<BatchNormApply> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};

  Input<Buffer<float, 2>> x{"x"};  // (channels, rows)
  // (channels): z = (x - mean) * inverse_std * weight + bias
  Input<Buffer<float, 1>> mean{"mean"}, inverse_std{"inverse_std"}, weight{"weight"}, bias{"bias"};
  Input<float> slope{"slope"};
  Output<Buffer<float, 2>> y{"y"};  // (channels, rows), f(z)

  void generate() {
    // The difference first: mean and bias taken together would cancel where the mean is large.
    const Expr z = (x(c_, row_) - mean(c_)) * (inverse_std(c_) * weight(c_)) + bias(c_);
    y(c_, row_) = activate(activation, z, slope);
  }

  void schedule() {
    const Expr channels = x.dim(0).extent();
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    for (auto* p : {&mean, &inverse_std, &weight, &bias}) p->dim(0).set_bounds(0, channels);
    y.dim(0).set_bounds(0, channels);
    y.dim(1).set_bounds(0, x.dim(1).extent());
    schedule_rows(Func(y), c_, row_, channels, get_target());
  }

 private:
  Var c_{"c"}, row_{"row"};
};

class BatchNormSums : public Generator<BatchNormSums> {
 public:
  Input<Buffer<float, 2>> dz{"dz"}, x{"x"};                          // (channels, rows)
  Input<Buffer<float, 1>> mean{"mean"}, inverse_std{"inverse_std"};  // (channels)
  Output<Buffer<float, 1>> dweight{"dweight"}, dbias{"dbias"};       // (channels)

  void generate() {
    const Expr rows = x.dim(1).extent();
    RDom r(0, block_rows, "r");
    r.where(b_ * block_rows + r < rows);
    const RDom blocks(0, (rows + block_rows - 1) / block_rows, "blocks");
    Func sum("sum"), part("part"), total("total");
    const Expr row = row_of(b_, r, rows);
    const Expr c = channel_of(c_, x.dim(0).extent());
    sum(c_, b_) = Tuple(0.0F, 0.0F);
    sum(c_, b_) = Tuple(sum(c_, b_)[0] + dz(c, row), sum(c_, b_)[1] + dz(c, row) * (x(c, row) - mean(c)));
    part(c_, b_) = Tuple(sum(c_, b_)[0], sum(c_, b_)[1]);
    total(c_) = Tuple(cast<double>(0.0F), cast<double>(0.0F));
    total(c_) =
        Tuple(total(c_)[0] + cast<double>(part(c_, blocks)[0]), total(c_)[1] + cast<double>(part(c_, blocks)[1]));
    dbias(c_) = cast<float>(total(c_)[0]);
    dweight(c_) = cast<float>(total(c_)[1] * cast<double>(inverse_std(c_)));
    sums_ = {part, {sum}, {total}, c_, b_, r, blocks};
  }

  void schedule() {
    const Expr channels = x.dim(0).extent();
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    dz.dim(0).set_bounds(0, channels);
    dz.dim(1).set_bounds(0, x.dim(1).extent());
    for (auto* p : {&mean, &inverse_std}) p->dim(0).set_bounds(0, channels);
    dweight.dim(0).set_bounds(0, channels);
    dbias.dim(0).set_bounds(0, channels);
    const HardwareFacts facts = hardware_facts(get_target());
    if (get_target().has_gpu_feature()) {
      sums_.schedule_gpu(facts);
    } else {
      sums_.schedule_cpu(facts, channels);
    }
  }

 private:
  Var c_{"c"}, b_{"b"};
  BlockSums sums_;
};

class BatchNormGradient : public Generator<BatchNormGradient> {
 public:
  Input<Buffer<float, 2>> dz{"dz"}, x{"x"};  // (channels, rows)
  Input<Buffer<float, 1>> mean{"mean"}, inverse_std{"inverse_std"}, weight{"weight"}, dweight{"dweight"},
      dbias{"dbias"};                 // (channels)
  Input<float> slope{"slope"};        // of the piecewise-linear activation whose output x is
  Output<Buffer<float, 2>> dx{"dx"};  // (channels, rows); may be dz

  void generate() {
    const Expr rows = cast<float>(x.dim(1).extent());
    const Expr scale = inverse_std(c_) * weight(c_);
    // dx = scale (dz - mean of dz - normalised x * mean of dz times normalised x)
    coefficients_(c_) = Tuple(scale, -scale * inverse_std(c_) * dweight(c_) / rows, -scale * dbias(c_) / rows);
    const FuncRef k = coefficients_(c_);
    const Expr gradient = k[0] * dz(c_, row_) + k[1] * (x(c_, row_) - mean(c_)) + k[2];
    dx(c_, row_) = through_derivative(ActivationForm::slope, x(c_, row_), slope, gradient);
  }

  void schedule() {
    const Expr channels = x.dim(0).extent();
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    dz.dim(0).set_bounds(0, channels);
    dz.dim(1).set_bounds(0, x.dim(1).extent());
    for (auto* p : {&mean, &inverse_std, &weight, &dweight, &dbias}) p->dim(0).set_bounds(0, channels);
    dx.dim(0).set_bounds(0, channels);
    dx.dim(1).set_bounds(0, x.dim(1).extent());
    schedule_rows(Func(dx), c_, row_, channels, get_target());
    // On the host beside a device too: a few numbers for each channel.
    coefficients_.compute_root();
  }

 private:
  Var c_{"c"}, row_{"row"};
  Func coefficients_{"coefficients"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::BatchNormStatistics, batch_norm_statistics)
HALIDE_REGISTER_GENERATOR(kindling::BatchNormApply, batch_norm_apply)
HALIDE_REGISTER_GENERATOR(kindling::BatchNormSums, batch_norm_sums)
HALIDE_REGISTER_GENERATOR(kindling::BatchNormGradient, batch_norm_gradient)
