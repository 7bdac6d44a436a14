// Batch normalisation of matrices and of images with channels last.
#include "kernels/batch_norm.h"

#include "fuzz/fuzz.h"

namespace kindling::fuzz {
namespace {

// Samples x positions x channels: with one position strided rows of features, with more adjacent images.
struct Layout {
  std::int64_t samples, positions, channels, rows;

  explicit Layout(Case& c) : samples(0), positions(c.chance(0.5) ? 1 : c.extent(20, 1)), channels(c.extent(60, 1)) {
    samples = c.long_extent(60, 900, positions * channels, 1);
    rows = samples * positions;
  }
  [[nodiscard]] Array<float> matrix(Case& c) const {
    return positions == 1 ? Array<float>(c, samples, channels)
                          : Array<float>::adjacent(c, samples, positions * channels);
  }
  [[nodiscard]] Array<float> normals(Case& c, double mean = 0, double scale = 1) const {
    auto a = matrix(c);
    a.fill([&] { return mean + scale * c.normal(); });
    return a;
  }
  float& at(Array<float>& a, std::int64_t row, std::int64_t channel) const {
    return a(row / positions, row % positions * channels + channel);
  }
  // Terms of a float32 sum over one block of rows.
  [[nodiscard]] double terms() const { return static_cast<double>(std::min<std::int64_t>(rows, 128)) + 6; }
};

struct Moments {
  Bounded mean, variance;
};

// Mean and variance of a channel: a block is summed in float32 about its own mean, blocks in float64.
Moments moments(const Layout& s, Array<float>& x, std::int64_t channel) {
  const auto rows = static_cast<double>(s.rows);
  double mean = 0, size = 0, variance = 0;
  for (std::int64_t r = 0; r < s.rows; ++r)
    mean += s.at(x, r, channel) / rows, size += std::abs(s.at(x, r, channel)) / rows;
  double largest = 0;
  for (std::int64_t r = 0; r < s.rows; ++r) {
    variance += std::pow(s.at(x, r, channel) - mean, 2) / rows;
    largest = std::max(largest, std::abs(static_cast<double>(s.at(x, r, channel))));
  }
  const double shift = s.terms() * eps * largest;
  return {{mean, s.terms() * eps * size},
          {variance, s.terms() * eps * variance + 4 * shift * std::sqrt(variance) + 4 * shift * shift}};
}

void statistics(Case& c) {
  const Layout s(c);
  auto x = s.normals(c, c.uniform(-3, 3), c.uniform(0.1, 2));
  auto mean = c.output<double>(s.channels), variance = c.output<double>(s.channels);
  c.spoil(x);
  auto used = x;
  if (c.mutation == Mutation::dropped_term) s.at(used, s.rows - 1, s.channels - 1) = 0;
  c.run([&] { kernels::batch_norm_moments(c.execution, used.in(), mean.flat(), variance.flat()); }, mean, variance);
  for (std::int64_t k = 0; k < s.channels; ++k) {
    const Moments m = moments(s, x, k);
    c.expect(mean[k], m.mean, "mean", k);
    c.expect(variance[k], m.variance, "variance", k);
  }
}

// z = (x - mean) * inverse_std * weight + bias, f(z) in y.
struct Apply {
  Layout s;
  Activation activation;
  Array<float> x, mean, weight, bias, used_bias, y;
  float epsilon;

  Apply(Case& c, std::string_view form)
      : s(c),
        activation(draw_activation(c, form)),
        x(s.normals(c, c.uniform(-1, 1))),
        mean(c.normals(s.channels)),
        weight(c.normals(s.channels)),
        bias(c.normals(s.channels)),
        used_bias(bias),
        y(s.matrix(c)),
        epsilon(c.scalar(1e-5, 0.1)) {
    c.spoil(x, mean, weight, bias);
    used_bias = bias;
    if (c.mutation == Mutation::stale_bias) used_bias[s.channels - 1] = 0.25F;
  }
  kernels::BatchNormParameters parameters() { return {weight.cflat(), used_bias.cflat(), epsilon}; }
  template <class Inverse>
  void check(Case& c, const Inverse& inverse) {
    for (std::int64_t r = 0; r < s.rows; ++r) {
      for (std::int64_t k = 0; k < s.channels; ++k) {
        const double product = (static_cast<double>(s.at(x, r, k)) - mean[k]) * inverse(k) * weight[k];
        Sum z;
        z.add(product);
        z.add(bias[k]);
        c.expect(s.at(y, r, k), activated(activation, z, 2), "y", r, k);
      }
    }
  }
};

// With given statistics.
void inference(Case& c, std::string_view form) {
  Apply a(c, form);
  auto variance = c.normals(a.s.channels);
  for (float& v : variance.flat()) v = v * v;
  const bool in_place = c.chance(0.3);
  if (in_place) a.y = a.x;
  c.run(
      [&] {
        kernels::batch_norm_inference(c.execution, in_place ? a.y.in() : a.x.in(), a.parameters(), a.mean.cflat(),
                                      variance.cflat(), mutated(c, a.activation), a.y.view());
      },
      a.y);
  a.check(c, [&](std::int64_t k) { return 1 / std::sqrt(static_cast<double>(variance[k]) + a.epsilon); });
}

// With those of the batch, which are saved and enter the running ones.
void training(Case& c, std::string_view form) {
  Apply a(c, form);
  if (a.s.rows < 2) return;
  auto inverse = c.output<float>(a.s.channels), running_mean = c.normals(a.s.channels);
  auto running_variance = c.normals(a.s.channels), mean_before = running_mean, variance_before = running_variance;
  const float momentum = c.scalar(0, 1);
  c.run(
      [&] {
        kernels::batch_norm_forward(c.execution, a.x.in(), a.parameters(), mutated(c, a.activation),
                                    {a.mean.flat(), inverse.flat()},
                                    {running_mean.flat(), running_variance.flat(), momentum}, a.y.view());
      },
      a.y, running_mean, running_variance);
  const auto rows = static_cast<double>(a.s.rows);
  for (std::int64_t k = 0; k < a.s.channels; ++k) {
    const Moments m = moments(a.s, a.x, k);
    c.expect(a.mean[k], m.mean.value, m.mean.bound + 2 * eps * std::abs(m.mean.value), "saved mean", k);
    const double variance = m.variance.value + a.epsilon, deviation = 1 / std::sqrt(variance);
    // Half the relative error of what is under the root, doubled for what a first derivative leaves out.
    c.expect(inverse[k], deviation, deviation * (m.variance.bound / variance + 3 * eps), "saved inverse_std", k);
    const auto mixed = [&](double before, const Bounded& now, double factor) {
      const double value = (1 - static_cast<double>(momentum)) * before + momentum * factor * now.value;
      return Bounded{value,
                     momentum * factor * now.bound + 2 * eps * (std::abs(before) + std::abs(factor * now.value))};
    };
    c.expect(running_mean[k], mixed(mean_before[k], m.mean, 1), "running mean", k);
    c.expect(running_variance[k], mixed(variance_before[k], m.variance, rows / (rows - 1)), "running variance", k);
  }
  a.check(c, [&](std::int64_t k) { return static_cast<double>(inverse[k]); });
}

void apply_either(Case& c, std::string_view form) { return c.chance(0.3) ? training(c, form) : inference(c, form); }

struct Backward {
  Layout s;
  Activation below;
  Array<float> dz, x, mean, inverse;

