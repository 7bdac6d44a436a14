#include "kernels/gram.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/gram_arguments.h"

namespace kindling::kernels {
namespace {

using Use = Buffer::Use;

constexpr float least_gamma = 1e-15F, largest_gamma = 1e15F;

// What the kernels take instead of gamma.
struct Bandwidths {
  std::vector<float> scale;   // log2(e) / (2 gamma^2)
  std::vector<float> factor;  // `times` / gamma^2
};

Bandwidths bandwidths(std::string_view kernel, std::span<const float> gamma, std::int64_t problems, double times) {
  expect_size(kernel, "gamma", gamma, problems);
  Bandwidths b;
  for (std::size_t p = 0; p < gamma.size(); ++p) {
    if (!(gamma[p] >= least_gamma && gamma[p] <= largest_gamma)) {
      refuse(kernel, fmt::format("expected a bandwidth gamma in [{:g}, {:g}], found {} for problem {}", least_gamma,
                                 largest_gamma, gamma[p], p));
    }
    const double inverse = 1 / (double{gamma[p]} * double{gamma[p]});
    b.scale.push_back(static_cast<float>(0.5 * std::numbers::log2e * inverse));
    b.factor.push_back(static_cast<float>(times * inverse));
  }
  return b;
}

// Two samples of the same problems.
struct Pair {
  Problems x, y;
  [[nodiscard]] bool wide() const { return x.depth > gram_difference_dimensions; }
};

Pair expect_pair(std::string_view kernel, std::string_view name_x, ConstTensorView x, std::string_view name_y,
                 ConstTensorView y) {
  const Pair pair{problems_of(kernel, name_x, x), problems_of(kernel, name_y, y)};
  if (pair.x.count != pair.y.count || pair.x.depth != pair.y.depth) {
    refuse(kernel, fmt::format("expected {} and {} of as many problems and coordinates, found {} and {}", name_x,
                               name_y, shape_string(x.shape()), shape_string(y.shape())));
  }
  return pair;
}

void expect_like(std::string_view kernel, std::string_view name, const TensorView& view, ConstTensorView x) {
  if (view.rank() != x.rank() || !std::ranges::equal(view.shape(), x.shape())) {
    refuse(kernel,
           fmt::format("expected {} of {}, found {}", name, shape_string(x.shape()), shape_string(view.shape())));
  }
  expect_rows(kernel, name, view);
}

void clear(const TensorView& view) {
  for (std::int64_t r = 0; r < view.rows(); ++r) std::fill_n(view.row(r), view.cols(), 0.0F);
}

// Weights as given, or ones.
std::span<const float> weights_or_ones(std::string_view kernel, std::string_view name, std::span<const float> given,
                                       std::int64_t size, std::vector<float>& ones) {
  if (given.empty()) {
    ones.assign(static_cast<std::size_t>(size), 1.0F);
    return ones;
  }
  expect_size(kernel, name, given, size);
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (!std::isfinite(given[i]))
      refuse(kernel, fmt::format("expected finite {}, found {} at position {}", name, given[i], i));
  }
  return given;
}

template <class T>
Buffer per_sample(Use use, std::span<T> values, const Problems& p) {
  return Buffer(use, values.data(), {p.rows, p.count}, {1, p.rows});
}

}  // namespace

void gaussian_gram_sum(const Execution& execution, ConstTensorView x, ConstTensorView y, std::span<const float> gamma,
                       std::span<double> row_sums, std::span<double> totals) {
  static const Kernel narrow{"gaussian_gram_sum"}, wide{"gaussian_gram_sum_wide"};
  constexpr std::string_view name = "gaussian_gram_sum";
  const Pair pair = expect_pair(name, "x", x, "y", y);
  const Bandwidths b = bandwidths(name, gamma, pair.x.count, 1);
  expect_size(name, "row_sums", row_sums, pair.x.count * pair.x.rows);
  expect_size(name, "totals", totals, pair.x.count);
  const Extent outputs[] = {extent_of("row_sums", row_sums), extent_of("totals", totals)};
  const Extent inputs[] = {extent_of("x", x), extent_of("y", y), extent_of("gamma", gamma)};
  expect_apart(name, outputs, inputs);
  expect_coordinates(name, "x", x);
  expect_coordinates(name, "y", y);
  if (pair.x.count == 0) return;
  if (pair.x.rows == 0 || pair.y.rows == 0) {
    std::ranges::fill(row_sums, 0.0);
    std::ranges::fill(totals, 0.0);
    return;
  }
  (pair.wide() ? wide : narrow)(execution, problems_buffer(Use::in, x, pair.x), problems_buffer(Use::in, y, pair.y),
                                in(std::span<const float>(b.scale)), per_sample(Use::out, row_sums, pair.x),
                                out(totals));
}

