// A convolution as an implicit contraction: sum_k A(k, pixel) * B(k, col), where A's row of a pixel is the window of
// the image that the pixel sees. No matrix of windows is formed. One sample at a time is copied into a scratch image
// with a border of zeros, so that the innermost loop knows no bounds: it runs along one row of a window, which is
// contiguous in images whose channels come last.
//
// The input gradient is the same contraction: the image is dZ, its pixels `spread` apart, the kernel turned around.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "Halide.h"
#include "hardware.h"
#include "tile.h"

namespace kindling {

/// An image that is read, and how its pixels lie in the scratch image: (x, y) at (left + x * spread, top + y * spread).
struct PaddedImage {
  std::function<Halide::Expr(Halide::Expr element, Halide::Expr y, Halide::Expr sample)> row;  ///< x * channels + c
  Halide::Expr channels, width, height, samples;
  Halide::Expr left, top, spread;
  Halide::Expr padded_width, padded_height;

  [[nodiscard]] Halide::Expr pitch() const { return padded_width * channels; }
  [[nodiscard]] Halide::Expr size() const { return padded_height * pitch(); }
};

/// The scratch image f(element, sample), whose elements outside the copied pixels are zero.
class PaddedCopy {
 public:
  PaddedCopy() = default;
  /// `beyond`: GPU, elements behind the last one, and samples behind the last one too, that may be asked for: zeros.
  PaddedCopy(const std::string& name, const PaddedImage& image, bool gpu, int beyond = 0)
      : image_(image), f_("padded_" + name), beyond_(beyond) {
    using namespace Halide;
    if (gpu) {
      const Expr x = element_ % image.pitch() / image.channels - image.left, y = element_ / image.pitch() - image.top;
      Expr inside = x >= 0 && y >= 0 && x % image.spread == 0 && y % image.spread == 0 &&
                    x / image.spread < image.width && y / image.spread < image.height;
      if (beyond > 0) inside = inside && sample_ < image.samples;
      const Expr sample = beyond > 0 ? min(sample_, image.samples - 1) : Expr(sample_);
      const Expr column = clamp(x / image.spread, 0, image.width - 1);
      f_(element_, sample_) = select(inside,
                                     image.row(column * image.channels + element_ % image.channels,
                                               clamp(y / image.spread, 0, image.height - 1), sample),
                                     0.0F);
      return;
    }
    // Pixels that touch are copied by whole rows.
    const Expr touching = image.spread == 1;
    const Expr run = select(touching, image.width * image.channels, image.channels);
    copy_ = RDom(0, run, 0, select(touching, 1, image.width), 0, image.height, "copy_" + name);
    const Expr to = (copy_.z * image.spread + image.top) * image.pitch() +
                    (copy_.y * image.spread + image.left) * image.channels + copy_.x;
    f_(element_, sample_) = 0.0F;
    f_(unsafe_promise_clamped(to, 0, image.size() - 1), sample_) =
        image.row(copy_.y * image.channels + copy_.x, copy_.z, sample_);
  }

  Halide::Expr operator()(const Halide::Expr& element, const Halide::Expr& sample) {
    return f_(Halide::unsafe_promise_clamped(element, 0, image_.size() - 1 + beyond_), sample);
  }

  void compute_at(const Halide::LoopLevel& level, const HardwareFacts& facts) {
    const int v = facts.vector_width;
    f_.bound(element_, 0, (image_.size() + v - 1) / v * v).compute_at(level);
    f_.vectorize(element_, v, Halide::TailStrategy::RoundUp);
    copy_stage().vectorize(copy_.x, v, Halide::TailStrategy::GuardWithIf);
  }

  /// Only for a copy that was made with `gpu`: a thread an element.
  void compute_on_gpu(const HardwareFacts& facts) {
    const Halide::Var block("block"), thread("thread"), blocks("blocks"), threads("threads");
    f_.bound(element_, 0, image_.size() + beyond_)
        .compute_root()
        .gpu_tile(element_, sample_, block, blocks, thread, threads, facts.gpu_block_x, facts.gpu_block_y,
                  Halide::TailStrategy::GuardWithIf);
  }

 private:
  // Every element is copied at most once and none is added to, so that there is no race to speak of; but the proof
  // would need the extents.
  Halide::Stage copy_stage() { return f_.update().allow_race_conditions(); }

