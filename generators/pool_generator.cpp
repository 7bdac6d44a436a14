// Pooling of images (channels, width, height, samples): a window of window_height x window_width slides by `stride`
// over an image that `padding` pixels surround on every side. Channels are innermost, so that lanes are channels.
//
// Backward passes are written as sums over the windows that cover a pixel, not as scatters: each element is written
// once, in an order of its own, whatever the threads.
#include <limits>

#include "common/activation.h"
#include "common/hardware.h"

namespace kindling {
namespace {

using namespace Halide;

// Windows whose loops are unrolled: halves of images, those of residual and older networks, and of inception blocks.
struct Usual {
  int window, stride, padding;
};
constexpr Usual usual_windows[] = {{2, 2, 0}, {3, 2, 1}, {3, 2, 0}, {3, 1, 1}};

// What the kernels share: the window's numbers, and a schedule of the image they write.
template <class T>
class PoolGenerator : public Generator<T> {
 public:
  template <class U>
  using In = typename Generator<T>::template Input<U>;
  In<int32_t> window_height{"window_height"}, window_width{"window_width"}, stride{"stride"}, padding{"padding"};

 protected:
  enum class Order { first_to_last, last_to_first };
  // The pixels of window (w, h) of an image, and their places in it.
  struct Pixels {
    RDom offset;
    Expr col, row, place;
  };
  template <class Image>
  Pixels pixels_of_window(const Image& image, Order order = Order::first_to_last) {
    RDom r(0, window_width, 0, window_height, "pixel");
    const bool forward = order == Order::first_to_last;
    const Expr x = forward ? r.x : window_width - 1 - r.x, y = forward ? r.y : window_height - 1 - r.y;
    return only_inside(r, image, w_ * stride - padding + x, h_ * stride - padding + y, y * window_width + x);
  }
  // The windows of a pooled image that cover pixel (w, h), and the pixel's place in them.
  template <class Image>
  Pixels windows_of_pixel(const Image& pooled) {
    RDom r(0, (window_width + stride - 1) / stride, 0, (window_height + stride - 1) / stride, "window");
    const Expr col = (w_ + padding) / stride - r.x, row = (h_ + padding) / stride - r.y;
    const Expr x = w_ + padding - col * stride, y = h_ + padding - row * stride;
    r.where(x < window_width && y < window_height);
    return only_inside(r, pooled, col, row, y * window_width + x);
  }

  template <class B>
  static void image(B&& x) {
    for (int d = 0; d < 4; ++d) x.dim(d).set_min(0);
  }
  template <class A, class B>
  static void same_samples(A&& x, B&& y) {
    y.dim(0).set_bounds(0, x.dim(0).extent());
    y.dim(3).set_bounds(0, x.dim(3).extent());
  }