  Backward(Case& c, std::string_view form)
      : s(c),
        below(draw_activation(c, form)),
        dz(s.normals(c)),
        x(s.matrix(c)),
        mean(c.normals(s.channels)),
        inverse(c.normals(s.channels)) {
    x.fill([&] { return apply(below, c.normal()); });
    x.bounded = !form.empty();
    inverse.bounded = true;
    c.spoil(dz, x, mean, inverse);
  }
  kernels::BatchNormSaved saved() { return {mean.flat(), inverse.flat()}; }
  double normal(std::int64_t r, std::int64_t k) { return (static_cast<double>(s.at(x, r, k)) - mean[k]) * inverse[k]; }
};

void sums(Case& c) {
  Backward b(c, "");
  auto dweight = c.output<float>(b.s.channels), dbias = c.output<float>(b.s.channels), used = b.dz;
  if (c.mutation == Mutation::dropped_term) b.s.at(used, b.s.rows - 1, b.s.channels - 1) = 0;
  c.run(
      [&] {
        kernels::batch_norm_weight_gradient(c.execution, used.in(), b.x.in(), b.saved(), dweight.flat(), dbias.flat());
      },
      dweight, dbias);
  for (std::int64_t k = 0; k < b.s.channels; ++k) {
    Sum weight, bias;
    for (std::int64_t r = 0; r < b.s.rows; ++r)
      weight.add(b.s.at(b.dz, r, k) * b.normal(r, k)), bias.add(b.s.at(b.dz, r, k));
    const auto terms = static_cast<std::int64_t>(b.s.terms());
    c.expect(dweight[k], weight.value, sum_bound(terms, weight), "dweight", k);
    c.expect(dbias[k], bias.value, sum_bound(terms, bias), "dbias", k);
  }
}

void gradient(Case& c) {
  constexpr std::string_view forms[] = {"", "", "tanh", "sigmoid"};
  Backward b(c, forms[c.below(4)]);
  auto weight = c.normals(b.s.channels), dweight = c.normals(b.s.channels), dbias = c.normals(b.s.channels);
  auto used = dbias, dx = b.s.matrix(c);
  if (c.mutation == Mutation::stale_bias) used[b.s.channels - 1] = 3;
  const bool in_place = c.chance(0.3);
  if (in_place) dx = b.dz;
  c.run(
      [&] {
        kernels::batch_norm_input_gradient(c.execution, in_place ? dx.in() : b.dz.in(), b.x.in(), weight.cflat(),
                                           b.saved(), dweight.cflat(), used.cflat(), mutated(c, b.below), dx.view());
      },
      dx);
  const auto rows = static_cast<double>(b.s.rows);
  for (std::int64_t r = 0; r < b.s.rows; ++r) {
    for (std::int64_t k = 0; k < b.s.channels; ++k) {
      const double factor = static_cast<double>(b.inverse[k]) * weight[k];
      Sum g;
      g.add(factor * b.s.at(b.dz, r, k));
      g.add(-factor * dbias[k] / rows);
      g.add(-factor * b.normal(r, k) * dweight[k] / rows);
      c.expect(b.s.at(dx, r, k), through_derivative(b.below, b.s.at(b.x, r, k), g, 6), "dx", r, k);
    }
  }
}

[[maybe_unused]] const bool all[] = {fuzz("batch_norm_statistics", statistics),
                                     fuzz("batch_norm_apply", [](Case& c) { apply_either(c, ""); }),
                                     fuzz("batch_norm_apply_tanh", [](Case& c) { apply_either(c, "tanh"); }),
                                     fuzz("batch_norm_apply_sigmoid", [](Case& c) { apply_either(c, "sigmoid"); }),
                                     fuzz("batch_norm_sums", sums),
                                     fuzz("batch_norm_gradient", gradient)};

}  // namespace
}  // namespace kindling::fuzz