  PaddedImage image_;
  Halide::Func f_;
  int beyond_ = 0;
  Halide::RDom copy_;
  Halide::Var element_{"element"}, sample_{"sample"};
};

/// The windows: pixel (x, y) of the result sees the scratch image from (x * step + skip_x, y * step + skip_y) on.
struct Windows {
  Halide::Expr kernel_width, kernel_height, step, skip_x, skip_y;
  Halide::Expr width, height;  ///< of the result

  [[nodiscard]] Halide::Expr pixels() const { return width * height; }
  /// Where the window of a pixel begins.
  [[nodiscard]] Halide::Expr base(const PaddedImage& image, const Halide::Expr& pixel) const {
    return (pixel / width * step + skip_y) * image.pitch() + (pixel % width * step + skip_x) * image.channels;
  }
};

class ImageContraction {
 public:
  using Weight = std::function<Halide::Expr(Halide::Expr channel, Halide::Expr kx, Halide::Expr ky, Halide::Expr col)>;
  /// What to store at (col, pixel, sample), given the sum.
  using Epilogue =
      std::function<Halide::Expr(Halide::Expr sum, Halide::Expr col, Halide::Expr pixel, Halide::Expr sample)>;

  ImageContraction() = default;
  ImageContraction(const std::string& name, const HardwareFacts& facts, bool gpu, const PaddedImage& image,
                   const Windows& windows, const Halide::Expr& cols, const Weight& weight)
      : facts_(facts), image_(image), windows_(windows), cols_(cols), base_("base_" + name) {
    using namespace Halide;
    base_(pixel_) = windows.base(image, pixel_);
    if (gpu) {
      const int width = facts.gpu_thread_tile_x;
      add(name, {facts.gpu_thread_tile_y, width, 1}, 0, cols, (cols + width - 1) / width, weight, true);
      return;
    }
    const int v = facts.vector_width, wide = facts.tile_vectors;
    const Expr vectors = cols / v;
    add(name, {facts.tile_rows, wide, v}, 0, vectors / wide * (wide * v), vectors / wide, weight);
    for (int n = 1; n < wide; ++n) {
      const Expr panels = cast<int>(vectors % wide == n);
      add(name + "_narrow" + std::to_string(n), {facts.narrow_rows, n, v}, vectors / wide * (wide * v),
          panels * (n * v), panels, weight);
    }
    // Half a long vector is cheaper than a whole one where it holds what is left: three colours, say.
    const Expr left = cols % v;
    const auto edge = [&](const std::string& part, int width, const Expr& used) {
      add(name + part, {facts.narrow_rows, 1, width}, vectors * v, left, cast<int>(used), weight);
    };
    const int half = v > 8 ? v / 2 : 0;
    edge("_edge", v, left > half);
    if (half > 0) edge("_half_edge", half, left > 0 && left <= half);
  }

  /// Adds the updates f(col, pixel, sample) = epilogue(...) that cover the whole result.
  void store(Halide::Func f, const Epilogue& epilogue) {
    target_ = f;
    for (Region& r : regions_) {
      r.update = f.num_update_definitions();
      const Halide::Expr col = r.first_col + r.domain.x, pixel = r.domain.y, sample = r.domain.z;
      const Halide::Expr sum = r.sum(r.domain.x % r.shape.cols(), pixel % r.shape.rows, r.domain.x / r.shape.cols(),
                                     Halide::max(pixel / r.shape.rows, 0), sample);
      f(col, pixel, sample) = epilogue(sum, col, pixel, sample);
    }
  }

  /// A task is a few samples. The rows of one sample pass by one packed panel of the weights after the other.
  void schedule_cpu() {
    using namespace Halide;
    base_.compute_root();
    for (Region& r : regions_) {
      const RVar col("col"), col_in("col_in"), row("row"), row_in("row_in");
      target_.update(r.update)
          .split(r.domain.x, col, col_in, r.shape.cols(), TailStrategy::GuardWithIf)
          .split(r.domain.y, row, row_in, r.shape.rows, TailStrategy::GuardWithIf)
          .reorder(col_in, row_in, row, col, r.domain.z)
          .vectorize(col_in, r.shape.vector_width)
          .unroll(col_in)
          .unroll(row_in)
          .parallel(r.domain.z);
      r.padded.compute_at(LoopLevel(target_, r.domain.z), facts_);
      r.sum.compute_at(LoopLevel(target_, row)).store_in(MemoryType::Stack);
      schedule_registers(r, r.sum);
      r.sum.update()
          .reorder(col_in_, row_in_, r.terms.x, r.terms.y)
          .vectorize(col_in_, r.shape.vector_width)
          .unroll(col_in_)
          .unroll(row_in_);
      r.packed.compute_root()
          .bound_extent(col_in_, r.shape.cols())
          .vectorize(col_in_, r.shape.vector_width)
          .unroll(col_in_)
          .parallel(panel_);
    }
  }

