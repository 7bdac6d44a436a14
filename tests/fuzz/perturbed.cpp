// Dense layers whose parameters are perturbed anew for every sample.
#include "kernels/perturbed.h"

#include "fuzz/draws.h"
#include "fuzz/fuzz.h"

namespace kindling::fuzz {
namespace {

struct Problem {
  std::int64_t samples, batch, fan_in, fan_out;
  kernels::Perturbation law;
  Array<float> w;

  explicit Problem(Case& c)
      : samples(c.extent(4)),
        batch(c.extent(20)),
        fan_in(c.extent(40, 1)),
        fan_out(c.extent(40)),
        law{draw_stream(c), c.scalar(0.05, 1), c.scalar(0.05, 1)},
        w(c, 0, 0) {
    // Every weight of every sample is drawn again for the reference.
    while (samples * fan_in * fan_out > 2500) fan_out /= 2;
    if (c.chance(0.1)) fan_in = 300 + c.below(300), fan_out = std::min<std::int64_t>(fan_out, 3);
    w = c.normals(fan_out, fan_in, std::pow(static_cast<double>(fan_in), -0.5));
  }
  [[nodiscard]] Array<float> each(Case& c, std::int64_t cols) const {
    return Array<float>::adjacent(c, samples, batch * cols);
  }
  [[nodiscard]] TensorView view(Array<float>& a, std::int64_t cols) const {
    return TensorView(a.data(), {samples, batch, cols});
  }
  // Number k of a run of normals that begins at block `first` of sample s, scaled and added to `base`; the sum is
  // rounded.
  [[nodiscard]] Bounded moved(double base, float stddev, std::int64_t s, std::int64_t first, std::int64_t k) const {
    const std::int64_t block = s * kernels::perturbation_blocks(fan_in, fan_out) + first + k / 4;
    const Bounded z =
        normal_of(philox_block(law.stream, static_cast<std::uint32_t>(block)), static_cast<std::size_t>(k % 4));
    const double part = stddev * z.value;
    return {base + part, stddev * z.bound + eps * (2 * std::abs(part) + std::abs(base + part))};
  }
  // Perturbed weights of a sample, fan_out x fan_in.
  [[nodiscard]] std::vector<Bounded> weights(std::int64_t s) {
    std::vector<Bounded> all;
    for (std::int64_t j = 0; j < fan_out; ++j)
      for (std::int64_t k = 0; k < fan_in; ++k)
        all.push_back(moved(w(j, k), law.weight_stddev, s, j * ((fan_in + 3) / 4), k));
    return all;
  }
};

// Adds x * w to a sum whose bound gets what w is off by.
void add(Sum& sum, double& error, double x, const Bounded& w) {
  sum.add(x * w.value);
  error += std::abs(x) * w.bound;
}

void forward(Case& c, std::string_view form) {
  Problem p(c);
  const Activation activation = draw_activation(c, form);
  const bool shared = c.chance(0.4);
  auto x = shared ? c.normals(p.batch, p.fan_in) : p.each(c, p.fan_in).fill([&] { return c.normal(); });
  auto bias = c.normals(p.fan_out), y = p.each(c, p.fan_out);
  y.fill([] { return 1e30; });
  c.spoil(x, p.w, bias);
  auto used = bias;
  if (c.mutation == Mutation::stale_bias && p.fan_out > 0) used[p.fan_out - 1] = 5;
  c.run(
      [&] {
        const ConstTensorView inputs = shared ? x.in() : ConstTensorView(p.view(x, p.fan_in));
        kernels::perturbed_dense_forward(c.execution, p.law, inputs, p.w.in(), used.cflat(), mutated(c, activation),
                                         p.view(y, p.fan_out));
      },
      y);
  for (std::int64_t s = 0; s < p.samples; ++s) {
    const std::vector<Bounded> w = p.weights(s);
    for (std::int64_t j = 0; j < p.fan_out; ++j) {
      const Bounded b = p.moved(bias[j], p.law.bias_stddev, s, p.fan_out * ((p.fan_in + 3) / 4), j);
      for (std::int64_t i = 0; i < p.batch; ++i) {
        Sum z;
        double error = 0;
        add(z, error, 1, b);
        for (std::int64_t k = 0; k < p.fan_in; ++k)
          add(z, error, shared ? x(i, k) : x(s, i * p.fan_in + k), w[static_cast<std::size_t>(j * p.fan_in + k)]);
        Bounded expected = activated(activation, z, p.fan_in);
        expected.bound += std::isinf(z.value) ? 0 : 1.01 * error;
        c.expect(y(s, i * p.fan_out + j), expected, "y", i, j);
      }
    }
  }
}

void input_gradient(Case& c, std::string_view form) {
  Problem p(c);
  const Activation below = draw_activation(c, form);
  auto dz = p.each(c, p.fan_out).fill([&] { return c.normal(); }), x = p.each(c, p.fan_in), dx = p.each(c, p.fan_in);
  x.fill([&] { return apply(below, c.normal()); });
  x.bounded = !form.empty();
  dx.fill([] { return 1e30; });
  c.spoil(dz, p.w, x);
  auto used = dz;
  if (c.mutation == Mutation::dropped_term && dz.rows() * dz.cols() > 0) used(p.samples - 1, dz.cols() - 1) = 0;
  c.run(
      [&] {
        kernels::perturbed_input_gradient(c.execution, p.law, p.view(used, p.fan_out), p.w.in(), p.view(x, p.fan_in),
                                          mutated(c, below), p.view(dx, p.fan_in));
      },
      dx);
  for (std::int64_t s = 0; s < p.samples; ++s) {
    const std::vector<Bounded> w = p.weights(s);
    for (std::int64_t i = 0; i < p.batch; ++i) {
      for (std::int64_t k = 0; k < p.fan_in; ++k) {
        Sum g;
        double error = 0;
        for (std::int64_t j = 0; j < p.fan_out; ++j)
          add(g, error, dz(s, i * p.fan_out + j), w[static_cast<std::size_t>(j * p.fan_in + k)]);
        Bounded expected = through_derivative(below, x(s, i * p.fan_in + k), g, p.fan_out);
        if (std::isfinite(g.value)) expected.bound += 1.01 * error;
        c.expect(dx(s, i * p.fan_in + k), expected, "dx", i, k);
      }
    }
  }
}

[[maybe_unused]] const bool all[] = {
    fuzz("perturbed_dense_forward", [](Case& c) { forward(c, ""); }),
    fuzz("perturbed_dense_forward_tanh", [](Case& c) { forward(c, "tanh"); }),
    fuzz("perturbed_dense_forward_sigmoid", [](Case& c) { forward(c, "sigmoid"); }),
    fuzz("perturbed_input_gradient", [](Case& c) { input_gradient(c, ""); }),
    fuzz("perturbed_input_gradient_tanh", [](Case& c) { input_gradient(c, "tanh"); }),
    fuzz("perturbed_input_gradient_sigmoid", [](Case& c) { input_gradient(c, "sigmoid"); })};

}  // namespace
}  // namespace kindling::fuzz
