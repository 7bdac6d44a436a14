#include "nn/glyphs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "support/expect_error.h"
#include "support/sha256.h"

using namespace kindling;
using namespace kindling::test;

namespace {

struct Splits {
  Samples train;
  Samples test;
};
Splits render(const GlyphOptions& options, int threads = 2, std::stop_token stop = {}) {
  Splits s;
  Context context;
  context.threads = threads;
  context.stop = stop;
  render_glyphs(options, context, s.train, s.test);
  return s;
}
std::string hash(const Samples& s) { return sha256({reinterpret_cast<const char*>(s.bytes.data()), s.bytes.size()}); }

constexpr std::size_t pixels = 256;

}  // namespace

TEST_CASE("the splits have the shape and the balanced labels that were asked for", "[glyphs]") {
  const Splits s = render({.train = 503, .test = 20});
  CHECK(s.train.count == 503);
  CHECK(s.train.features == 256);
  CHECK(s.train.sample_shape == std::vector<std::int64_t>{1, 16, 16});
  CHECK(s.train.bytes.size() == 503 * pixels);
  CHECK(s.train.floats.empty());
  CHECK(s.test.bytes.size() == 20 * pixels);
  for (std::size_t i = 0; i < s.train.labels.size(); ++i) CHECK(s.train.labels[i] == static_cast<int>(i % 10));
}

TEST_CASE("the default pictures never change", "[glyphs]") {
  // Results of other people are comparable only while this holds; a deliberate change of the pictures changes these
  // lines.
  const Splits s = render({.train = 300, .test = 100});
  CHECK(hash(s.train) == "a2765dceac4ddc63132b376f56c4fa6a1440672b6974d194a7d3bc484c574644");
  CHECK(hash(s.test) == "9c457a3ddd895dcbe7a98239de8aa797fa08ed64316fca698539afbad184cd95");
}

TEST_CASE("the pictures do not depend on threads or on the number of samples", "[glyphs]") {
  const Splits one = render({.train = 1500, .test = 300}, 1);
  const Splits many = render({.train = 1500, .test = 300}, 5);
  CHECK(one.train.bytes == many.train.bytes);
  CHECK(one.test.bytes == many.test.bytes);
  const Splits fewer = render({.train = 70, .test = 10}, 2);
  CHECK(std::equal(fewer.train.bytes.begin(), fewer.train.bytes.end(), one.train.bytes.begin()));
  CHECK(std::equal(fewer.test.bytes.begin(), fewer.test.bytes.end(), one.test.bytes.begin()));
}

TEST_CASE("seeds, splits and samples differ", "[glyphs]") {
  const Splits a = render({.seed = 1, .train = 200, .test = 200});
  const Splits b = render({.seed = 2, .train = 200, .test = 200});
  CHECK(a.train.bytes != b.train.bytes);
  CHECK(a.train.bytes != a.test.bytes);
  std::vector<std::vector<std::uint8_t>> pictures;
  for (std::size_t i = 0; i < 200; ++i) {
    pictures.emplace_back(a.train.bytes.begin() + static_cast<std::ptrdiff_t>(i * pixels),
                          a.train.bytes.begin() + static_cast<std::ptrdiff_t>((i + 1) * pixels));
  }
  std::sort(pictures.begin(), pictures.end());
  CHECK(std::adjacent_find(pictures.begin(), pictures.end()) == pictures.end());
}

TEST_CASE("a glyph is brighter than its paper and stands within its picture", "[glyphs]") {
  const Splits s = render({.train = 2000, .test = 1});
  double rim = 0.0;
  double inside = 0.0;
  for (std::size_t i = 0; i < 2000; ++i) {
    for (std::size_t y = 0; y < 16; ++y) {
      for (std::size_t x = 0; x < 16; ++x) {
        const double v = s.train.bytes[i * pixels + y * 16 + x];
        const bool border = x == 0 || y == 0 || x == 15 || y == 15;
        const bool middle = x >= 4 && x < 12 && y >= 3 && y < 13;
        if (border) rim += v / (60.0 * 2000.0);
        if (middle) inside += v / (80.0 * 2000.0);
      }
    }
  }
  CHECK(inside > 1.3 * rim);
}

TEST_CASE("nearest class means recognise glyphs better than chance and far from perfectly", "[glyphs]") {
  const Splits s = render({.train = 4000, .test = 1000});
  std::vector<double> mean(10 * pixels);
  for (std::size_t i = 0; i < 4000; ++i) {
    for (std::size_t p = 0; p < pixels; ++p)
      mean[static_cast<std::size_t>(s.train.labels[i]) * pixels + p] += s.train.bytes[i * pixels + p] / 400.0;
  }
  // By correlation, since contrast and paper vary from picture to picture.
  int wrong = 0;
  for (std::size_t i = 0; i < 1000; ++i) {
    std::array<double, 10> score{};
    for (std::size_t c = 0; c < 10; ++c) {
      double level = 0.0;
      double squares = 0.0;
      for (std::size_t p = 0; p < pixels; ++p) level += mean[c * pixels + p] / pixels;
      for (std::size_t p = 0; p < pixels; ++p) {
        const double d = mean[c * pixels + p] - level;
        squares += d * d;
        score[c] += d * s.test.bytes[i * pixels + p];
      }
      score[c] /= std::sqrt(squares);
    }
    const auto best = std::max_element(score.begin(), score.end()) - score.begin();
    if (best != s.test.labels[i]) ++wrong;
  }
  CAPTURE(wrong);
  CHECK(wrong > 150);
  CHECK(wrong < 500);
}

TEST_CASE("a stop request ends the drawing", "[glyphs]") {
  std::stop_source source;
  source.request_stop();
  expect_error(ErrorCode::interrupted, {}, [&] { render({}, 2, source.get_token()); });
}

TEST_CASE("glyph options are parsed and nonsense is refused", "[glyphs]") {
  const GlyphOptions defaults = parse_glyph_options("");
  CHECK(defaults.train == 20000);
  CHECK(defaults.test == 4000);
  const GlyphOptions o = parse_glyph_options("seed=18446744073709551615,test=1000,train=5000");
  CHECK(o.seed == ~std::uint64_t{0});
  CHECK(o.train == 5000);
  CHECK(o.test == 1000);
  for (const char* text : {"size=3", "seed", "seed=", "seed=-1", "seed=1x", "train=1", "train=1e4", "test=0",
                           "test=99999999999", "=", ",", "train=10;test=5"}) {
    expect_error(ErrorCode::usage, {"synthetic:glyphs"}, [&] { (void)parse_glyph_options(text); });
  }
}
