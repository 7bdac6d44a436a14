// Philox streams against the host's own blocks.
#include "kernels/random.h"

#include "fuzz/draws.h"
#include "fuzz/fuzz.h"
#include "support/beta_reference.h"

namespace kindling::fuzz {
namespace {

struct Draws {
  Stream stream;
  std::uint32_t first;
  std::int64_t size;

  explicit Draws(Case& c)
      : stream(draw_stream(c)),
        first(static_cast<std::uint32_t>(c.below(std::int64_t{1} << 31))),
        size(c.long_extent(300, 20000, 1)) {}
  [[nodiscard]] std::array<std::uint32_t, 4> block(std::int64_t i) const {
    return philox_block(stream, first + static_cast<std::uint32_t>(i / 4));
  }
  [[nodiscard]] std::uint32_t word(std::int64_t i) const { return block(i)[static_cast<std::size_t>(i % 4)]; }
};

void words(Case& c) {
  const Draws d(c);
  auto out = c.output<std::uint32_t>(d.size);
  c.run([&] { kernels::philox_words(c.execution, d.stream, out.flat(), d.first); }, out);
  for (std::int64_t i = 0; i < d.size; ++i) c.expect(out[i], d.word(i), 0, "word", i);
}

void uniforms(Case& c) {
  const Draws d(c);
  auto out = c.output<float>(d.size);
  const float low = c.spoil(c.scalar(-3, 3)), high = low + c.scalar(0.1, 5);
  const auto call = [&] { kernels::philox_uniform(c.execution, d.stream, low, high, out.flat(), d.first); };
  if (c.refused("philox_uniform", call, out)) return;
  c.run(call, out);
  const double reach = std::max(std::abs(low), std::abs(high)) + static_cast<double>(high) - low;
  for (std::int64_t i = 0; i < d.size; ++i) {
    c.expect(out[i], low + (static_cast<double>(high) - low) * test::uniform_of(d.word(i)), 4 * eps * reach, "uniform",
             i);
    if (!(out[i] > low && out[i] < high)) throw Failure("a uniform outside its bounds");
  }
}

void normals(Case& c) {
  const Draws d(c);
  auto out = c.output<float>(d.size);
  const float mean = c.spoil(c.scalar(-2, 2)), stddev = c.scalar(0.1, 3);
  const auto call = [&] { kernels::philox_normal(c.execution, d.stream, mean, stddev, out.flat(), d.first); };
  if (c.refused("philox_normal", call, out)) return;
  c.run(call, out);
  for (std::int64_t i = 0; i < d.size; ++i) {
    const Bounded z = normal_of(d.block(i), static_cast<std::size_t>(i % 4));
    const double expected = mean + stddev * z.value;
    c.expect(out[i], expected, stddev * z.bound + 2 * eps * (std::abs(expected) + std::abs(mean)), "normal", i);
  }
}

void exponentials(Case& c) {
  const Draws d(c);
  auto out = c.output<float>(d.size);
  const float mean = c.spoil(c.scalar(0.1, 5));
  const auto call = [&] { kernels::philox_exponential(c.execution, d.stream, mean, out.flat(), d.first); };
  if (c.refused("philox_exponential", call, out)) return;
  c.run(call, out);
  for (std::int64_t i = 0; i < d.size; ++i) {
    const Bounded e = exponential_of(d.word(i));
    c.expect(out[i], mean * e.value, mean * (e.bound + 2 * eps * e.value), "exponential", i);
  }
}

void beta21(Case& c) {
  const Draws d(c);
  auto out = c.output<float>(d.size);
  c.run([&] { kernels::philox_beta21(c.execution, d.stream, out.flat(), d.first); }, out);
  for (std::int64_t i = 0; i < d.size; ++i) {
    const double expected = std::sqrt(test::uniform_of(d.word(i)));
    c.expect(out[i], expected, 3 * eps * expected, "beta", i);
  }
}

// Word of entry j of row r, where a row owns `blocks` blocks.
std::array<std::uint32_t, 4> row_block(const Stream& stream, std::int64_t r, std::int64_t blocks, std::int64_t j) {
  return philox_block(stream, static_cast<std::uint32_t>(r * blocks + j / 4));
}

void beta(Case& c) {
  const Stream stream = draw_stream(c);
  const auto first = static_cast<std::uint32_t>(c.below(std::int64_t{1} << 31));
  const std::int64_t n = c.extent(300);
  const float alpha = c.spoil(c.scalar(0.02, 30)), beta = c.scalar(0.02, 30);
  auto out = c.output<float>(n);
  const auto call = [&] { kernels::philox_beta(c.execution, stream, alpha, beta, out.flat(), first); };
  if (c.refused("philox_beta", call, out)) return;
  c.run(call, out);
  for (std::int64_t i = 0; i < n; ++i) {
    const test::BetaDraw e =
        test::beta_draw(stream, first + 8 * static_cast<std::uint32_t>(i), double{alpha}, double{beta});
    c.expect(out[i], e.certain ? e.value : 0.5, e.certain ? e.bound : 0.5, "draw", i);
  }
}

void simplex(Case& c) {
  const Stream stream = draw_stream(c);
  const std::int64_t n = c.extent(60), d = c.extent(60, 1);
  auto out = c.output<float>(n, d);
  c.run([&] { kernels::philox_simplex(c.execution, stream, out.view()); }, out);
  for (std::int64_t r = 0; r < n; ++r) {
    std::vector<Bounded> draws;
    double sum = 0, error = 0;
    for (std::int64_t j = 0; j < d; ++j) {
      draws.push_back(exponential_of(row_block(stream, r, (d + 3) / 4, j)[static_cast<std::size_t>(j % 4)]));
      sum += draws.back().value, error += draws.back().bound;
    }
    const double relative = error / sum + (static_cast<double>(d) + 4) * eps;
    for (std::int64_t j = 0; j < d; ++j) {
      const Bounded& e = draws[static_cast<std::size_t>(j)];
      c.expect(out(r, j), e.value / sum, 1.01 * (e.bound / sum + e.value / sum * relative), "entry", r, j);
    }
  }
}

void correlated_rows(Case& c) {
  const Stream stream = draw_stream(c);
  const std::int64_t n = c.extent(50), k = c.long_extent(90, 2000, std::max<std::int64_t>(n, 1), 1);
  const kernels::CorrelatedRows law{
      .scale = c.spoil(c.scalar(0.1, 2)), .shrink = c.scalar(-1, 1), .beta_entry = c.chance(0.5)};
  auto out = c.output<float>(n, k);
  const auto call = [&] { kernels::philox_correlated_rows(c.execution, stream, law, out.view()); };
  if (c.refused("philox_correlated_rows", call, out)) return;
  c.run(call, out);
  const std::int64_t blocks = (k + 3) / 4 + 1;
  for (std::int64_t r = 0; r < n; ++r) {
    std::vector<Bounded> z;
    Sum sum;
    double error = 0;
    for (std::int64_t j = 0; j < k; ++j) {
      z.push_back(normal_of(row_block(stream, r, blocks, j), static_cast<std::size_t>(j % 4)));
      sum.add(z.back().value), error += z.back().bound;
    }
    const auto count = static_cast<double>(k);
    const double shift = law.shrink * sum.value / count;
    const double shift_error = std::abs(law.shrink) * (error + sum_bound(k, sum)) / count + 3 * eps * std::abs(shift);
    // A row's last block chooses an entry by its first word and draws it by the second.
    const auto own = philox_block(stream, static_cast<std::uint32_t>(r * blocks + blocks - 1));
    const auto chosen = static_cast<std::int64_t>((std::uint64_t{own[0]} * static_cast<std::uint64_t>(k)) >> 32U);
    for (std::int64_t j = 0; j < k; ++j) {
      const Bounded& normal = z[static_cast<std::size_t>(j)];
      const bool beta = law.beta_entry && j == chosen;
      const double expected = beta ? std::sqrt(test::uniform_of(own[1])) : law.scale * (normal.value - shift);
      const double size = std::abs(normal.value) + std::abs(shift);
      const double bound = beta ? 3 * eps : law.scale * (normal.bound + shift_error + 3 * eps * size);
      c.expect(out(r, j), expected, bound, "entry", r, j);
    }
  }
}

[[maybe_unused]] const bool all[] = {fuzz("philox_words", words, Takes::no_floats),
                                     fuzz("philox_uniform", uniforms),
                                     fuzz("philox_normal", normals),
                                     fuzz("philox_exponential", exponentials),
                                     fuzz("philox_beta21", beta21, Takes::no_floats),
                                     fuzz("philox_beta", beta),
                                     fuzz("philox_simplex", simplex, Takes::no_floats),
                                     fuzz("philox_correlated_rows", correlated_rows)};

}  // namespace
}  // namespace kindling::fuzz