void gaussian_gram_gradient(const Execution& execution, ConstTensorView x, ConstTensorView y,
                            std::span<const float> gamma, const GramWeights& weights, const GramGradient& out_) {
  static const Kernel narrow{"gaussian_gram_gradient"}, wide{"gaussian_gram_gradient_wide"};
  constexpr std::string_view name = "gaussian_gram_gradient";
  const Pair pair = expect_pair(name, "x", x, "y", y);
  const Bandwidths b = bandwidths(name, gamma, pair.x.count, -1);
  std::vector<float> ones_a, ones_b;
  const auto rows = weights_or_ones(name, "row weights", weights.rows, pair.x.count * pair.x.rows, ones_a);
  const auto columns = weights_or_ones(name, "column weights", weights.columns, pair.y.count * pair.y.rows, ones_b);
  expect_size(name, "row_sums", out_.row_sums, pair.x.count * pair.x.rows);
  expect_size(name, "totals", out_.totals, pair.x.count);
  expect_like(name, "gradient", out_.gradient, x);
  const Extent outputs[] = {extent_of("row_sums", out_.row_sums), extent_of("totals", out_.totals),
                            extent_of("gradient", out_.gradient)};
  const Extent inputs[] = {extent_of("x", x), extent_of("y", y), extent_of("gamma", gamma),
                           extent_of("row weights", rows), extent_of("column weights", columns)};
  expect_apart(name, outputs, inputs);
  expect_coordinates(name, "x", x);
  expect_coordinates(name, "y", y);
  if (pair.x.count == 0) return;
  if (pair.x.rows == 0 || pair.y.rows == 0) {
    std::ranges::fill(out_.row_sums, 0.0);
    std::ranges::fill(out_.totals, 0.0);
    clear(out_.gradient);
    return;
  }
  Problems gradient = pair.x;
  gradient.row_stride = x.rank() == 2 ? out_.gradient.row_stride() : pair.x.depth;
  gradient.problem_stride = x.rank() == 2 ? pair.x.rows * gradient.row_stride : out_.gradient.row_stride();
  (pair.wide() ? wide : narrow)(execution, problems_buffer(Use::in, x, pair.x), problems_buffer(Use::in, y, pair.y),
                                per_sample(Use::in, rows, pair.x), per_sample(Use::in, columns, pair.y),
                                in(std::span<const float>(b.scale)), in(std::span<const float>(b.factor)),
                                per_sample(Use::out, out_.row_sums, pair.x), out(out_.totals),
                                problems_buffer(Use::out, out_.gradient, gradient));
}

void mmd_squared(const Execution& execution, ConstTensorView u, ConstTensorView v, std::span<const float> gamma,
                 MmdEstimate estimate, std::span<double> value, TensorView gradient) {
  static const Kernel narrow{"mmd_squared"}, wide{"mmd_squared_wide"};
  constexpr std::string_view name = "mmd_squared";
  const Pair pair = expect_pair(name, "u", u, "v", v);
  const Bandwidths b = bandwidths(name, gamma, pair.x.count, -2);
  const bool unbiased = estimate == MmdEstimate::u_statistic;
  const std::int64_t least = unbiased ? 2 : 1;
  if (pair.x.rows < least || pair.y.rows < least) {
    refuse(name,
           fmt::format("expected at least {} row(s) in u and in v, found {} and {}", least, pair.x.rows, pair.y.rows));
  }
  expect_size(name, "value", value, pair.x.count);
  expect_like(name, "gradient", gradient, u);
  const Extent outputs[] = {extent_of("value", value), extent_of("gradient", gradient)};
  const Extent inputs[] = {extent_of("u", u), extent_of("v", v), extent_of("gamma", gamma)};
  expect_apart(name, outputs, inputs);
  expect_coordinates(name, "u", u);
  expect_coordinates(name, "v", v);
  if (pair.x.count == 0) return;
  const auto n = static_cast<double>(pair.x.rows), m = static_cast<double>(pair.y.rows);
  const double pairs_u = unbiased ? n * (n - 1) : n * n, pairs_v = unbiased ? m * (m - 1) : m * m;
  const double diagonal_u = unbiased ? n : 0, diagonal_v = unbiased ? m : 0;
  Problems g = pair.x;
  g.row_stride = u.rank() == 2 ? gradient.row_stride() : g.depth;
  g.problem_stride = u.rank() == 2 ? g.rows * g.row_stride : gradient.row_stride();
  std::vector<double> sums(static_cast<std::size_t>(3 * pair.x.count));
  (pair.wide() ? wide : narrow)(execution, problems_buffer(Use::in, u, pair.x), problems_buffer(Use::in, v, pair.y),
                                in(std::span<const float>(b.scale)), in(std::span<const float>(b.factor)),
                                static_cast<float>(1 / pairs_u), static_cast<float>(-1 / (n * m)),
                                Buffer(Use::out, sums.data(), {3, pair.x.count}, {1, 3}),
                                problems_buffer(Use::out, gradient, g));
  for (std::size_t p = 0; p < value.size(); ++p) {
    const double* s = &sums[3 * p];
    value[p] = (s[0] - diagonal_u) / pairs_u - 2 * s[1] / (n * m) + (s[2] - diagonal_v) / pairs_v;
  }
}

}  // namespace kindling::kernels
