// Draws of further laws by Philox streams, more than the caches hold, beside the standard library. Normal draws:
// philox_normal_bench.cpp.
#include <algorithm>
#include <cmath>

#include "kernels/operations.h"
#include "kernels/random.h"
#include "peers/plain.h"

namespace kindling::bench {
namespace {

constexpr std::int64_t count = 10'000'000;
constexpr std::int64_t simplex_rows = 100'000, simplex_dimensions = 10;
constexpr float low = -1.0F, high = 1.0F;
constexpr float alpha = 0.7F, beta = 3.0F;
constexpr kindling::Stream stream{.seed = 2024, .purpose = Purpose::test, .unit = 5};

double uniform_of(std::uint32_t word) { return (static_cast<double>(word >> 8U) + 0.5) / 16777216.0; }
double exponential_of(std::uint32_t word) {
  return -std::log(std::min((word >> 1U | 1U) / 2147483648.0, 1 - epsilon32 / 2));
}

struct DrawProblem {
  DrawProblem(std::int64_t rows, std::int64_t cols) : out({rows, cols}) {}

  void verify_uniform(const std::function<void()>& run);
  void verify_exponential(const std::function<void()>& run);
  void verify_beta21(const std::function<void()>& run);
  void verify_beta(const std::function<void()>& run);
  void verify_simplex(const std::function<void()>& run);

  Tensor out;
  bool is_philox = false;  // set by the kernels: their draws are known one by one, a peer's by their law