  // Schedules `out`, whose elements are sums `sum` (update 0) over `r`, the windows of a pixel for a `gradient`, else
  // the pixels of a window: a task is some samples of the `larger` image, a vector some channels of a pixel. Where
  // `simple` holds `out` is simplified. Measured against oneDNN, and memcpy of the image read and the image written.
  template <class Image>
  void schedule_sums(Func out, Func sum, const RDom& r, bool gradient, const Expr& channels, const Image& larger,
                     const Expr& simple = {}) {
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
    const Expr features = channels * larger.dim(1).extent() * larger.dim(2).extent();
    const auto plan = [&](Stage stage, int lanes, const Usual* window) {
      stage.split(n_, task, sample, max(1, facts.parallel_grain / max(features, 1)), TailStrategy::GuardWithIf)
          .split(c_, block, lane, lanes, TailStrategy::ShiftInwards);
      if (gradient && window != nullptr && window->stride > 1) {
        // Which windows cover a pixel is then known for each of stride x stride pixels. Rows are written one after the
        // other: two at once take twice as long from memory.
        const Var col("col"), row("row");
        stage.split(w_, w_, col, window->stride, TailStrategy::GuardWithIf)
            .split(h_, h_, row, window->stride, TailStrategy::GuardWithIf)
            .reorder(lane, block, col, w_, row, h_, sample, task)
            .unroll(col)
            .unroll(row);
      } else {
        stage.reorder(lane, block, w_, h_, sample, task);
      }
      // Pixels away from the border are loops of their own, without conditions, where windows are unrolled. Elsewhere
      // the conditions become the limits of the window's loops.
      const Partition border = window != nullptr ? Partition::Auto : Partition::Never;
      stage.partition(w_, border).partition(h_, border).vectorize(lane).parallel(task);
      if (simple.defined()) stage.specialize(simple);
    };
    sum.compute_at(out, block).store_in(MemoryType::Stack).vectorize(c_);
    sum.update().reorder(c_, r.x, r.y).vectorize(c_).partition(r.x, Partition::Never).partition(r.y, Partition::Never);
    // The last vector of a pixel overlaps the one before, so that none is partial. Images of fewer channels than lanes
    // take vectors of four, or none.
    const Expr wide = channels >= facts.vector_width;
    Stage vectors = out.specialize(wide);
    for (const Usual& s : usual_windows) {
      const Expr is =
          window_height == s.window && window_width == s.window && stride == s.stride && padding == s.padding;
      const int terms = gradient ? (s.window + s.stride - 1) / s.stride : s.window;
      plan(vectors.specialize(is), facts.vector_width, &s);
      Stage unrolled = sum.update().specialize(wide && is);
      if (terms > 1) unrolled.unroll(r.x, terms).unroll(r.y, terms);
    }
    plan(vectors, facts.vector_width, nullptr);
    if (facts.vector_width > 4) plan(out.specialize(channels >= 4), 4, nullptr);
    plan(out, 1, nullptr);
  }

  Var c_{"c"}, w_{"w"}, h_{"h"}, n_{"n"};

 private:
  // The terms of a sum that lie inside `image`.
  template <class Image>
  Pixels only_inside(RDom r, const Image& image, const Expr& col, const Expr& row, const Expr& place) {
    const bool gpu = this->get_target().has_gpu_feature();
    const Expr width = image.dim(1).extent(), height = image.dim(2).extent();
    // Likely, so that loops are partitioned into border and interior; not in a thread of a GPU.
    for (const Expr& inside : {col >= 0, col < width, row >= 0, row < height}) r.where(gpu ? inside : likely(inside));
    return {r, unsafe_promise_clamped(col, 0, width - 1), unsafe_promise_clamped(row, 0, height - 1), place};
  }
};

// Whether `value` replaces `best`, which comes after it in the window: the first of equals wins, and the first NaN over
// everything. From last to first the NaN is looked for in `value` only, off the chain of dependences, and the first
// step always replaces. Of strict comparisons Halide compiles <= to "not >", which a NaN fulfils.
Expr replaces(const Expr& value, const Expr& best) {
  return strict_float(value > best) || strict_float(value == best) || is_nan(value);
}
// select() of floats takes them never to be NaN.
Expr choose(const Expr& better, const Expr& value, const Expr& best) {
  return reinterpret<float>(select(better, reinterpret<int32_t>(value), reinterpret<int32_t>(best)));
}

class MaxPool : public PoolGenerator<MaxPool> {
 public:
  Input<Buffer<float, 4>> x{"x"};
  // The maximum, and for the backward pass its place in the window, counted row by row.
  Output<Func> y{"y", {Float(32), UInt(8)}, 4};

  void generate() {
    const Pixels p = pixels_of_window(x, Order::last_to_first);
    r_ = p.offset;
    // A mask of 16 lanes or more chooses bytes as fast as numbers; narrower ones would have to be converted each time.
    const Type number = hardware_facts(get_target()).vector_width >= 16 ? UInt(8) : Int(32);
    best_(c_, w_, h_, n_) = Tuple(-std::numeric_limits<float>::infinity(), cast(number, 0));
    const FuncRef best = best_(c_, w_, h_, n_);
    const Expr value = x(c_, p.col, p.row, n_), better = replaces(value, best[0]);
    best_(c_, w_, h_, n_) = Tuple(choose(better, value, best[0]), select(better, cast(number, p.place), best[1]));
    // Saturating, or LLVM would convert all masks to bytes instead of the result.
    pooled_(c_, w_, h_, n_) = Tuple(best_(c_, w_, h_, n_)[0], saturating_cast<uint8_t>(best_(c_, w_, h_, n_)[1]));
    y = pooled_;
  }

