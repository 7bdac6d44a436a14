// Exponentials, Beta(2, 1), simplex rows and correlated rows: each number against float64 on the host's own words, and
// the laws that the numbers should follow.
#include <algorithm>
#include <cmath>

#include "kernels/random.h"
#include "support/beta_reference.h"
#include "support/kernel_test.h"
#include "support/philox_reference.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;
const Stream stream{.seed = 0x0fedcba987654321U, .purpose = Purpose::weights, .unit = 2, .step = 7};
const std::int64_t sizes[] = {0, 1, 3, 5, 31, 33, 127, 1021, 16385};

std::uint32_t word_at(std::int64_t block, std::int64_t q) {
  return philox_block(stream, static_cast<std::uint32_t>(block))[static_cast<std::size_t>(q)];
}

// Kolmogorov and Smirnov's statistic of the probabilities that a law gives the draws, times sqrt n; 2.03 is exceeded by
// chance once in 2000 samples.
double largest_gap(std::vector<double> probabilities) {
  std::sort(probabilities.begin(), probabilities.end());
  const auto n = static_cast<double>(probabilities.size());
  double gap = 0;
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    const auto below = static_cast<double>(i);
    gap = std::max({gap, (below + 1) / n - probabilities[i], probabilities[i] - below / n});
  }
  return gap * std::sqrt(n);
}
constexpr double ks_limit = 2.03;

// The same bits for any number of threads and on every CPU target.
template <class Draw>
void check_bits(const Draw& draw) {
  const std::vector<float> one = draw(test_execution(1));
  CHECK(one == draw(test_execution(2)));
  CHECK(one == draw(test_execution(4)));
  if (test_execution().target->gpu) return;
  for (const kernels::Target& target : kernels::targets()) {
    if (target.gpu || !target.runnable) continue;
    CAPTURE(target.name);
    CHECK(one == draw(kernels::Execution{&target, 2}));
  }
}

struct Shape {
  std::int64_t rows, cols, gap;
};
const Shape shapes[] = {{0, 5, 0}, {1, 1, 0},   {3, 2, 1},   {7, 10, 0},  {8, 4, 0},
                        {9, 5, 3}, {33, 17, 0}, {2, 785, 0}, {130, 64, 5}};

}  // namespace

TEST_CASE("exponentials", "[philox_exponential]") {
  for (const std::int64_t size : sizes) {
    CAPTURE(size);
    const float mean = 1.75F;
    Guarded<float> out(size);
    kernels::philox_exponential(test_execution(), stream, mean, out.flat(), 5);
    out.check();
    for (std::int64_t i = 0; i < size; ++i) {
      const double expected = mean * exponential_of(word_at(5 + i / 4, i % 4));
      REQUIRE(std::abs(out(0, i) - expected) <= (exponential_error + 2 * epsilon) * expected);  // and two roundings
      REQUIRE(out(0, i) > 0);
    }
  }
  std::vector<float> draws(1 << 20);
  kernels::philox_exponential(test_execution(), stream, 2.0F, draws);
  std::vector<double> probabilities(draws.size());
  double power[3] = {};
  for (std::size_t i = 0; i < draws.size(); ++i) {
    probabilities[i] = -std::expm1(-draws[i] / 2.0);
    for (int p = 0; p < 3; ++p) power[p] += std::pow(draws[i] / 2.0, p + 1) / static_cast<double>(draws.size());
  }
  CHECK(largest_gap(std::move(probabilities)) < ks_limit);
  // The variance of x^p is (2p)! - (p!)^2.
  const double factorial[] = {1, 1, 2, 6, 24, 120, 720};
  for (int p = 1; p <= 3; ++p) {
    CHECK(std::abs(power[p - 1] - factorial[p]) <
          4 * std::sqrt((factorial[2 * p] - factorial[p] * factorial[p]) / static_cast<double>(draws.size())));
  }
  CHECK_THROWS_WITH(kernels::philox_exponential(test_execution(), stream, 0.0F, draws), Catch::Contains("found 0"));
  CHECK_THROWS_AS(kernels::philox_exponential(test_execution(), stream, INFINITY, draws), Error);
  check_bits([](const kernels::Execution& e) {
    std::vector<float> out(40003);
    kernels::philox_exponential(e, stream, 0.3F, out);
    return out;
  });
}

