// Blocked Gram-Schmidt of the neuron campaign.
#include "kernels/campaign.h"

#include "fuzz/fuzz.h"

namespace kindling::fuzz {
namespace {

struct Picks {
  std::int64_t rows, depth, picks, count;
  Array<float> matrix, scale, directions;
  Array<std::int32_t> index;

  explicit Picks(Case& c)
      : rows(c.extent(50, 1)),
        depth(0),
        picks(c.extent(60)),
        count(c.extent(40)),
        matrix(c, 0, 0),
        scale(c.normals(rows)),
        directions(c, 0, 0),
        index(c.indices(picks, rows)) {
    depth = c.long_extent(80, 800, std::max<std::int64_t>(picks * count, 1), 1);
    matrix = c.normals(rows, depth);
    directions = c.normals(count, depth);
    c.spoil(matrix, scale, directions);
  }
  kernels::PickedRows picked() { return {matrix.in(), index.cflat(), scale.cflat()}; }
  double row(std::int64_t i, std::int64_t k) { return static_cast<double>(matrix(index[i], k)) * scale[index[i]]; }
  // row_i . direction_j and how far float32 may be off.
  void product(std::int64_t i, std::int64_t j, double& value, double& bound) {
    double magnitude = 0;
    value = 0;
    for (std::int64_t k = 0; k < depth; ++k) {
      const double term = row(i, k) * directions(j, k);
      value += term, magnitude += std::abs(term);
    }
    bound = (static_cast<double>(depth) + 4) * eps * magnitude;
  }
};

void norms(Case& c) {
  const std::int64_t n = c.extent(80), k = c.long_extent(100, 3000, std::max<std::int64_t>(n, 1), 1);
  auto x = c.normals(n, k);
  c.spoil(x);
  auto out = c.output<float>(n);
  c.run([&] { kernels::campaign_norms(c.execution, x.in(), out.flat()); }, out);
  for (std::int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (std::int64_t j = 0; j < k; ++j) sum += static_cast<double>(x(i, j)) * x(i, j);
    c.expect(out[i], sum, (static_cast<double>(k) + 2) * eps * sum, "sum_squares", i);
  }
}

void project(Case& c) {
  Picks p(c);
  auto out = c.output<float>(p.picks, p.count);
  c.run([&] { kernels::campaign_project(c.execution, p.picked(), p.directions.in(), out.view()); }, out);
  for (std::int64_t i = 0; i < p.picks; ++i) {
    for (std::int64_t j = 0; j < p.count; ++j) {
      double value, bound;
      p.product(i, j, value, bound);
      c.expect(out(i, j), value, bound, "c", i, j);
    }
  }
}

void update(Case& c) {
  Picks p(c);
  auto first = c.indices(p.picks, p.count + 1);
  auto before = c.normals(p.picks), squared = c.output<float>(p.picks);
  auto used = first;
  if (c.mutation == Mutation::dropped_term && p.picks > 0) used[p.picks - 1] = static_cast<std::int32_t>(p.count);
  c.run(
      [&] {
        kernels::campaign_update(c.execution, p.picked(), p.directions.in(), used.cflat(), before.cflat(),
                                 squared.flat());
      },
      squared);
  for (std::int64_t i = 0; i < p.picks; ++i) {
    double expected = before[i], bound = 0, magnitude = std::abs(before[i]);
    for (std::int64_t j = first[i]; j < p.count; ++j) {
      double value, error;
      p.product(i, j, value, error);
      expected -= value * value, magnitude += value * value;
      bound += (2 * std::abs(value) + error) * error;
    }
    c.expect(squared[i], expected, 1.01 * bound + (static_cast<double>(p.count) + 3) * eps * (magnitude + bound),
             "squared", i);
  }
}

void residual(Case& c) {
  Picks p(c);
  auto coefficients = c.normals(p.count, p.picks), out = c.output<float>(p.picks, p.depth);
  auto squared = c.output<float>(p.picks);
  c.run(
      [&] {
        kernels::campaign_residual(c.execution, p.picked(), coefficients.in(), p.directions.in(), out.view(),
                                   squared.flat());
      },
      out, squared);
  for (std::int64_t i = 0; i < p.picks; ++i) {
    double norm = 0;
    for (std::int64_t k = 0; k < p.depth; ++k) {
      double expected = p.row(i, k), magnitude = std::abs(expected);
      for (std::int64_t j = 0; j < p.count; ++j) {
        const double term = static_cast<double>(coefficients(j, i)) * p.directions(j, k);
        expected -= term, magnitude += std::abs(term);
      }
      c.expect(out(i, k), expected, (static_cast<double>(p.count) + 4) * eps * magnitude, "residual", i, k);
      norm += static_cast<double>(out(i, k)) * out(i, k);
    }
    c.expect(squared[i], norm, (static_cast<double>(p.depth) + 3) * eps * norm, "squared", i);
  }
}

void step(Case& c) {
  const std::int64_t active = c.extent(150, 1), pool = 1 + c.below(12), steps = c.extent(30);
  auto gram = c.normals(active, pool), factor = c.normals(steps, active, 0.1);
  auto weight = c.normals(active), reference = c.normals(active), before = c.normals(active);
  for (std::int64_t i = 0; i < active; ++i) {
    reference[i] = std::abs(reference[i]) + 0.1F;
    before[i] = std::abs(before[i]) + 0.1F;
  }
  c.spoil(gram, factor, weight, reference, before);
  const kernels::CampaignStep state{.gram = gram.in(),
                                    .column = c.below(pool),
                                    .pivot = c.below(active),
                                    .factor = factor.in(),
                                    .weight = weight.cflat(),
                                    .reference = reference.cflat(),
                                    .spoilt = c.scalar(0.001, 0.1),
                                    .slack = c.scalar(1e-6, 1e-3)};
  auto coefficients = c.output<float>(active), squared = c.output<float>(active), products = c.output<float>(active);
  kernels::CampaignBest best;
  c.run(
      [&] {
        best = kernels::campaign_step(c.execution, state, before.cflat(), coefficients.flat(), squared.flat(),
                                      products.flat());
      },
      coefficients, squared, products);
  kernels::CampaignBest expected_best;
  const double root = std::sqrt(static_cast<double>(before[state.pivot]));
  for (std::int64_t i = 0; i < active; ++i) {
    double left = gram(i, state.column), magnitude = std::abs(left);
    for (std::int64_t m = 0; m < steps; ++m) {
      const double term = static_cast<double>(factor(m, i)) * factor(m, state.pivot);
      left -= term, magnitude += std::abs(term);
    }
    const double bound = ((static_cast<double>(steps) + 4) * magnitude + 4 * std::abs(left)) * eps / root;
    c.expect(coefficients[i], left / root, bound, "coefficient", i);
    // The rest follows from the coefficients as stored.
    const double stored = coefficients[i], square = stored * stored;
    c.expect(squared[i], before[i] - square, 2 * eps * (before[i] + square), "squared", i);
    const double limit = static_cast<double>(state.spoilt) * reference[i];
    // Too close to the limit for float32 to tell: either side is right.
    if (std::abs(squared[i] - limit) > 4 * eps * limit) {
      const double s = squared[i];
      const double size = s < limit ? std::max(s, 0.0) + static_cast<double>(state.slack) * reference[i] : s;
      const double product = weight[i] < 0 ? -1.0 : weight[i] * std::sqrt(size);
      c.expect(products[i], product, 6 * eps * std::abs(product), "product", i);
    }
    if (products[i] > expected_best.product) expected_best = {products[i], i};
  }
  c.expect(best.product, expected_best.product, 0, "best product");
  c.expect(static_cast<double>(best.position), static_cast<double>(expected_best.position), 0, "best position");
}

[[maybe_unused]] const bool all[] = {fuzz("campaign_norms", norms), fuzz("campaign_project", project),
                                     fuzz("campaign_update", update), fuzz("campaign_residual", residual),
                                     fuzz("campaign_step", step)};

}  // namespace
}  // namespace kindling::fuzz
