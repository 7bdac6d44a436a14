// Pooling of images (channels, width, height, samples): a window of window_height x window_width slides by `stride`
// over an image that `padding` pixels surround on every side. Channels are innermost, so that lanes are channels.
//
// Backward passes are written as sums over the windows that cover a pixel, not as scatters: each element is written
// once, in an order of its own, whatever the threads.
#include <limits>

#include "common/activation.h"
#include "common/hardware.h"
#include "common/nan.h"

namespace kindling {
namespace {

using namespace Halide;

// What the four kernels share: the window's numbers, and a schedule of the image they write.
template <class T>
class PoolGenerator : public Generator<T> {
 public:
  template <class U>
  using In = typename Generator<T>::template Input<U>;
  In<int32_t> window_height{"window_height"}, window_width{"window_width"}, stride{"stride"}, padding{"padding"};

 protected:
  // The pixels of window (w, h) of an image that is `width` x `height`.
  struct Pixels {
    RDom offset;
    Expr col, row;
  };
  Pixels pixels_of_window(const Expr& width, const Expr& height) {
    RDom r(0, window_width, 0, window_height, "pixel");
    const Expr col = w_ * stride - padding + r.x, row = h_ * stride - padding + r.y;
    r.where(col >= 0 && col < width && row >= 0 && row < height);
    return {r, unsafe_promise_clamped(col, 0, width - 1), unsafe_promise_clamped(row, 0, height - 1)};
  }

  // The windows of an `out_width` x `out_height` grid that cover pixel (w, h), and the pixel's place in them.
  struct Windows {
    RDom offset;
    Expr col, row, place;
  };
  Windows windows_of_pixel(const Expr& out_width, const Expr& out_height) {
    RDom r(0, (window_width + stride - 1) / stride, 0, (window_height + stride - 1) / stride, "window");
    const Expr col = (w_ + padding) / stride - r.x, row = (h_ + padding) / stride - r.y;
    const Expr x = w_ + padding - col * stride, y = h_ + padding - row * stride;
    r.where(col >= 0 && col < out_width && x < window_width && row >= 0 && row < out_height && y < window_height);
    return {r, unsafe_promise_clamped(col, 0, out_width - 1), unsafe_promise_clamped(row, 0, out_height - 1),
            y * window_width + x};
  }

  // Channel c; lanes beyond the last repeat it, and only in the last vector of a pixel.
  Expr channel(const Expr& channels) { return min(likely(c_), channels - 1); }

  template <class B>
  static void image(B&& x) {
    for (int d = 0; d < 4; ++d) x.dim(d).set_min(0);
  }
  template <class A, class B>
  static void same_samples(A&& x, B&& y) {
    y.dim(0).set_bounds(0, x.dim(0).extent());
    y.dim(3).set_bounds(0, x.dim(3).extent());
  }

  // Schedules `out`, whose elements are sums `sum` (update 0, over `r`): a task is some samples, a vector some channels
  // of a pixel. The usual window of 2 x 2 without overlap has its loops unrolled. Measured against memcpy of the image
  // read and the image written.
  void schedule_sums(Func out, Func sum, const RDom& r, int window, const Expr& features) {
    const HardwareFacts facts = hardware_facts(this->get_target());
    const Var block("block"), lane("lane"), task("task"), sample("sample"), thread("thread"), column("column"),
        line("line");
    if (this->get_target().has_gpu_feature()) {
      // A thread per element. Measured by registers under ptxas.
      out.split(c_, block, lane, facts.gpu_block_x, TailStrategy::GuardWithIf)
          .split(w_, column, thread, facts.gpu_block_y, TailStrategy::GuardWithIf)
          .fuse(h_, n_, line)
          .reorder(lane, thread, line, block, column)
          .gpu_threads(lane, thread)
          .gpu_blocks(line, block, column);
      sum.compute_at(out, lane);
      return;
    }
    const int v = facts.vector_width;
    const Expr usual = window_height == 2 && window_width == 2 && stride == 2 && padding == 0;
    out.split(n_, task, sample, max(1, facts.parallel_grain / max(features, 1)), TailStrategy::GuardWithIf)
        .split(c_, block, lane, v, TailStrategy::GuardWithIf)
        .reorder(lane, block, w_, h_, sample, task)
        .vectorize(lane)
        .parallel(task);
    out.specialize(usual);
    sum.compute_at(out, block).store_in(MemoryType::Stack).bound_extent(c_, v).vectorize(c_);
    sum.update().reorder(c_, r.x, r.y).vectorize(c_);
    Stage unrolled = sum.update().specialize(usual);
    if (window > 1) unrolled.unroll(r.x, window).unroll(r.y, window);
  }