 private:
  void draw(const std::function<void()>& run) {
    poison(out.flat());
    is_philox = false;
    run();
  }
  // Mean and variance of independent draws lie within six standard errors; `kurtosis` is the law's fourth central
  // moment over its variance squared.
  void expect_moments(double mean, double variance, double kurtosis) const;
  // Draws at both ends: `law(uniform number)`, within `tolerance(draw)`.
  template <class Law, class Tolerance>
  void expect_draws(const Law& law, const Tolerance& tolerance) const;
};

void DrawProblem::expect_moments(double mean, double variance, double kurtosis) const {
  const auto n = static_cast<double>(out.size());
  double sum = 0, squares = 0;
  for (const float v : out.flat()) {
    sum += v - mean;
    squares += (v - mean) * (v - mean);
  }
  expect_near("mean of all draws", 0, mean + sum / n, mean, 6 * std::sqrt(variance / n));
  expect_near("variance of all draws", 0, squares / n, variance, 6 * variance * std::sqrt((kurtosis - 1) / n));
}

template <class Law, class Tolerance>
void DrawProblem::expect_draws(const Law& law, const Tolerance& tolerance) const {
  if (!is_philox) return;
  constexpr std::int64_t checked = 4096;
  for (std::int64_t i = 0; i < out.size(); ++i) {
    if (i == checked) i = out.size() - checked;
    const auto words = philox_block(stream, static_cast<std::uint32_t>(i / 4));
    const double wanted = law(words[static_cast<std::size_t>(i % 4)]);
    expect_near("draw", i, out.data()[i], wanted, tolerance(wanted));
  }
}

// Besides what a law's formula adds, (word + 1/2) / 2^24 is rounded to a float: by half an ulp.
void DrawProblem::verify_uniform(const std::function<void()>& run) {
  draw(run);
  for (std::int64_t i = 0; i < out.size(); ++i) expect_near("draw", i, out.data()[i], 0, high);
  expect_moments(0, 1.0 / 3, 1.8);
  expect_draws([](std::uint32_t word) { return low + (high - low) * uniform_of(word); },
               [](double draw) { return epsilon32 / 2 * (high - low) + epsilon32 / 2 * std::abs(draw); });
}

void DrawProblem::verify_exponential(const std::function<void()>& run) {
  draw(run);
  expect_moments(1, 1, 9);
  // A logarithm of relative error 3e-7 (polynomials.h), and the rounding of u, which is the whole of -ln u near u = 1.
  expect_draws(exponential_of, [](double draw) { return 4e-7 * draw + epsilon32 / 2; });
}

void DrawProblem::verify_beta21(const std::function<void()>& run) {
  draw(run);
  expect_moments(2.0 / 3, 1.0 / 18, 2.4);
  // The root halves the rounding of u and adds its own.
  expect_draws([](std::uint32_t word) { return std::sqrt(uniform_of(word)); },
               [](double draw) { return 2 * epsilon32 * draw; });
}

// Single draws are a matter of the kernel's tests.
void DrawProblem::verify_beta(const std::function<void()>& run) {
  draw(run);
  for (std::int64_t i = 0; i < out.size(); ++i) expect_near("draw", i, out.data()[i], 0.5, 0.5);
  const double a = alpha, b = beta, s = a + b, variance = a * b / (s * s * (s + 1));
  const double excess = 6 * ((a - b) * (a - b) * (s + 1) - a * b * (s + 2)) / (a * b * (s + 2) * (s + 3));
  expect_moments(a / s, variance, 3 + excess);
}

void DrawProblem::verify_simplex(const std::function<void()>& run) {
  draw(run);
  const TensorView rows = out.view();
  const std::int64_t d = rows.cols(), row_blocks = (d + 3) / 4;
  double squares = 0;
  for (std::int64_t r = 0; r < rows.rows(); ++r) {
    double sum = 0, exact_sum = 0;
    std::vector<double> exact(static_cast<std::size_t>(d));
    for (std::int64_t j = 0; j < d; ++j) {
      expect_near("entry", r * d + j, rows(r, j), 0.5, 0.5);
      const auto words = philox_block(stream, static_cast<std::uint32_t>(r * row_blocks + j / 4));
      exact_sum += exact[static_cast<std::size_t>(j)] = exponential_of(words[static_cast<std::size_t>(j % 4)]);
      sum += rows(r, j);
      squares += std::pow(rows(r, j), 2);
    }
    expect_near("sum of row", r, sum, 1, static_cast<double>(d) * epsilon32);
    for (std::int64_t j = 0; j < d && is_philox; ++j) {
      const double wanted = exact[static_cast<std::size_t>(j)] / exact_sum;
      // Errors of two exponential draws (above), of a sum of d and of the quotient.
      expect_near("entry", r * d + j, rows(r, j), wanted,
                  (8e-7 + static_cast<double>(d + 2) * epsilon32 / 2) * wanted + epsilon32 / 2 / exact_sum);
    }
  }
  // Uniform on the simplex is Dirichlet(1, ..., 1): E sum of squares 2 / (d + 1), its deviation below its mean.
  const double wanted = 2 / static_cast<double>(d + 1), n = static_cast<double>(rows.rows());
  expect_near("mean sum of squares", 0, squares / n, wanted, 6 * wanted / std::sqrt(n));
}

const Operation<DrawProblem> operations[] = {
    {.name = "philox_uniform",
     .run =
         [](const kernels::Execution& e, DrawProblem& p) {
           kernels::philox_uniform(e, stream, low, high, p.out.flat());
           p.is_philox = true;
         },
     .verify = &DrawProblem::verify_uniform,
     .loop = {"std_mt19937", [](DrawProblem& p) { plain_uniforms(low, high, p.out.flat()); }}},
    {.name = "philox_exponential",
     .run =
         [](const kernels::Execution& e, DrawProblem& p) {
           kernels::philox_exponential(e, stream, 1.0F, p.out.flat());
           p.is_philox = true;
         },
     .verify = &DrawProblem::verify_exponential,
     .loop = {"std_mt19937", [](DrawProblem& p) { plain_exponentials(p.out.flat()); }}},
    {.name = "philox_beta21",
     .run =
         [](const kernels::Execution& e, DrawProblem& p) {
           kernels::philox_beta21(e, stream, p.out.flat());
           p.is_philox = true;
         },
     .verify = &DrawProblem::verify_beta21,
     .loop = {"std_mt19937", [](DrawProblem& p) { plain_beta21(p.out.flat()); }}},
    {.name = "philox_beta",
     .run = [](const kernels::Execution& e,
               DrawProblem& p) { kernels::philox_beta(e, stream, alpha, beta, p.out.flat()); },
     .verify = &DrawProblem::verify_beta,
     .loop = {"std_mt19937", [](DrawProblem& p) { plain_betas(alpha, beta, p.out.flat()); }}},
    {.name = "philox_simplex",
     .run =
         [](const kernels::Execution& e, DrawProblem& p) {
           kernels::philox_simplex(e, stream, p.out);
           p.is_philox = true;
         },
     .verify = &DrawProblem::verify_simplex,
     .loop = {"std_mt19937", [](DrawProblem& p) { plain_simplex(p.out); }}}};

void add_rows(Registry& registry, const Settings& settings) {
  for (const auto& operation : operations) {
    const bool in_rows = operation.name == "philox_simplex";
    const std::int64_t rows = in_rows ? simplex_rows : 1, cols = in_rows ? simplex_dimensions : count;
    const auto draws = static_cast<double>(rows * cols);
    const Shared<DrawProblem> shared([rows, cols] { return std::make_shared<DrawProblem>(rows, cols); });
    add_operation(registry, settings, operation, shared,
                  {.shape = in_rows ? shape_name({rows, cols}) : shape_name({cols}),
                   .work = {.bytes = 4 * draws, .items = draws},
                   .limit = Limit::memory,
                   .goal = {.ratio = 1}});
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
