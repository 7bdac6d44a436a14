#include "nn/glyphs.h"

#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/random.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cmath>
#include <numbers>
#include <span>
#include <thread>
#include <vector>

namespace kindling {
namespace {

struct Point {
  double x = 0.0;  // to the right, -1 .. 1 over the glyph's box
  double y = 0.0;  // downwards, -1 .. 1
};
using Stroke = std::vector<Point>;
using Allograph = std::vector<Stroke>;

constexpr int size = static_cast<int>(glyph_size);
using Canvas = std::array<double, static_cast<std::size_t>(size) * size>;

/// Straight strokes through the corners given, cut into pieces short enough to be bent by the distortion.
Stroke line(std::initializer_list<Point> corners) {
  Stroke stroke;
  const Point* from = corners.begin();
  for (const Point& to : corners) {
    constexpr int pieces = 3;
    for (int i = stroke.empty() ? pieces : 1; i <= pieces; ++i) {
      const double t = static_cast<double>(i) / pieces;
      stroke.push_back({from->x + t * (to.x - from->x), from->y + t * (to.y - from->y)});
    }
    from = &to;
  }
  return stroke;
}

/// A piece of an ellipse; degrees, 0 to the right, 90 down.
Stroke arc(Point centre, double rx, double ry, double from, double to) {
  const int pieces = std::max(4, static_cast<int>(std::abs(to - from) / 30.0));
  Stroke stroke;
  for (int i = 0; i <= pieces; ++i) {
    const double a = (from + (to - from) * i / pieces) * std::numbers::pi / 180.0;
    stroke.push_back({centre.x + rx * std::cos(a), centre.y + ry * std::sin(a)});
  }
  return stroke;
}

/// The ways to write each class.
const std::array<std::vector<Allograph>, glyph_classes>& alphabet() {
  static const std::array<std::vector<Allograph>, glyph_classes> table = {{
      // 0: an oval; a lozenge; an oval left open at the top
      {{arc({0, 0}, 0.62, 0.95, 0, 360)},
       {line({{0, -0.95}, {0.62, 0}, {0, 0.95}, {-0.62, 0}, {0, -0.95}})},
       {arc({0, 0}, 0.6, 0.9, -60, 250)}},
      // 1: a bar; with a flag; with flag and foot
      {{line({{0, -0.95}, {0, 0.95}})},
       {line({{-0.45, -0.5}, {0.1, -0.95}, {0.1, 0.95}})},
       {line({{-0.35, -0.6}, {0, -0.95}, {0, 0.95}}), line({{-0.45, 0.95}, {0.45, 0.95}})}},
      // 2: angular; with a bow; with a bow and a loop at its foot
      {{line({{-0.55, -0.9}, {0.55, -0.9}, {-0.55, 0.9}, {0.55, 0.9}})},
       {arc({0, -0.4}, 0.55, 0.52, -170, 30), line({{0.48, -0.14}, {-0.6, 0.92}, {0.6, 0.92}})},
       {arc({0, -0.45}, 0.5, 0.5, -160, 60), line({{0.25, -0.02}, {-0.3, 0.75}}),
        arc({-0.35, 0.72}, 0.25, 0.2, -40, 300), line({{-0.2, 0.7}, {0.6, 0.9}})}},
      // 3: two bows; flat top; two angles
      {{arc({-0.1, -0.46}, 0.55, 0.47, -150, 90), arc({-0.1, 0.46}, 0.62, 0.48, -90, 150)},
       {line({{-0.55, -0.92}, {0.5, -0.92}, {-0.1, -0.2}}), arc({-0.1, 0.36}, 0.6, 0.56, -90, 145)},
       {line({{-0.5, -0.92}, {0.5, -0.55}, {-0.2, 0}, {0.55, 0.5}, {-0.5, 0.92}})}},
      // 4: open; closed; a chair without a back leg above the bar
      {{line({{-0.45, -0.92}, {-0.55, 0.15}, {0.6, 0.15}}), line({{0.3, -0.9}, {0.25, 0.95}})},
       {line({{0.3, 0.95}, {0.3, -0.95}, {-0.65, 0.35}, {0.65, 0.35}})},
       {line({{-0.5, -0.9}, {-0.5, 0.05}, {0.45, 0.05}}), line({{0.45, -0.6}, {0.45, 0.95}})}},
      // 5: with hat and belly; an S; angular
      {{line({{0.5, -0.92}, {-0.45, -0.92}, {-0.5, -0.1}}), arc({-0.08, 0.35}, 0.62, 0.56, -135, 140)},
       {arc({0, -0.46}, 0.52, 0.46, -30, -270), arc({0, 0.46}, 0.55, 0.47, -90, 150)},
       {line({{0.5, -0.9}, {-0.5, -0.9}, {-0.5, 0}, {0.5, 0}, {0.5, 0.9}, {-0.5, 0.9}})}},
      // 6: a bow into a loop; a straight stem with a loop; a spiral
      {{arc({0.55, 0.3}, 1.1, 1.25, -112, -180), arc({0, 0.42}, 0.53, 0.5, -180, 180)},
       {line({{-0.45, -0.95}, {-0.45, 0.5}}), arc({0.02, 0.45}, 0.48, 0.48, 0, 360)},
       {line({{0.35, -0.95}, {-0.5, 0.3}}), arc({0, 0.4}, 0.52, 0.52, -170, 190)}},
      // 7: plain; with a crossbar; with a serif and a bent stem
      {{line({{-0.55, -0.9}, {0.55, -0.9}, {-0.15, 0.95}})},
       {line({{-0.55, -0.9}, {0.55, -0.9}, {-0.1, 0.95}}), line({{-0.3, 0.02}, {0.5, 0.02}})},
       {line({{-0.55, -0.55}, {-0.5, -0.9}, {0.55, -0.9}, {0.1, 0.1}, {0.05, 0.95}})}},
      // 8: two loops; an hourglass; a small loop on a large one
      {{arc({0, -0.46}, 0.46, 0.46, -90, 270), arc({0, 0.46}, 0.54, 0.48, -90, 270)},
       {line({{-0.5, -0.92}, {0.5, -0.92}, {-0.5, 0.92}, {0.5, 0.92}, {-0.5, -0.92}})},
       {arc({0.05, -0.55}, 0.34, 0.38, 90, 450), arc({0, 0.38}, 0.58, 0.56, -90, 270)}},
      // 9: a loop with a bowed tail; with a straight stem; with a slanted stem
      {{arc({0, -0.42}, 0.53, 0.5, 0, 360), arc({-0.55, -0.3}, 1.1, 1.25, 0, 68)},
       {arc({-0.02, -0.45}, 0.48, 0.48, 0, 360), line({{0.45, -0.5}, {0.45, 0.95}})},
       {arc({0, -0.4}, 0.52, 0.52, 10, 370), line({{0.5, -0.3}, {-0.25, 0.95}})}},
  }};
  return table;
}

double between(PhiloxReader& random, double low, double high) { return low + (high - low) * random.uniform(); }

/// A smooth displacement field: one plane wave for each direction of displacement.
struct Distortion {
  explicit Distortion(PhiloxReader& random) {
    for (Wave& w : waves)
      w = {between(random, -2.2, 2.2), between(random, -2.2, 2.2), between(random, 0.0, 6.2831853),
           between(random, 0.0, 0.14)};
  }
  [[nodiscard]] Point operator()(Point p) const { return {p.x + waves[0].at(p), p.y + waves[1].at(p)}; }