  void schedule() {
    image(x);
    const auto outputs = pooled_.output_buffers();
    image(outputs[0]);
    same_samples(x, outputs[0]);
    schedule_sums(pooled_, best_, r_, false, x.dim(0).extent(), x);
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
    const Pixels p = pixels_of_window(x, Order::last_to_first);
    r_ = p.offset;
    best_(c_, w_, h_, n_) = -std::numeric_limits<float>::infinity();
    const Expr value = x(c_, p.col, p.row, n_), best = best_(c_, w_, h_, n_);
    best_(c_, w_, h_, n_) = choose(replaces(value, best), value, best);
    y(c_, w_, h_, n_) = best_(c_, w_, h_, n_);
  }

  void schedule() {
    image(x);
    image(y);
    same_samples(x, y);
    schedule_sums(Func(y), best_, r_, false, x.dim(0).extent(), x);
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
    const Pixels p = windows_of_pixel(dy);
    r_ = p.offset;
    sum_(c_, w_, h_, n_) = 0.0F;
    sum_(c_, w_, h_, n_) +=
        select(cast<int32_t>(index(c_, p.col, p.row, n_)) == p.place, dy(c_, p.col, p.row, n_), 0.0F);
    dx(c_, w_, h_, n_) = sum_(c_, w_, h_, n_);
  }

  void schedule() {
    image(dy);
    image(dx);
    same_samples(dy, dx);
    for (int d = 0; d < 4; ++d) index.dim(d).set_bounds(0, dy.dim(d).extent());
    schedule_sums(Func(dx), sum_, r_, true, dy.dim(0).extent(), dx);
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
    const Pixels p = pixels_of_window(x);
    r_ = p.offset;
    taken_(c_, w_, h_, n_) = 0.0F;
    const Expr here = cast<int32_t>(index(c_, w_, h_, n_)) == p.place;
    taken_(c_, w_, h_, n_) = select(here, x(c_, p.col, p.row, n_), taken_(c_, w_, h_, n_));
    y(c_, w_, h_, n_) = taken_(c_, w_, h_, n_);
  }

  void schedule() {
    image(x);
    image(y);
    same_samples(x, y);
    for (int d = 0; d < 4; ++d) index.dim(d).set_bounds(0, y.dim(d).extent());
    schedule_sums(Func(y), taken_, r_, false, x.dim(0).extent(), x);
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
    const Pixels p = pixels_of_window(x);
    r_ = p.offset;
    sum_(c_, w_, h_, n_) += x(c_, p.col, p.row, n_);
    // The padding counts as zeros.
    y(c_, w_, h_, n_) = sum_(c_, w_, h_, n_) * (1.0F / cast<float>(window_width * window_height));
  }

  void schedule() {
    image(x);
    image(y);
    same_samples(x, y);
    schedule_sums(Func(y), sum_, r_, false, x.dim(0).extent(), x);
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
    const Pixels p = windows_of_pixel(dy);
    r_ = p.offset;
    sum_(c_, w_, h_, n_) += dy(c_, p.col, p.row, n_);
    const Expr gradient = sum_(c_, w_, h_, n_) * (1.0F / cast<float>(window_width * window_height));
    // A derivative of 1 throughout spares reading x.
    dx(c_, w_, h_, n_) =
        select(slope == 1.0F, gradient, through_derivative(ActivationForm::slope, x(c_, w_, h_, n_), slope, gradient));
  }

  void schedule() {
    image(dy);
    image(dx);
    same_samples(dy, dx);
    for (int d = 0; d < 4; ++d) x.dim(d).set_bounds(0, dx.dim(d).extent());
    schedule_sums(Func(dx), sum_, r_, true, dy.dim(0).extent(), dx, slope == 1.0F);
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