  Var c_{"c"}, w_{"w"}, h_{"h"}, n_{"n"};
};

// The first of equals wins, and the first NaN over everything: whether `value` replaces `best`.
Expr replaces(const Expr& value, const Expr& best) {
  return (strict_float(value > best) || is_nan_bits(value)) && !is_nan_bits(best);
}

class MaxPool : public PoolGenerator<MaxPool> {
 public:
  Input<Buffer<float, 4>> x{"x"};
  // The maximum, and for the backward pass its place in the window, counted row by row.
  Output<Func> y{"y", {Float(32), UInt(8)}, 4};

  void generate() {
    const Pixels p = pixels_of_window(x.dim(1).extent(), x.dim(2).extent());
    r_ = p.offset;
    // The first pixel that lies in the image, for a window of nothing but -inf.
    const Expr first = max(padding - h_ * stride, 0) * window_width + max(padding - w_ * stride, 0);
    best_(c_, w_, h_, n_) = Tuple(-std::numeric_limits<float>::infinity(), first);
    const FuncRef best = best_(c_, w_, h_, n_);
    const Expr value = x(channel(x.dim(0).extent()), p.col, p.row, n_), better = replaces(value, best[0]);
    best_(c_, w_, h_, n_) = Tuple(select(better, value, best[0]), select(better, r_.y * window_width + r_.x, best[1]));
    pooled_(c_, w_, h_, n_) = Tuple(best_(c_, w_, h_, n_)[0], cast<uint8_t>(best_(c_, w_, h_, n_)[1]));
    y = pooled_;
  }

  void schedule() {
    image(x);
    const auto outputs = pooled_.output_buffers();
    image(outputs[0]);
    same_samples(x, outputs[0]);
    schedule_sums(pooled_, best_, r_, 2, x.dim(0).extent() * x.dim(1).extent() * x.dim(2).extent());
  }

 private:
  RDom r_;
  Func best_{"best"}, pooled_{"pooled"};
};

class MaxPoolInference : public PoolGenerator<MaxPoolInference> {
 public:
  Input<Buffer<float, 4>> x{"x"};
  Output<Buffer<float, 4>> y{"y"};

  void generate() {
    const Pixels p = pixels_of_window(x.dim(1).extent(), x.dim(2).extent());
    r_ = p.offset;
    best_(c_, w_, h_, n_) = -std::numeric_limits<float>::infinity();
    const Expr value = x(channel(x.dim(0).extent()), p.col, p.row, n_), best = best_(c_, w_, h_, n_);
    best_(c_, w_, h_, n_) = select(replaces(value, best), value, best);
    y(c_, w_, h_, n_) = best_(c_, w_, h_, n_);
  }

  void schedule() {
    image(x);
    image(y);
    same_samples(x, y);
    schedule_sums(Func(y), best_, r_, 2, x.dim(0).extent() * x.dim(1).extent() * x.dim(2).extent());
  }

 private:
  RDom r_;
  Func best_{"best"};
};

class MaxPoolGradient : public PoolGenerator<MaxPoolGradient> {
 public:
  Input<Buffer<float, 4>> dy{"dy"};
  Input<Buffer<uint8_t, 4>> index{"index"};
  Output<Buffer<float, 4>> dx{"dx"};

  void generate() {
    const Windows p = windows_of_pixel(dy.dim(1).extent(), dy.dim(2).extent());
    r_ = p.offset;
    const Expr c = channel(dy.dim(0).extent());
    sum_(c_, w_, h_, n_) = 0.0F;
    sum_(c_, w_, h_, n_) += select(cast<int32_t>(index(c, p.col, p.row, n_)) == p.place, dy(c, p.col, p.row, n_), 0.0F);
    dx(c_, w_, h_, n_) = sum_(c_, w_, h_, n_);
  }

  void schedule() {
    image(dy);
    image(dx);
    same_samples(dy, dx);
    for (int d = 0; d < 4; ++d) index.dim(d).set_bounds(0, dy.dim(d).extent());
    schedule_sums(Func(dx), sum_, r_, 1, dx.dim(0).extent() * dx.dim(1).extent() * dx.dim(2).extent());
  }

