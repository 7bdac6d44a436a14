// Pooling of images and its gradients.
#include "kernels/pool.h"

#include "fuzz/fuzz.h"

namespace kindling::fuzz {
namespace {

using kernels::PoolShape;

struct Problem {
  PoolShape s;
  std::int64_t samples;

  explicit Problem(Case& c, std::int64_t largest = 5) : samples(c.extent(6)) {
    s = {.height = c.extent(11, 1), .width = c.extent(11, 1), .channels = c.extent(40, 1)};
    s.window_height = 1 + c.below(std::min(s.height, largest));
    s.window_width = 1 + c.below(std::min(s.width, largest));
    s.padding = c.below(std::min(s.window_height, s.window_width) / 2 + 1);
    s.stride = 1 + c.below(largest - 1);
    if (s.height >= 3 && s.width >= 3 && c.chance(0.4)) draw_usual_window(c);
    while (samples * s.in_features() > 8000) s.channels = s.channels / 2 + 1;
  }
  // Windows that kernels unroll.
  void draw_usual_window(Case& c) {
    constexpr std::int64_t windows[][3] = {{2, 2, 0}, {3, 2, 1}, {3, 2, 0}, {3, 1, 1}};
    const auto& [window, stride, padding] = windows[c.below(4)];
    s.window_height = s.window_width = window;
    s.stride = stride;
    s.padding = padding;
  }
  // Calls visit(sample, row, column, channel, position in the row of outputs).
  template <class Visit>
  void windows(const Visit& visit) const {
    for (std::int64_t n = 0; n < samples; ++n)
      for (std::int64_t y = 0; y < s.out_height(); ++y)
        for (std::int64_t x = 0; x < s.out_width(); ++x)
          for (std::int64_t k = 0; k < s.channels; ++k) visit(n, y, x, k, (y * s.out_width() + x) * s.channels + k);
  }
  // Calls visit(place in the window, position in the row of inputs) for what of a window lies inside the image.
  template <class Visit>
  void window(std::int64_t y, std::int64_t x, std::int64_t k, const Visit& visit) const {
    for (std::int64_t wy = 0; wy < s.window_height; ++wy) {
      for (std::int64_t wx = 0; wx < s.window_width; ++wx) {
        const std::int64_t iy = y * s.stride - s.padding + wy, ix = x * s.stride - s.padding + wx;
        if (iy < 0 || iy >= s.height || ix < 0 || ix >= s.width) continue;
        visit(wy * s.window_width + wx, (iy * s.width + ix) * s.channels + k);
      }
    }
  }
};

void max_forward(Case& c, bool with_index) {
  const Problem p(c);
  // Few values, so that windows have several maxima.
  Array<float> x(c, p.samples, p.s.in_features());
  const bool coarse = c.chance(0.5);
  x.fill([&] { return coarse ? static_cast<double>(c.below(3)) : c.normal() - 1; });
  c.spoil(x);
  auto y = c.output<float>(p.samples, p.s.out_features());
  Array<std::uint8_t> index(c, with_index ? p.samples * p.s.out_features() : 0);
  index.fill([] { return 255; });
  c.run(
      [&] {
        if (with_index)
          kernels::max_pool_forward(c.execution, x.in(), p.s, y.view(), index.flat());
        else
          kernels::max_pool_inference(c.execution, x.in(), p.s, y.view());
      },
      y, index);
  p.windows([&](auto n, auto oy, auto ox, auto k, auto at) {
    double best = 0;
    std::int64_t place = -1;
    p.window(oy, ox, k, [&](auto w, auto i) {
      const double v = x(n, i);
      if (place < 0 || v > best || (std::isnan(v) && !std::isnan(best))) best = v, place = w;
    });
    c.expect(y(n, at), best, 0, "y", n, at);
    if (with_index) c.expect(index[n * p.s.out_features() + at], static_cast<double>(place), 0, "index", n, at);
  });
}

// A place for every window, some beyond it.
Array<std::uint8_t> draw_places(Case& c, const Problem& p, bool beyond) {
  Array<std::uint8_t> index(c, p.samples * p.s.out_features());
  p.windows([&](auto n, auto oy, auto ox, auto k, auto at) {
    std::vector<std::int64_t> inside;
    p.window(oy, ox, k, [&](auto w, auto) { inside.push_back(w); });
    const auto place = inside[static_cast<std::size_t>(c.below(static_cast<std::int64_t>(inside.size())))];
    const bool far = beyond && c.below(8) == 0;
    index[n * p.s.out_features() + at] =
        static_cast<std::uint8_t>(far ? p.s.window_height * p.s.window_width + c.below(100) : place);
  });
  return index;
}

void max_take(Case& c) {
  const Problem p(c);
  auto x = c.normals(p.samples, p.s.in_features()), y = c.output<float>(p.samples, p.s.out_features());
  c.spoil(x);
  auto index = draw_places(c, p, true);
  c.run([&] { kernels::max_pool_take(c.execution, x.in(), index.cflat(), p.s, y.view()); }, y);
  p.windows([&](auto n, auto oy, auto ox, auto k, auto at) {
    double expected = 0;
    p.window(oy, ox, k, [&](auto w, auto i) {
      if (w == index[n * p.s.out_features() + at]) expected = x(n, i);
    });
    c.expect(y(n, at), expected, 0, "y", n, at);
  });
}

void max_gradient(Case& c) {
  const Problem p(c, 3);
  auto dy = c.normals(p.samples, p.s.out_features()), dx = c.output<float>(p.samples, p.s.in_features());
  c.spoil(dy);
  auto index = draw_places(c, p, false);
  std::vector<Sum> expected(static_cast<std::size_t>(p.samples * p.s.in_features()));
  p.windows([&](auto n, auto oy, auto ox, auto k, auto at) {
    p.window(oy, ox, k, [&](auto w, auto i) {
      if (w == index[n * p.s.out_features() + at])
        expected[static_cast<std::size_t>(n * p.s.in_features() + i)].add(dy(n, at));
    });
  });
  auto used = dy;
  if (c.mutation == Mutation::dropped_term && p.samples > 0) used(p.samples - 1, dy.cols() - 1) = 0;
  c.run([&] { kernels::max_pool_gradient(c.execution, used.in(), index.cflat(), p.s, dx.view()); }, dx);
  const std::int64_t terms = p.s.window_height * p.s.window_width;
  for (std::int64_t n = 0; n < p.samples; ++n) {
    for (std::int64_t i = 0; i < p.s.in_features(); ++i) {
      const Sum& g = expected[static_cast<std::size_t>(n * p.s.in_features() + i)];
      c.expect(dx(n, i), g.value, sum_bound(terms, g), "dx", n, i);
    }
  }
}

void average_forward(Case& c) {
  const Problem p(c);
  auto x = c.normals(p.samples, p.s.in_features()), y = c.output<float>(p.samples, p.s.out_features());
  c.spoil(x);
  auto used = x;
  if (c.mutation == Mutation::dropped_term && p.samples > 0) used(p.samples - 1, x.cols() / 2) = 0;
  c.run([&] { kernels::average_pool_forward(c.execution, used.in(), p.s, y.view()); }, y);
  const std::int64_t area = p.s.window_height * p.s.window_width;
  p.windows([&](auto n, auto oy, auto ox, auto k, auto at) {
    Sum sum;
    p.window(oy, ox, k, [&](auto, auto i) { sum.add(x(n, i) / static_cast<double>(area)); });
    c.expect(y(n, at), sum.value, sum_bound(area, sum), "y", n, at);
  });
}

void average_gradient(Case& c) {
  const Problem p(c);
  constexpr std::string_view forms[] = {"", "", "tanh", "sigmoid"};
  const Activation below = draw_activation(c, forms[c.below(4)]);
  auto dy = c.normals(p.samples, p.s.out_features()), dx = c.output<float>(p.samples, p.s.in_features());
  auto x = draw_outputs(c, below, p.samples, p.s.in_features());
  c.spoil(dy, x);
  c.run([&] { kernels::average_pool_gradient(c.execution, dy.in(), x.in(), mutated(c, below), p.s, dx.view()); }, dx);
  std::vector<Sum> expected(static_cast<std::size_t>(p.samples * p.s.in_features()));
  const std::int64_t area = p.s.window_height * p.s.window_width;
  p.windows([&](auto n, auto oy, auto ox, auto k, auto at) {
    p.window(oy, ox, k, [&](auto, auto i) {
      expected[static_cast<std::size_t>(n * p.s.in_features() + i)].add(dy(n, at) / static_cast<double>(area));
    });
  });
  for (std::int64_t n = 0; n < p.samples; ++n) {
    for (std::int64_t i = 0; i < p.s.in_features(); ++i) {
      const Sum& g = expected[static_cast<std::size_t>(n * p.s.in_features() + i)];
      // The identity's derivative is 1 whatever x: x is not read.
      const double y = below.kind == ActivationKind::identity ? 0 : x(n, i);
      c.expect(dx(n, i), through_derivative(below, y, g, area + 1), "dx", n, i);
    }
  }
}

[[maybe_unused]] const bool all[] = {fuzz("max_pool_forward", [](Case& c) { max_forward(c, true); }),
                                     fuzz("max_pool_inference", [](Case& c) { max_forward(c, false); }),
                                     fuzz("max_pool_gradient", max_gradient),
                                     fuzz("max_pool_take", max_take),
                                     fuzz("average_pool_forward", average_forward),
                                     fuzz("average_pool_gradient", average_gradient)};

}  // namespace
}  // namespace kindling::fuzz