TEST_CASE("Beta(2, 1)", "[philox_beta21]") {
  for (const std::int64_t size : sizes) {
    CAPTURE(size);
    Guarded<float> out(size);
    kernels::philox_beta21(test_execution(), stream, out.flat(), 5);
    out.check();
    for (std::int64_t i = 0; i < size; ++i) {
      const double expected = std::sqrt(uniform_of(word_at(5 + i / 4, i % 4)));
      // A root on a device may be off by 3 ulp (OpenCL 1.2, 7.4).
      REQUIRE(std::abs(out(0, i) - expected) <= 7 * epsilon * expected);
    }
  }
  std::vector<float> draws(1 << 20);
  kernels::philox_beta21(test_execution(), stream, draws);
  std::vector<double> probabilities(draws.size());
  double mean = 0, square = 0;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    const double x = draws[i];
    probabilities[i] = x * x;
    mean += x / static_cast<double>(draws.size());
    square += x * x / static_cast<double>(draws.size());
  }
  CHECK(largest_gap(std::move(probabilities)) < ks_limit);
  // Mean 2/3 and E x^2 = 1/2, variances 1/18 and 1/3 - 1/4.
  CHECK(std::abs(mean - 2.0 / 3) < 4 * std::sqrt(1.0 / 18 / static_cast<double>(draws.size())));
  CHECK(std::abs(square - 0.5) < 4 * std::sqrt(1.0 / 12 / static_cast<double>(draws.size())));
  check_bits([](const kernels::Execution& e) {
    std::vector<float> out(40003);
    kernels::philox_beta21(e, stream, out);
    return out;
  });
}

TEST_CASE("Beta of any shapes", "[philox_beta]") {
  for (const auto& [alpha, beta] : {std::pair(2.0F, 1.0F), {0.3F, 4.5F}, {0.05F, 0.05F}, {70.0F, 9000.0F}}) {
    int certain = 0;
    for (const std::int64_t size : sizes) {
      CAPTURE(size, alpha, beta);
      Guarded<float> out(size);
      kernels::philox_beta(test_execution(), stream, alpha, beta, out.flat(), 5);
      out.check();
      for (std::int64_t i = 0; i < size; ++i) {
        const BetaDraw expected = beta_draw(stream, static_cast<std::uint32_t>(5 + 8 * i), double{alpha}, double{beta});
        REQUIRE(out(0, i) > 0);
        REQUIRE(out(0, i) < 1);
        if (!expected.certain) continue;
        ++certain;
        REQUIRE(std::abs(out(0, i) - expected.value) <= expected.bound);
      }
    }
    CHECK(certain > 17000);  // of 17602
  }
  struct Law {
    float alpha, beta;
    double (*probability)(double);
  };
  const Law laws[] = {{2, 1, [](double x) { return x * x; }},
                      {1, 5, [](double x) { return 1 - std::pow(1 - x, 5); }},
                      {0.25F, 1, [](double x) { return std::pow(x, 0.25); }},
                      {0.5F, 0.5F, [](double x) { return 2 / std::numbers::pi * std::asin(std::sqrt(x)); }},
                      {3, 2, [](double x) { return x * x * x * (4 - 3 * x); }}};
  for (const Law& law : laws) {
    CAPTURE(law.alpha, law.beta);
    std::vector<float> draws(1 << 18);
    kernels::philox_beta(test_execution(), stream, law.alpha, law.beta, draws);
    std::vector<double> probabilities(draws.size());
    double mean = 0, square = 0;
    for (std::size_t i = 0; i < draws.size(); ++i) {
      const double x = draws[i];
      probabilities[i] = law.probability(x);
      mean += x / static_cast<double>(draws.size());
      square += x * x / static_cast<double>(draws.size());
    }
    CHECK(largest_gap(std::move(probabilities)) < ks_limit);
    // E x^p = prod (alpha + i) / (alpha + beta + i) for i < p.
    double moment[5] = {1};
    for (int p = 0; p < 4; ++p) moment[p + 1] = moment[p] * (law.alpha + p) / (double{law.alpha} + law.beta + p);
    const auto n = static_cast<double>(draws.size());
    CHECK(std::abs(mean - moment[1]) < 4 * std::sqrt((moment[2] - moment[1] * moment[1]) / n));
    CHECK(std::abs(square - moment[2]) < 4 * std::sqrt((moment[4] - moment[2] * moment[2]) / n));
  }
  std::vector<float> draws(8);
  CHECK_THROWS_WITH(kernels::philox_beta(test_execution(), stream, 0.0F, 1.0F, draws), Catch::Contains("alpha"));
  CHECK_THROWS_WITH(kernels::philox_beta(test_execution(), stream, 1.0F, NAN, draws), Catch::Contains("beta"));
  CHECK_THROWS_WITH(kernels::philox_beta(test_execution(), stream, 1.0F, 1.0F, draws, ~0U - 60),
                    Catch::Contains("2^32"));
  check_bits([](const kernels::Execution& e) {
    std::vector<float> out(40003);
    kernels::philox_beta(e, stream, 0.7F, 3.0F, out);
    return out;
  });
}