 private:
  RDom r_;
  Func sum_{"sum"};
};

// What stands at the places that max_pool_forward chose: the derivative of the maximum along `x`.
class MaxPoolTake : public PoolGenerator<MaxPoolTake> {
 public:
  Input<Buffer<float, 4>> x{"x"};
  Input<Buffer<uint8_t, 4>> index{"index"};
  Output<Buffer<float, 4>> y{"y"};

  void generate() {
    const Pixels p = pixels_of_window(x.dim(1).extent(), x.dim(2).extent());
    r_ = p.offset;
    const Expr c = channel(x.dim(0).extent());
    taken_(c_, w_, h_, n_) = 0.0F;
    const Expr here = cast<int32_t>(index(c, w_, h_, n_)) == r_.y * window_width + r_.x;
    taken_(c_, w_, h_, n_) = select(here, x(c, p.col, p.row, n_), taken_(c_, w_, h_, n_));
    y(c_, w_, h_, n_) = taken_(c_, w_, h_, n_);
  }

  void schedule() {
    image(x);
    image(y);
    same_samples(x, y);
    for (int d = 0; d < 4; ++d) index.dim(d).set_bounds(0, y.dim(d).extent());
    schedule_sums(Func(y), taken_, r_, 2, x.dim(0).extent() * x.dim(1).extent() * x.dim(2).extent());
  }

 private:
  RDom r_;
  Func taken_{"taken"};
};

class AveragePool : public PoolGenerator<AveragePool> {
 public:
  Input<Buffer<float, 4>> x{"x"};
  Output<Buffer<float, 4>> y{"y"};

  void generate() {
    const Pixels p = pixels_of_window(x.dim(1).extent(), x.dim(2).extent());
    r_ = p.offset;
    sum_(c_, w_, h_, n_) += x(channel(x.dim(0).extent()), p.col, p.row, n_);
    // The padding counts as zeros.
    y(c_, w_, h_, n_) = sum_(c_, w_, h_, n_) * (1.0F / cast<float>(window_width * window_height));
  }

  void schedule() {
    image(x);
    image(y);
    same_samples(x, y);
    schedule_sums(Func(y), sum_, r_, 2, x.dim(0).extent() * x.dim(1).extent() * x.dim(2).extent());
  }

 private:
  RDom r_;
  Func sum_{"sum"};
};

class AveragePoolGradient : public PoolGenerator<AveragePoolGradient> {
 public:
  Input<Buffer<float, 4>> dy{"dy"};
  Input<Buffer<float, 4>> x{"x"};  // the output of a piecewise-linear activation whose derivative is part of dx
  Input<float> slope{"slope"};
  Output<Buffer<float, 4>> dx{"dx"};

  void generate() {
    const Windows p = windows_of_pixel(dy.dim(1).extent(), dy.dim(2).extent());
    r_ = p.offset;
    sum_(c_, w_, h_, n_) += dy(channel(dy.dim(0).extent()), p.col, p.row, n_);
    const Expr gradient = sum_(c_, w_, h_, n_) * (1.0F / cast<float>(window_width * window_height));
    dx(c_, w_, h_, n_) = through_derivative(ActivationForm::slope, x(c_, w_, h_, n_), slope, gradient);
  }

  void schedule() {
    image(dy);
    image(dx);
    same_samples(dy, dx);
    for (int d = 0; d < 4; ++d) x.dim(d).set_bounds(0, dx.dim(d).extent());
    schedule_sums(Func(dx), sum_, r_, 1, dx.dim(0).extent() * dx.dim(1).extent() * dx.dim(2).extent());
  }

 private:
  RDom r_;
  Func sum_{"sum"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::MaxPool, max_pool_forward)
HALIDE_REGISTER_GENERATOR(kindling::MaxPoolInference, max_pool_inference)
HALIDE_REGISTER_GENERATOR(kindling::MaxPoolGradient, max_pool_gradient)
HALIDE_REGISTER_GENERATOR(kindling::MaxPoolTake, max_pool_take)
HALIDE_REGISTER_GENERATOR(kindling::AveragePool, average_pool_forward)
HALIDE_REGISTER_GENERATOR(kindling::AveragePoolGradient, average_pool_gradient)
