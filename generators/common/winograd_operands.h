// The transforms of Winograd's filtering, and the operands of its products: 16 frequencies of what a tile of 2 x 2
// pixels sees, of a kernel, or of a tile's gradients.
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "Halide.h"
#include "hardware.h"

namespace kindling {

using Four = std::array<Halide::Expr, 4>;

/// B' applied to 4 numbers.
inline Four winograd_input(const Four& d) { return {d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]}; }
/// G of F(2, 3) applied to 3 numbers.
inline Four winograd_kernel(const Halide::Expr& g0, const Halide::Expr& g1, const Halide::Expr& g2) {
  const Halide::Expr outer = 0.5F * (g0 + g2), inner = 0.5F * g1;
  return {g0, outer + inner, outer - inner, g2};
}
/// A' of F(2, 3) applied to 4 numbers.
inline std::array<Halide::Expr, 2> winograd_output(const Four& m) { return {m[0] + m[1] + m[2], m[1] - m[2] - m[3]}; }

/// Frequency 4 i + j of T a T', a of `size` rows and columns; `transform` applies T to numbers 0..size-1.
inline Halide::Expr winograd_frequency(const Halide::Expr& frequency, int size,
                                       const std::function<Four(const std::function<Halide::Expr(int)>&)>& transform,
                                       const std::function<Halide::Expr(int, int)>& at) {
  std::vector<Four> columns;
  for (int j = 0; j < size; ++j) columns.push_back(transform([&](int i) { return at(i, j); }));
  std::vector<Halide::Expr> all;
  for (int i = 0; i < 4; ++i)
    for (const Halide::Expr& e : transform([&](int j) { return columns[static_cast<std::size_t>(j)][i]; }))
      all.push_back(e);
  return mux(frequency, all);
}

/// Tiles of 2 x 2 pixels of all samples, and the pixels they see.
struct WinogradTiles {
  Halide::Expr across, down, samples;

  WinogradTiles() = default;
  WinogradTiles(const Halide::Expr& width, const Halide::Expr& height, const Halide::Expr& sample_count)
      : across((width + 1) / 2), down((height + 1) / 2), samples(sample_count) {}
  [[nodiscard]] Halide::Expr count() const { return across * down * samples; }
  /// x and y of the upper left pixel of a tile, and its sample.
  [[nodiscard]] Halide::Tuple place(const Halide::Expr& tile) const {
    using namespace Halide;
    // Of numbers without a sign, and as few as can be: a small tile's products take little longer.
    const auto over = [](const Expr& a, const Expr& b) { return cast<int>(cast<uint32_t>(a) / cast<uint32_t>(b)); };
    const Expr line = over(tile, across), sample = over(line, down);
    return {(tile - line * across) * 2, (line - sample * down) * 2, sample};
  }
};

/// An image, asked only for what it has.
struct WinogradImage {
  std::function<Halide::Expr(Halide::Expr channel, Halide::Expr x, Halide::Expr y, Halide::Expr sample)> at;
  Halide::Expr channels, width, height, samples;

  /// 0 outside the image. Channels beyond the last repeat it.
  [[nodiscard]] Halide::Expr pixel(const Halide::Expr& channel, const Halide::Expr& x, const Halide::Expr& y,
                                   const Halide::Expr& sample) const {
    using namespace Halide;
    const auto inside = [](const Expr& i, const Expr& size) { return unsafe_promise_clamped(i, 0, size - 1); };
    return select(x >= 0 && x < width && y >= 0 && y < height,
                  at(inside(min(likely(channel), channels - 1), channels), inside(clamp(x, 0, width - 1), width),
                     inside(clamp(y, 0, height - 1), height), inside(sample, samples)),
                  0.0F);
  }
};

/// A transformed operand of 16 frequencies, (element, tile, frequency, block), in a core's cache: computed at `level`.
inline void schedule_winograd_operand(Halide::Func f, const Halide::Var& element, const Halide::Var& tile,
                                      const Halide::Var& frequency, const Halide::LoopLevel& level, int vector_width) {
  f.compute_at(level)
      .reorder(frequency, element, tile)
      .reorder_storage(element, tile, frequency)
      .bound_extent(frequency, 16)
      .vectorize(element, vector_width, Halide::TailStrategy::RoundUp)
      .unroll(frequency);
}
/// The same in memory: a thread for the 16 frequencies of an element.
inline void schedule_winograd_operand_gpu(Halide::Func f, const Halide::Var& element, const Halide::Var& tile,
                                          const Halide::Var& frequency, const Halide::Var& outer,
                                          const HardwareFacts& facts) {
  using Halide::Var;
  const Var element_block("element_block"), tile_block("tile_block"), x("x"), y("y");
  f.compute_root()
      .bound_extent(frequency, 16)
      .gpu_tile(element, tile, element_block, tile_block, x, y, facts.gpu_block_x, facts.gpu_block_y,
                Halide::TailStrategy::GuardWithIf)
      .reorder(frequency, x, y, element_block, tile_block, outer)
      .gpu_blocks(outer)
      .unroll(frequency);
}

}  // namespace kindling