TEST_CASE("uniform rows on the simplex", "[philox_simplex]") {
  for (const Shape& s : shapes) {
    CAPTURE(s.rows, s.cols, s.gap);
    Guarded<float> out(s.rows, s.cols, s.gap);
    kernels::philox_simplex(test_execution(), stream, out.view());
    out.check();
    for (std::int64_t r = 0; r < s.rows; ++r) {
      std::vector<double> row;
      double sum = 0;
      for (std::int64_t j = 0; j < s.cols; ++j) {
        row.push_back(exponential_of(word_at(r * ((s.cols + 3) / 4) + j / 4, j % 4)));
        sum += row.back();
      }
      // The logarithms' errors in numerator and sum, and a rounding for each term and the quotient (2.5 ulp on a
      // device).
      const double bound = 2 * exponential_error + (static_cast<double>(s.cols) + 6) * epsilon;
      for (std::int64_t j = 0; j < s.cols; ++j) {
        const double expected = row[static_cast<std::size_t>(j)] / sum;
        REQUIRE(std::abs(out(r, j) - expected) <= bound * expected);
      }
    }
  }
  // E |u - u'|^2 = 2 (d - 1) / (d (d + 1)), and entry j follows Beta(1, d - 1).
  const std::int64_t rows = 1 << 17, d = 10;
  Tensor u({rows, d});
  kernels::philox_simplex(test_execution(), stream, u.view());
  double mean = 0, squares = 0;
  std::vector<double> probabilities;
  for (std::int64_t r = 0; r + 1 < rows; r += 2) {
    double distance = 0;
    for (std::int64_t j = 0; j < d; ++j)
      distance += std::pow(static_cast<double>(u.view()(r, j)) - u.view()(r + 1, j), 2);
    mean += distance, squares += distance * distance;
    probabilities.push_back(1 - std::pow(1 - static_cast<double>(u.view()(r, 3)), d - 1));
  }
  const double n = rows / 2.0;
  mean /= n;
  CHECK(std::abs(mean - 2.0 * (d - 1) / (d * (d + 1.0))) < 4 * std::sqrt((squares / n - mean * mean) / n));
  CHECK(largest_gap(std::move(probabilities)) < ks_limit);
  check_bits([](const kernels::Execution& e) {
    Tensor out({1501, 11});
    kernels::philox_simplex(e, stream, out.view());
    return std::vector<float>(out.flat().begin(), out.flat().end());
  });
}