 private:
  struct Wave {
    double fx, fy, phase, amplitude;
    [[nodiscard]] double at(Point p) const { return amplitude * std::sin(fx * p.x + fy * p.y + phase); }
  };
  std::array<Wave, 2> waves{};
};

/// From the glyph's box to pixels: proportions, shear, rotation, position.
struct Pose {
  explicit Pose(PhiloxReader& random) {
    const double height = between(random, 4.9, 6.4);
    const double width = height * between(random, 0.75, 1.15);
    const double angle = 0.15 * random.normal();
    const double shear = 0.15 * random.normal();
    const double c = std::cos(angle);
    const double s = std::sin(angle);
    xx = c * width;
    xy = (c * shear - s) * height;
    yx = s * width;
    yy = (s * shear + c) * height;
    x0 = 0.5 * (size - 1) + between(random, -1.1, 1.1);
    y0 = 0.5 * (size - 1) + between(random, -1.1, 1.1);
  }
  [[nodiscard]] Point operator()(Point p) const { return {x0 + xx * p.x + xy * p.y, y0 + yx * p.x + yy * p.y}; }

 private:
  double xx, xy, yx, yy, x0, y0;
};

/// Covers pixels within `radius` of the segment, with an edge one pixel wide; overlapping strokes do not add up.
void draw_segment(Canvas& ink, Point a, Point b, double radius, double strength) {
  const double reach = radius + 0.5;
  const int x_first = std::max(0, static_cast<int>(std::ceil(std::min(a.x, b.x) - reach)));
  const int x_last = std::min(size - 1, static_cast<int>(std::floor(std::max(a.x, b.x) + reach)));
  const int y_first = std::max(0, static_cast<int>(std::ceil(std::min(a.y, b.y) - reach)));
  const int y_last = std::min(size - 1, static_cast<int>(std::floor(std::max(a.y, b.y) + reach)));
  const double dx = b.x - a.x;
  const double dy = b.y - a.y;
  const double squared_length = std::max(dx * dx + dy * dy, 1e-12);
  for (int y = y_first; y <= y_last; ++y) {
    for (int x = x_first; x <= x_last; ++x) {
      const double t = std::clamp(((x - a.x) * dx + (y - a.y) * dy) / squared_length, 0.0, 1.0);
      const double ex = x - a.x - t * dx;
      const double ey = y - a.y - t * dy;
      const double cover = strength * std::clamp(reach - std::sqrt(ex * ex + ey * ey), 0.0, 1.0);
      double& pixel = ink[static_cast<std::size_t>(y * size + x)];
      pixel = std::max(pixel, cover);
    }
  }
}

void draw_glyph(Canvas& ink, const Allograph& glyph, PhiloxReader& random) {
  const Pose pose(random);
  const Distortion distort(random);
  const double radius = between(random, 0.45, 1.0);
  for (const Stroke& stroke : glyph) {
    // Each stroke sits a little beside its place, and some end early.
    const Point offset{0.06 * random.normal(), 0.06 * random.normal()};
    const double strength = between(random, 0.7, 1.0);
    const std::size_t missing = random.uniform() < 0.1 ? 1 : 0;
    const auto place = [&](Point p) { return pose(distort({p.x + offset.x, p.y + offset.y})); };
    for (std::size_t i = 1; i + missing < stroke.size(); ++i) {
      draw_segment(ink, place(stroke[i - 1]), place(stroke[i]), radius, strength);
    }
  }
}

/// Scratches that belong to no glyph.
void draw_clutter(Canvas& ink, PhiloxReader& random) {
  const std::uint64_t strokes = random.below(3);
  for (std::uint64_t i = 0; i < strokes; ++i) {
    const Point start{between(random, 0.0, size - 1.0), between(random, 0.0, size - 1.0)};
    const double angle = between(random, 0.0, 6.2831853);
    const double length = between(random, 1.5, 6.0);
    const Point end{start.x + length * std::cos(angle), start.y + length * std::sin(angle)};
    const double radius = between(random, 0.2, 0.7);
    const double strength = between(random, 0.4, 1.0);
    draw_segment(ink, start, end, radius, strength);
  }
}

void render(const Stream& stream, const std::vector<Allograph>& allographs, std::span<std::uint8_t> pixels) {
  PhiloxReader random(stream);
  Canvas ink{};
  draw_glyph(ink, allographs[random.below(allographs.size())], random);
  draw_clutter(ink, random);
  // Paper under uneven light, ink of some darkness, a noisy camera.
  const double paper = between(random, 0.05, 0.3);
  const double slope_x = between(random, -0.15, 0.15) / size;
  const double slope_y = between(random, -0.15, 0.15) / size;
  const double contrast = between(random, 0.4, 0.7);
  const double noise = between(random, 0.02, 0.09);
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const auto at = static_cast<std::size_t>(y * size + x);
      const double light = paper + slope_x * (x - 0.5 * size) + slope_y * (y - 0.5 * size);
      const double value = light + contrast * ink[at] + noise * random.normal();
      pixels[at] = static_cast<std::uint8_t>(std::lround(255.0 * std::clamp(value, 0.0, 1.0)));
    }
  }
}

