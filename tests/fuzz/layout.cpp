// Layouts of images, dropout, counts of active units.
#include "kernels/layout.h"

#include "fuzz/draws.h"
#include "fuzz/fuzz.h"
#include "kernels/activity.h"
#include "kernels/dropout.h"

namespace kindling::fuzz {
namespace {

void transpose(Case& c) {
  const std::int64_t n = c.extent(8), channels = c.extent(40, 1), positions = c.extent(90);
  const bool planar = c.chance(0.5);
  auto x = c.normals(n, channels * positions), y = c.output<float>(n, channels * positions);
  c.spoil(x);
  c.run(
      [&] {
        if (planar)
          kernels::planar_to_channels_last(c.execution, x.in(), channels, y.view());
        else
          kernels::channels_last_to_planar(c.execution, x.in(), channels, y.view());
      },
      y);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t k = 0; k < channels; ++k) {
      for (std::int64_t p = 0; p < positions; ++p) {
        const std::int64_t outer = k * positions + p, inner = p * channels + k;
        c.expect(y(i, planar ? inner : outer), x(i, planar ? outer : inner), 0, "y", k, p);
      }
    }
  }
}

void patches(Case& c) {
  kernels::PatchShape s{.height = c.extent(9, 1), .width = c.extent(9, 1), .channels = c.extent(20, 1)};
  s.padding = c.below(3);
  s.stride = 1 + c.below(3);
  s.kernel_height = 1 + c.below(std::min<std::int64_t>(5, s.height + 2 * s.padding));
  s.kernel_width = 1 + c.below(std::min<std::int64_t>(5, s.width + 2 * s.padding));
  const std::int64_t n = c.extent(4);
  while (n * s.positions() * s.fan_in() > 60000) s.channels = s.channels / 2 + 1;
  auto x = c.normals(n, s.height * s.width * s.channels);
  auto rows = Array<float>::adjacent(c, n * s.positions(), s.fan_in());
  rows.fill([] { return 1e30; });
  c.spoil(x);
  c.run([&] { kernels::patches(c.execution, x.in(), s, rows.view()); }, rows);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t p = 0; p < s.positions(); ++p) {
      for (std::int64_t e = 0; e < s.fan_in(); ++e) {
        const std::int64_t kx = e % s.kernel_width, ky = e / s.kernel_width % s.kernel_height;
        const std::int64_t channel = e / (s.kernel_width * s.kernel_height);
        const std::int64_t y = p / s.out_width() * s.stride - s.padding + ky;
        const std::int64_t at = p % s.out_width() * s.stride - s.padding + kx;
        const bool inside = y >= 0 && y < s.height && at >= 0 && at < s.width;
        const double expected = inside ? x(i, (y * s.width + at) * s.channels + channel) : 0;
        c.expect(rows(i * s.positions() + p, e), expected, 0, "patch", i * s.positions() + p, e);
      }
    }
  }
}

void dropout(Case& c) {
  const std::int64_t n = c.extent(80), k = c.long_extent(150, 3000, std::max<std::int64_t>(n, 1));
  auto x = c.normals(n, k), y = c.output<float>(n, k);
  c.spoil(x);
  const Stream stream = draw_stream(c);
  const double rate = c.chance(0.1) ? 0 : c.uniform(0, 0.9);
  const bool in_place = c.chance(0.3);
  if (in_place) y = x;
  // Another mask.
  const double used = c.mutation == Mutation::wrong_mask ? rate * 0.9 : rate;
  c.run([&] { kernels::dropout(c.execution, in_place ? y.in() : x.in(), stream, used, y.view()); }, y);
  const auto threshold = static_cast<std::uint64_t>(std::round(rate * 0x1p32));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < k; ++j) {
      const auto block = static_cast<std::uint32_t>(i * ((k + 3) / 4) + j / 4);
      const bool dropped = philox_block(stream, block)[static_cast<std::size_t>(j % 4)] < threshold;
      const double expected = dropped ? 0.0 * x(i, j) : x(i, j) / (1 - rate);
      c.expect(y(i, j), expected, 2.01 * eps * std::abs(expected), "y", i, j);
    }
  }
}

void active_counts(Case& c) {
  const std::int64_t m = c.extent(80), n = c.long_extent(90, 3000, std::max<std::int64_t>(m, 1));
  auto y = c.normals(n, m, 1.0, c.chance(0.5) ? 0.0 : c.uniform(-1, 1));
  c.spoil(y);
  auto used = y;
  // The mask takes zeros as well.
  if (c.mutation == Mutation::wrong_mask)
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < m; ++j) used(i, j) = y(i, j) == 0 ? 1.0F : y(i, j);
  auto counts = c.output<std::int32_t>(m);
  c.run([&] { kernels::active_counts(c.execution, used.in(), counts.flat()); }, counts);
  for (std::int64_t j = 0; j < m; ++j) {
    double expected = 0;
    for (std::int64_t i = 0; i < n; ++i) expected += y(i, j) > 0 ? 1 : 0;
    c.expect(counts[j], expected, 0, "count", j);
  }
}

[[maybe_unused]] const bool all[] = {fuzz("transpose_samples", transpose), fuzz("patches", patches),
                                     fuzz("dropout", dropout), fuzz("active_counts", active_counts)};

}  // namespace
}  // namespace kindling::fuzz