TEST_CASE("correlated rows, each entry against float64", "[philox_correlated_rows]") {
  for (const Shape& s : shapes) {
    for (const bool beta : {false, true}) {
      CAPTURE(s.rows, s.cols, s.gap, beta);
      const kernels::CorrelatedRows law{.scale = 0.4F, .shrink = 0.9F, .beta_entry = beta};
      Guarded<float> out(s.rows, s.cols, s.gap);
      kernels::philox_correlated_rows(test_execution(), stream, law, out.view());
      out.check();
      const std::int64_t blocks = (s.cols + 3) / 4 + 1;
      for (std::int64_t r = 0; r < s.rows; ++r) {
        std::vector<double> z;
        double sum = 0, size = 0;
        for (std::int64_t j = 0; j < s.cols; ++j) {
          const auto block = static_cast<std::uint32_t>(r * blocks + j / 4);
          z.push_back(normal_of(philox_block(stream, block), static_cast<std::size_t>(j % 4)).value);
          sum += z.back(), size += std::abs(z.back());
        }
        const auto own = static_cast<std::uint32_t>(r * blocks + blocks - 1);
        const auto chosen = static_cast<std::int64_t>(
            (std::uint64_t{philox_block(stream, own)[0]} * static_cast<std::uint64_t>(s.cols)) >> 32U);
        const auto terms = static_cast<double>(s.cols);
        for (std::int64_t j = 0; j < s.cols; ++j) {
          const double normal = z[static_cast<std::size_t>(j)];
          double expected = 0.4F * (normal - 0.9F * sum / terms);
          // A normal is off by a share of its radius, at most 6.56; the sum by its terms' errors and a rounding for
          // each term of one of 32 parts and each halving of their number.
          double bound = 0.4 * (2 * normal_error * 6.56 + (terms / 32 + 9) * epsilon * size / terms) +
                         4 * epsilon * std::abs(expected);
          if (beta && j == chosen) {
            expected = std::sqrt(uniform_of(word_at(own, 1)));
            bound = 7 * epsilon * expected;
          }
          REQUIRE(std::abs(out(r, j) - expected) <= bound);
        }
      }
    }
  }
  Tensor out({2, 3});
  CHECK_THROWS_AS(kernels::philox_correlated_rows(test_execution(), stream, {.scale = NAN}, out.view()), Error);
  for (const bool beta : {false, true}) {
    check_bits([beta](const kernels::Execution& e) {
      Tensor rows({301, 157});
      kernels::philox_correlated_rows(e, stream, {.scale = 0.1F, .shrink = 0.9F, .beta_entry = beta}, rows.view());
      return std::vector<float>(rows.flat().begin(), rows.flat().end());
    });
  }
}

TEST_CASE("correlated rows have the covariance of their law", "[philox_correlated_rows]") {
  const std::int64_t rows = 1 << 15, n = 12;
  for (const double k : {100.0, 0.0, -0.9}) {
    CAPTURE(k);
    const auto shrink = static_cast<float>(1 - 1 / std::sqrt(1 + k));
    Tensor w({rows, n});
    kernels::philox_correlated_rows(test_execution(), stream, {.scale = 1.0F, .shrink = shrink}, w.view());
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = i; j < n; ++j) {
        double sum = 0;
        for (std::int64_t r = 0; r < rows; ++r) sum += static_cast<double>(w.view()(r, i)) * w.view()(r, j);
        const auto law = [&](bool same) { return (same ? 1.0 : 0.0) - k / (1 + k) / static_cast<double>(n); };
        // The variance of w_i w_j is A_ii A_jj + A_ij^2 (Isserlis); five of its roots.
        const double a = law(i == j), variance = law(true) * law(true) + a * a;
        REQUIRE(std::abs(sum / rows - a) < 5 * std::sqrt(variance / rows));
      }
    }
  }
  // The replaced entry is any of the twelve with equal chance: binomial counts, five deviations.
  Tensor plain({rows, n}), replaced({rows, n});
  kernels::philox_correlated_rows(test_execution(), stream, {.shrink = 0.9F}, plain.view());
  kernels::philox_correlated_rows(test_execution(), stream, {.shrink = 0.9F, .beta_entry = true}, replaced.view());
  std::vector<int> counts(n);
  for (std::int64_t r = 0; r < rows; ++r) {
    int changed = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      if (plain.view()(r, j) != replaced.view()(r, j)) ++changed, ++counts[static_cast<std::size_t>(j)];
    }
    REQUIRE(changed <= 1);
  }
  const double p = 1.0 / static_cast<double>(n);
  for (const int count : counts) CHECK(std::abs(count - rows * p) < 5 * std::sqrt(rows * p * (1 - p)));
}