void render_split(std::uint64_t seed, std::int64_t count, std::uint32_t first_step, const Context& context,
                  Samples& split) {
  constexpr std::int64_t pixels = glyph_size * glyph_size;
  split = Samples{.count = count,
                  .features = pixels,
                  .sample_shape = {1, glyph_size, glyph_size},
                  .bytes = {},
                  .floats = {},
                  .labels = {}};
  split.bytes.resize(static_cast<std::size_t>(count * pixels));
  split.labels.resize(static_cast<std::size_t>(count));
  alphabet();  // built before the threads ask for it
  constexpr std::int64_t block = 256;
  std::atomic<std::int64_t> next{0};
  const auto work = [&] {
    for (std::int64_t first = next.fetch_add(block); first < count && !context.stop.stop_requested();
         first = next.fetch_add(block)) {
      for (std::int64_t i = first; i < std::min(first + block, count); ++i) {
        const auto unit = static_cast<std::uint32_t>(i % glyph_classes);
        const Stream stream{.seed = seed,
                            .purpose = Purpose::synthetic,
                            .unit = unit,
                            .step = first_step + static_cast<std::uint32_t>(i / glyph_classes)};
        render(stream, alphabet()[unit], std::span(split.bytes).subspan(static_cast<std::size_t>(i * pixels), pixels));
        split.labels[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(unit);
      }
    }
  };
  const int wanted =
      context.threads > 0 ? context.threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const auto useful = static_cast<int>(std::min<std::int64_t>(wanted, (count + block - 1) / block));
  {
    std::vector<std::jthread> helpers;
    for (int t = 1; t < useful; ++t) helpers.emplace_back(work);
    work();
  }
  context.check_stop();
}

template <class Integer>
Integer parse_number(std::string_view key, std::string_view text, Integer low, Integer high) {
  Integer value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < low || value > high) {
    throw Error(ErrorCode::usage,
                fmt::format("synthetic:glyphs: {} expects an integer from {} to {}, found '{}'", key, low, high, text));
  }
  return value;
}

}  // namespace

GlyphOptions parse_glyph_options(std::string_view text) {
  constexpr std::int64_t most = 10'000'000;
  GlyphOptions options;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const std::string_view key = item.substr(0, item.find('='));
    const std::string_view value = item.size() > key.size() ? item.substr(key.size() + 1) : std::string_view{};
    if (key == "seed") {
      options.seed = parse_number<std::uint64_t>(key, value, 0, ~std::uint64_t{0});
    } else if (key == "train") {
      options.train = parse_number<std::int64_t>(key, value, 2, most);
    } else if (key == "test") {
      options.test = parse_number<std::int64_t>(key, value, 1, most);
    } else {
      throw Error(ErrorCode::usage,
                  fmt::format("synthetic:glyphs has the options seed, train and test, found '{}'", item));
    }
  }
  return options;
}

void render_glyphs(const GlyphOptions& options, const Context& context, Samples& train, Samples& test) {
  constexpr std::uint32_t test_steps = 0x80000000U;  // samples of the two splits never share a stream
  render_split(options.seed, options.train, 0, context, train);
  render_split(options.seed, options.test, test_steps, context, test);
}

}  // namespace kindling