  /// One thread owns a small tile in registers; a block of threads holds all channels and pixels of small images.
  void schedule_gpu() {
    using namespace Halide;
    for (Region& r : regions_) {
      const RVar col("col"), col_in("col_in"), row("row"), row_in("row_in"), sample("sample");
      const RVar x("x"), y("y"), z("z");
      target_.update(r.update)
          .split(r.domain.x, col, col_in, r.shape.cols(), TailStrategy::GuardWithIf)
          .split(r.domain.y, row, row_in, r.shape.rows, TailStrategy::GuardWithIf)
          .split(col, col, x, facts_.gpu_threads / (facts_.gpu_block_y * facts_.gpu_block_y), TailStrategy::GuardWithIf)
          .split(row, row, y, facts_.gpu_block_y, TailStrategy::GuardWithIf)
          .split(r.domain.z, sample, z, facts_.gpu_block_y, TailStrategy::GuardWithIf)
          .reorder(col_in, row_in, x, y, z, sample, col, row)
          .unroll(col_in)
          .unroll(row_in)
          .gpu_blocks(sample, col, row)
          .gpu_threads(x, y, z);
      r.padded.compute_on_gpu(facts_);
      r.sum.compute_at(LoopLevel(target_, x)).store_in(MemoryType::Register);
      schedule_registers(r, r.sum);
      r.sum.update().reorder(col_in_, row_in_, r.terms.x, r.terms.y).unroll(col_in_).unroll(row_in_);
      r.sum.update(1).reorder(col_in_, row_in_, r.rest.x, r.rest.y).unroll(col_in_).unroll(row_in_);
      // One load of each operand element a step; in the accumulation itself it would be a load for each product.
      load_on_gpu(r, r.window_step, r.loaded, r.terms.x, gpu_terms);
      load_on_gpu(r, r.window_rest, r.loaded_rest, r.rest.x, 1);
      const Var block("block"), thread("thread");
      r.packed.compute_root().bound_extent(col_in_, r.shape.cols()).unroll(col_in_);
      r.packed.gpu_tile(term_, block, thread, facts_.gpu_threads, TailStrategy::GuardWithIf);
    }
  }

 private:
  // A range of columns and the tile that covers it.
  struct Region {
    Tile::Shape shape;
    Halide::RDom domain;  // x: columns from first_col, y: pixels, z: samples
    Halide::Expr first_col;
    PaddedCopy padded;
    Halide::Func window, packed, sum;
    Halide::RDom terms;
    Halide::RDom rest;  // GPU: terms that fill no step
    Halide::Func window_step, loaded, window_rest, loaded_rest;
    int update = 0;
  };
  // GPU: terms of a step, so that an address serves several loads; the `rest` comes one by one.
  static constexpr int gpu_terms = 4;

