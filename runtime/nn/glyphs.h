// The data set synthetic:glyphs, drawn by the library itself so that everything can be tried without a download.
#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>

#include <cstdint>
#include <string_view>

namespace kindling {

constexpr int glyph_classes = 10;
constexpr std::int64_t glyph_size = 16;

struct GlyphOptions {
  std::uint64_t seed = 16;     ///< of the pictures; not the seed of a run
  std::int64_t train = 20000;  ///< 2 .. 10,000,000
  std::int64_t test = 4000;    ///< 1 .. 10,000,000
};

/// Parses "seed=7,train=5000,test=1000", any of them, "" for none. Throws Error{usage} for anything else.
GlyphOptions parse_glyph_options(std::string_view text);

/// Draws grey images (1 x 16 x 16, one byte a pixel) of ten digit-like glyphs. A glyph is one of several ways to write
/// its class, as strokes, with random proportions, pose, smooth distortion, thickness and contrast, among clutter
/// strokes and noise. Sample i of a split has class i mod 10 and is a pure function of (seed, split, i): a smaller data
/// set is a prefix of a larger one, and the number of threads does not matter. Throws Error{interrupted}.
void render_glyphs(const GlyphOptions& options, const Context& context, Samples& train, Samples& test);

}  // namespace kindling
