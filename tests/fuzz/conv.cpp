// The 2-d convolution and its gradients.
#include "kernels/conv.h"

#include "fuzz/fuzz.h"
#include "support/winograd_reference.h"

namespace kindling::fuzz {
namespace {

// A shape of some ten thousand products, samples included.
struct Problem {
  kernels::ConvShape s;
  std::int64_t samples;
  bool filtered = false;

  // `winograd`: mostly one that is computed by Winograd's filtering, else one that may be.
  Problem(Case& c, kernels::ConvPass pass, bool winograd) : samples(c.extent(5)) {
    if (winograd && c.chance(0.9)) {
      const std::int64_t least = c.execution.target->gpu ? 64 : pass == kernels::ConvPass::weight_gradient ? 32 : 16;
      s = {.height = 2 + c.below(5),
           .width = 2 + c.below(5),
           .channels_in = least + c.below(c.chance(0.2) ? 40 : 4),
           .channels_out = least + c.below(c.chance(0.2) ? 40 : 4),
           .kernel_height = 3,
           .kernel_width = 3};
      s.padding = c.below(3);
      if (s.height + 2 * s.padding < 3) s.padding = 1;
      if (s.width + 2 * s.padding < 3) s.padding = 1;
      while (samples < 40 && !kernels::by_winograd(*c.execution.target, pass, s, samples)) ++samples;
      if (samples == 40) samples = 2;
      filtered = kernels::by_winograd(*c.execution.target, pass, s, samples);
      return;
    }
    s = {.height = c.extent(9, 1),
         .width = c.extent(9, 1),
         .channels_in = c.extent(40, 1),
         .channels_out = c.extent(40, 1)};
    s.padding = c.below(3);
    s.stride = 1 + c.below(3);
    s.kernel_height = 1 + c.below(std::min<std::int64_t>(5, s.height + 2 * s.padding));
    s.kernel_width = 1 + c.below(std::min<std::int64_t>(5, s.width + 2 * s.padding));
    const std::int64_t budget = c.execution.target->gpu ? 15000 : 60000;
    while (samples * s.out_features() * s.fan_in() > budget) {
      std::int64_t& largest = s.channels_in > s.channels_out ? s.channels_in : s.channels_out;
      (largest > 2 ? largest : samples) /= 2;
    }
    filtered = kernels::by_winograd(*c.execution.target, pass, s, samples);
  }
  static bool inside(std::int64_t height, std::int64_t width, std::int64_t y, std::int64_t x) {
    return y >= 0 && y < height && x >= 0 && x < width;
  }
  // Pixel (y, x) of a matrix of images, 0 outside.
  static double pixel(Array<float>& images, std::int64_t n, std::int64_t height, std::int64_t width, std::int64_t y,
                      std::int64_t x, std::int64_t channel) {
    if (!inside(height, width, y, x)) return 0;
    return images(n, (y * width + x) * (images.cols() / (height * width)) + channel);
  }
  double input(Array<float>& x, std::int64_t n, std::int64_t oy, std::int64_t ox, std::int64_t ky, std::int64_t kx,
               std::int64_t channel) const {
    return pixel(x, n, s.height, s.width, oy * s.stride - s.padding + ky, ox * s.stride - s.padding + kx, channel);
  }
  [[nodiscard]] std::int64_t weight(std::int64_t channel, std::int64_t ky, std::int64_t kx) const {
    return (channel * s.kernel_height + ky) * s.kernel_width + kx;
  }
  // Calls visit(channel, ky, kx).
  template <class Visit>
  void taps(std::int64_t channels, const Visit& visit) const {
    for (std::int64_t channel = 0; channel < channels; ++channel)
      for (std::int64_t ky = 0; ky < s.kernel_height; ++ky)
        for (std::int64_t kx = 0; kx < s.kernel_width; ++kx) visit(channel, ky, kx);
  }
  // Calls visit(sample, row, column, channel).
  template <class Visit>
  void pixels(std::int64_t height, std::int64_t width, std::int64_t channels, const Visit& visit) const {
    for (std::int64_t n = 0; n < samples; ++n)
      for (std::int64_t y = 0; y < height; ++y)
        for (std::int64_t x = 0; x < width; ++x)
          for (std::int64_t channel = 0; channel < channels; ++channel) visit(n, y, x, channel);
  }
};

// The sum over a window. What lies in the border adds nothing; a weight there that is not finite may make the sum NaN,
// or not: tiles skip rows of the window that are border for all their pixels.
struct WindowSum {
  Sum sum;
  bool unclear = false;