  void add(const std::string& name, const Tile::Shape& shape, const Halide::Expr& first_col, const Halide::Expr& width,
           const Halide::Expr& panels, const Weight& weight, bool gpu = false) {
    using namespace Halide;
    const Expr used = panels > 0;
    const Expr run = windows_.kernel_width * image_.channels;
    Region r;
    r.shape = shape;
    r.first_col = first_col;
    r.domain = RDom(0, width, 0, select(used, windows_.pixels(), 0), 0, select(used, image_.samples, 0), "at_" + name);
    r.terms = RDom(0, run, 0, windows_.kernel_height, "k_" + name);
    r.padded = PaddedCopy(name, image_, gpu);
    r.window = Func("window_" + name);
    r.packed = Func("packed_" + name);
    r.sum = Func("sum_" + name);
    const Expr pixel = min(likely(row_tile_ * shape.rows + row_in_), windows_.pixels() - 1);
    r.window(row_in_, term_, ky_, row_tile_, sample_) = r.padded(base_(pixel) + ky_ * image_.pitch() + term_, sample_);
    // Columns beyond the end repeat the last one; they are not stored.
    const Expr col =
        unsafe_promise_clamped(min(likely(first_col + panel_ * shape.cols() + col_in_), cols_ - 1), 0, cols_ - 1);
    r.packed(col_in_, term_, ky_, panel_) = weight(term_ % image_.channels, term_ / image_.channels, ky_, col);
    r.sum(col_in_, row_in_, panel_, row_tile_, sample_) = 0.0F;
    FuncRef sum = r.sum(col_in_, row_in_, panel_, row_tile_, sample_);
    if (!gpu) {
      // Rows of the window that lie in the border for all pixels of the tile.
      const Expr first = row_tile_ * shape.rows, last = min(first + shape.rows, windows_.pixels()) - 1;
      const auto row = [&](const Expr& pixel) {
        return pixel / windows_.width * windows_.step + windows_.skip_y - image_.top;
      };
      r.terms.where(r.terms.y >= -row(last));
      r.terms.where(r.terms.y <= (image_.height - 1) * image_.spread - row(first));
      sum +=
          r.window(row_in_, r.terms.x, r.terms.y, row_tile_, sample_) * r.packed(col_in_, r.terms.x, r.terms.y, panel_);
    } else {
      add_in_steps(r, name, run, sum);
    }
    regions_.push_back(r);
  }

  // GPU: so many terms a step that an address serves several loads, then the rest one by one.
  void add_in_steps(Region& r, const std::string& name, const Halide::Expr& run, Halide::FuncRef sum) {
    using namespace Halide;
    r.terms = RDom(0, run / gpu_terms, 0, windows_.kernel_height, "k_" + name);
    r.rest = RDom(0, run % gpu_terms, 0, windows_.kernel_height, "rest_" + name);
    r.window_step = Func("window_step_" + name), r.window_rest = Func("window_rest_" + name),
    r.loaded = Func("loaded_" + name), r.loaded_rest = Func("loaded_rest_" + name);
    for (Func f : {r.window_step, r.window_rest}) {
      f(row_in_, term_, ky_, row_tile_, sample_) = r.window(row_in_, term_, ky_, row_tile_, sample_);
    }
    for (Func f : {r.loaded, r.loaded_rest}) f(col_in_, term_, ky_, panel_) = r.packed(col_in_, term_, ky_, panel_);
    const auto product = [&](Func window, Func loaded, const Expr& term, const Expr& ky) {
      return window(row_in_, term, ky, row_tile_, sample_) * loaded(col_in_, term, ky, panel_);
    };
    Expr added = sum;
    for (int q = 0; q < gpu_terms; ++q) {
      added = added + product(r.window_step, r.loaded, r.terms.x * gpu_terms + q, r.terms.y);
    }
    sum = added;
    sum += product(r.window_rest, r.loaded_rest, run / gpu_terms * gpu_terms + r.rest.x, r.rest.y);
  }

  void load_on_gpu(Region& r, Halide::Func window, Halide::Func loaded, const Halide::RVar& step, int terms) {
    for (Halide::Func f : {window, loaded}) {
      f.compute_at(r.sum, step).store_in(Halide::MemoryType::Register).bound_extent(term_, terms).unroll(term_);
    }
    window.bound_extent(row_in_, r.shape.rows).unroll(row_in_);
    loaded.bound_extent(col_in_, r.shape.cols()).vectorize(col_in_, facts_.gpu_vector_width).unroll(col_in_);
  }

  void schedule_registers(const Region& r, Halide::Func f) {
    f.bound_extent(col_in_, r.shape.cols()).bound_extent(row_in_, r.shape.rows).bound_extent(panel_, 1);
    f.bound_extent(row_tile_, 1).bound_extent(sample_, 1);
    f.reorder(col_in_, row_in_).vectorize(col_in_, r.shape.vector_width).unroll(col_in_).unroll(row_in_);
  }

  HardwareFacts facts_;
  PaddedImage image_;
  Windows windows_;
  Halide::Expr cols_;
  Halide::Func base_, target_;
  std::vector<Region> regions_;
  Halide::Var pixel_{"pixel"}, col_in_{"col_in"}, row_in_{"row_in"}, panel_{"panel"}, row_tile_{"row_tile"},
      term_{"term"}, ky_{"ky"}, sample_{"sample"};
};

}  // namespace kindling