  void add(bool inside, double pixel, double weight) {
    if (inside) sum.add(pixel * weight);
    unclear = unclear || (!inside && !std::isfinite(weight));
  }
  [[nodiscard]] bool allows(double found) const { return unclear && std::isnan(found); }
};

// What needs no closer look.
bool near(double found, const Bounded& expected) { return std::abs(found - expected.value) <= expected.bound; }

// Winograd's filtering: the sum's errors are relative to what the tile of 2 x 2 pixels that (y, x) belongs to adds up,
// and any number there that is not finite may make it NaN.
template <class Image, class Weight>
void filter(WindowSum& z, std::int64_t channels, std::int64_t y, std::int64_t x, const Image& image,
            const Weight& weight) {
  const double sum = test::filtered_magnitude(channels, y, x, image, weight);
  z.unclear = z.unclear || !std::isfinite(sum);
  z.sum.magnitude = std::max(z.sum.magnitude, sum);
}

// Weights of which the last is lost.
Array<float> used_weights(Case& c, Array<float> w) {
  if (c.mutation == Mutation::dropped_term) w(w.rows() - 1, w.cols() - 1) = 0;
  return w;
}

void forward(Case& c, std::string_view form, bool winograd) {
  const Problem p(c, kernels::ConvPass::forward, winograd);
  const auto& s = p.s;
  const Activation activation = draw_activation(c, form);
  auto x = c.normals(p.samples, s.in_features());
  auto w = c.normals(s.channels_out, s.fan_in(), std::pow(static_cast<double>(s.fan_in()), -0.5));
  auto bias = c.normals(s.channels_out), y = c.output<float>(p.samples, s.out_features());
  c.spoil(x, w, bias);
  auto used_bias = bias, used_w = used_weights(c, w);
  if (c.mutation == Mutation::stale_bias) used_bias[s.channels_out - 1] = 0.25F;
  c.run(
      [&] {
        kernels::conv2d_forward(c.execution, x.in(), used_w.in(), used_bias.cflat(), mutated(c, activation), s,
                                y.view());
      },
      y);
  p.pixels(s.out_height(), s.out_width(), s.channels_out, [&](auto n, auto oy, auto ox, auto o) {
    WindowSum z;
    z.sum.add(bias[o]);
    p.taps(s.channels_in, [&](auto channel, auto ky, auto kx) {
      const bool inside =
          Problem::inside(s.height, s.width, oy * s.stride - s.padding + ky, ox * s.stride - s.padding + kx);
      z.add(inside, p.input(x, n, oy, ox, ky, kx, channel), w(o, p.weight(channel, ky, kx)));
    });
    const std::int64_t at = (oy * s.out_width() + ox) * s.channels_out + o;
    const std::int64_t terms = p.filtered ? s.channels_in + test::winograd_roundings : s.fan_in();
    if (p.filtered && !near(y(n, at), activated(activation, z.sum, terms))) {
      filter(
          z, s.channels_in, oy, ox,
          [&](auto row, auto col, auto channel) { return p.input(x, n, 0, 0, row, col, channel); },
          [&](auto channel, auto ky, auto kx) { return w(o, p.weight(channel, ky, kx)); });
    }
    if (!z.allows(y(n, at))) c.expect(y(n, at), activated(activation, z.sum, terms), "y", n, at);
  });
}

void input_gradient(Case& c, std::string_view form, bool winograd) {
  const Problem p(c, kernels::ConvPass::input_gradient, winograd);
  const auto& s = p.s;
  const Activation below = draw_activation(c, form);
  auto dz = c.normals(p.samples, s.out_features()), w = c.normals(s.channels_out, s.fan_in());
  auto x = draw_outputs(c, below, p.samples, s.in_features()), dx = c.output<float>(p.samples, s.in_features());
  c.spoil(dz, w, x);
  auto used_w = used_weights(c, w);
  c.run(
      [&] {
        kernels::conv2d_input_gradient(c.execution, dz.in(), used_w.in(), x.in(), mutated(c, below), s, dx.view());
      },
      dx);
  const std::int64_t terms =
      p.filtered ? s.channels_out + test::winograd_roundings : s.channels_out * s.kernel_height * s.kernel_width;
  p.pixels(s.height, s.width, s.channels_in, [&](auto n, auto iy, auto ix, auto channel) {
    WindowSum g;
    // The zeros between the pixels of dZ are numbers, too.
    p.taps(s.channels_out, [&](auto o, auto ky, auto kx) {
      const std::int64_t y = iy + s.padding - ky, x_at = ix + s.padding - kx;
      const bool there = y >= 0 && x_at >= 0 && y % s.stride == 0 && x_at % s.stride == 0;
      const double gradient =
          there ? Problem::pixel(dz, n, s.out_height(), s.out_width(), y / s.stride, x_at / s.stride, o) : 0;
      const bool between =
          Problem::inside((s.out_height() - 1) * s.stride + 1, (s.out_width() - 1) * s.stride + 1, y, x_at);
      g.add(between, gradient, w(o, p.weight(channel, ky, kx)));
    });
    const std::int64_t at = (iy * s.width + ix) * s.channels_in + channel;
    if (p.filtered && !near(dx(n, at), through_derivative(below, x(n, at), g.sum, terms))) {
      filter(
          g, s.channels_out, iy, ix,
          [&](auto row, auto col, auto o) {
            const std::int64_t ahead = 2 - s.padding;
            return Problem::pixel(dz, n, s.out_height(), s.out_width(), row - ahead, col - ahead, o);
          },
          [&](auto o, auto ky, auto kx) { return w(o, p.weight(channel, 2 - ky, 2 - kx)); });
    }
    if (!g.allows(dx(n, at))) c.expect(dx(n, at), through_derivative(below, x(n, at), g.sum, terms), "dx", n, at);
  });
}

void weight_gradient(Case& c, bool winograd) {
  const Problem p(c, kernels::ConvPass::weight_gradient, winograd);
  const auto& s = p.s;
  auto x = c.normals(p.samples, s.in_features()), dz = c.normals(p.samples, s.out_features());
  auto dw = c.output<float>(s.channels_out, s.fan_in()), db = c.output<float>(s.channels_out);
  c.spoil(x, dz);
  auto used = dz;
  if (c.mutation == Mutation::dropped_term && p.samples > 0) used(p.samples - 1, s.out_features() - 1) = 0;
  c.run([&] { kernels::conv2d_weight_gradient(c.execution, x.in(), used.in(), s, dw.view(), db.flat()); }, dw, db);
  const std::int64_t terms = p.samples * s.out_height() * s.out_width();
  const auto sum = [&](std::int64_t o, const auto& input) {
    Sum g;
    for (std::int64_t n = 0; n < p.samples; ++n)
      for (std::int64_t oy = 0; oy < s.out_height(); ++oy)
        for (std::int64_t ox = 0; ox < s.out_width(); ++ox)
          g.add(dz(n, (oy * s.out_width() + ox) * s.channels_out + o) * input(n, oy, ox));
    return g;
  };
  for (std::int64_t o = 0; o < s.channels_out; ++o) {
    const Sum bias = sum(o, [](auto, auto, auto) { return 1.0; });
    c.expect(db[o], bias.value, sum_bound(terms, bias), "db", o);
    p.taps(s.channels_in, [&](auto channel, auto ky, auto kx) {
      Sum g = sum(o, [&](auto n, auto oy, auto ox) { return p.input(x, n, oy, ox, ky, kx, channel); });
      bool unclear = false;
      const std::int64_t at = p.weight(channel, ky, kx);
      const std::int64_t roundings = p.filtered ? terms + test::winograd_roundings : terms;
      if (p.filtered && !near(dw(o, at), {g.value, sum_bound(roundings, g)})) {
        const double filtered = test::filtered_gradient_magnitude(
            p.samples, s.out_height(), s.out_width(), ky, kx,
            [&](auto n, auto row, auto col) { return p.input(x, n, 0, 0, row, col, channel); },
            [&](auto n, auto row, auto col) {
              return Problem::pixel(dz, n, s.out_height(), s.out_width(), row, col, o);
            });
        unclear = !std::isfinite(filtered);
        g.magnitude = std::max(g.magnitude, filtered);
      }
      if (!(unclear && std::isnan(dw(o, at)))) c.expect(dw(o, at), g.value, sum_bound(roundings, g), "dw", o, at);
    });
  }
}

bool fuzz_forms(const std::string& name, void (*function)(Case&, std::string_view, bool), bool winograd) {
  fuzz(name, [=](Case& c) { function(c, "", winograd); });
  fuzz(name + "_tanh", [=](Case& c) { function(c, "tanh", winograd); });
  return fuzz(name + "_sigmoid", [=](Case& c) { function(c, "sigmoid", winograd); });
}

[[maybe_unused]] const bool all[] = {
    fuzz_forms("conv2d_forward", forward, false),
    fuzz_forms("conv2d_input_gradient", input_gradient, false),
    fuzz("conv2d_weight_gradient", [](Case& c) { weight_gradient(c, false); }),
    fuzz_forms("conv2d_winograd_forward", forward, true),
    fuzz_forms("conv2d_winograd_input_gradient", input_gradient, true),
    fuzz("conv2d_winograd_weight_gradient", [](Case& c) { weight_gradient(c, true); }),
};

}  // namespace
}  // namespace kindling::fuzz
