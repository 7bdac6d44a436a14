// Products over picked rows: norms, coefficients, residual norms and residuals.
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/campaign.h"
#include "support/catch.h"
#include "support/kernel_test.h"

namespace kindling::test {
namespace {

constexpr double unit_roundoff = std::numeric_limits<float>::epsilon() / 2;

// Rounding errors of a float32 sum of n products, at random: a few times sqrt(n) roundoffs of the sum of magnitudes.
double sum_tolerance(std::int64_t n, double magnitudes) {
  return 4 * std::sqrt(static_cast<double>(n) + 4) * unit_roundoff * magnitudes;
}

struct Shape {
  std::int64_t rows, depth, picks, count;
};
// One, primes, a tile of 16 or 20 or 10 plus and minus one, more panels than one.
const std::vector<Shape> shapes = {{1, 1, 1, 1},     {3, 2, 5, 1},     {7, 17, 19, 15},   {40, 31, 21, 16},
                                   {40, 32, 20, 17}, {64, 33, 61, 33}, {101, 129, 97, 7}, {50, 784, 41, 48}};

// Rows with a gap between them, a random pick with repetitions, scales and directions.
struct Problem {
  explicit Problem(const Shape& s)
      : shape(s),
        row_memory(test_normals(s.rows * (s.depth + 3), 1)),
        scale(test_normals(s.rows, 2)),
        direction_memory(test_normals(s.count * (s.depth + 5), 3)) {
    PhiloxReader reader({.seed = 7, .unit = static_cast<std::uint32_t>(s.picks)});
    for (std::int64_t i = 0; i < s.picks; ++i)
      index.push_back(static_cast<std::int32_t>(reader.below(static_cast<std::uint64_t>(s.rows))));
  }
  [[nodiscard]] ConstTensorView rows() const { return {row_memory.data(), shape.rows, shape.depth, shape.depth + 3}; }
  [[nodiscard]] ConstTensorView directions() const {
    return {direction_memory.data(), shape.count, shape.depth, shape.depth + 5};
  }
  [[nodiscard]] kernels::PickedRows picked() const { return {rows(), index, scale}; }
  [[nodiscard]] double row(std::int64_t i, std::int64_t k) const {
    const std::int32_t r = index[static_cast<std::size_t>(i)];
    return static_cast<double>(rows()(r, k)) * scale[static_cast<std::size_t>(r)];
  }
  // row_i . direction_j and the sum of the magnitudes of its terms.
  void product(std::int64_t i, std::int64_t j, double& value, double& magnitude) const {
    value = magnitude = 0;
    for (std::int64_t k = 0; k < shape.depth; ++k) {
      const double term = row(i, k) * directions()(j, k);
      value += term;
      magnitude += std::abs(term);
    }
  }

  Shape shape;
  std::vector<float> row_memory, scale, direction_memory;
  std::vector<std::int32_t> index;
};

}  // namespace

TEST_CASE("campaign_norms adds up the squares of every row", "[campaign_norms]") {
  for (const Shape& s : shapes) {
    CAPTURE(s.rows, s.depth);
    const Problem p(s);
    Guarded<float> out(s.rows);
    kernels::campaign_norms(test_execution(), p.rows(), out.flat());
    out.check();
    for (std::int64_t i = 0; i < s.rows; ++i) {
      double expected = 0;
      for (std::int64_t k = 0; k < s.depth; ++k) expected += static_cast<double>(p.rows()(i, k)) * p.rows()(i, k);
      CHECK(std::abs(out(0, i) - expected) <= sum_tolerance(s.depth, expected));
    }
  }
  // NaN and infinity must not vanish.
  std::vector<float> bad(3 * 21, 1.0F);
  bad[20] = std::numeric_limits<float>::quiet_NaN();
  bad[21] = std::numeric_limits<float>::infinity();
  std::vector<float> out(3);
  kernels::campaign_norms(test_execution(), ConstTensorView(bad.data(), {3, 21}), out);
  CHECK(std::isnan(out[0]));
  CHECK(std::isinf(out[1]));
  CHECK(out[2] == 21.0F);
  kernels::campaign_norms(test_execution(), ConstTensorView(bad.data(), {0, 21}), std::span(out).first(0));
  CHECK_THROWS_AS(
      kernels::campaign_norms(test_execution(), ConstTensorView(bad.data(), {3, 21}), std::span(out).first(2)), Error);
}

TEST_CASE("campaign_project gives the coefficients of picked rows", "[campaign_project]") {
  for (const Shape& s : shapes) {
    CAPTURE(s.picks, s.depth, s.count);
    const Problem p(s);
    Guarded<float> c(s.picks, s.count, 3), one(s.picks, s.count);
    kernels::campaign_project(test_execution(), p.picked(), p.directions(), c.view());
    c.check();
    kernels::campaign_project(test_execution(1), p.picked(), p.directions(), one.view());
    for (std::int64_t i = 0; i < s.picks; ++i) {
      for (std::int64_t j = 0; j < s.count; ++j) {
        double expected, magnitude;
        p.product(i, j, expected, magnitude);
        REQUIRE(std::abs(c(i, j) - expected) <= sum_tolerance(s.depth, magnitude));
        REQUIRE(c(i, j) == one(i, j));
      }
    }
  }
  const Problem p(shapes[2]);
  Guarded<float> none(0, 15);
  kernels::campaign_project(test_execution(), {p.rows(), {}, p.scale}, p.directions(), none.view());
  none.check();
  const std::vector<std::int32_t> beyond = {7};
  Guarded<float> c(1, 15);
  CHECK_THROWS_AS(kernels::campaign_project(test_execution(), {p.rows(), beyond, p.scale}, p.directions(), c.view()),
                  Error);
}

TEST_CASE("campaign_update lowers squared norms by the coefficients not seen yet", "[campaign_update]") {
  for (const Shape& s : shapes) {
    CAPTURE(s.picks, s.depth, s.count);
    const Problem p(s);
    const std::vector<float> before = test_normals(s.picks, 9, 1.0, 5.0);
    for (const bool sorted : {true, false}) {
      std::vector<std::int32_t> first;
      for (std::int64_t i = 0; i < s.picks; ++i) {
        first.push_back(static_cast<std::int32_t>((sorted ? i * s.count / s.picks : (i * 7)) % (s.count + 1)));
      }
      Guarded<float> squared(s.picks), one(s.picks);
      kernels::campaign_update(test_execution(), p.picked(), p.directions(), first, before, squared.flat());
      squared.check();
      kernels::campaign_update(test_execution(1), p.picked(), p.directions(), first, before, one.flat());
      for (std::int64_t i = 0; i < s.picks; ++i) {
        const auto n = static_cast<std::size_t>(i);
        double expected = before[n], tolerance = sum_tolerance(s.count, std::abs(before[n]));
        for (std::int64_t j = first[n]; j < s.count; ++j) {
          double value, magnitude;
          p.product(i, j, value, magnitude);
          expected -= value * value;
          tolerance += 2 * std::abs(value) * sum_tolerance(s.depth, magnitude) + sum_tolerance(s.count, value * value);
        }
        REQUIRE(std::abs(squared(0, i) - expected) <= tolerance);
        REQUIRE(squared(0, i) == one(0, i));
        if (first[n] == s.count) REQUIRE(squared(0, i) == before[n]);
      }
    }
  }
  // No directions: nothing changes. No rows: nothing happens.
  const Problem p(shapes[2]);
  const std::vector<std::int32_t> first(19, 0);
  const std::vector<float> before(19, 2.5F);
  Guarded<float> squared(19);
  kernels::campaign_update(test_execution(), p.picked(), p.directions().rows(0, 0), first, before, squared.flat());
  CHECK(squared(0, 18) == 2.5F);
  kernels::campaign_update(test_execution(), {p.rows(), {}, p.scale}, p.directions(), {}, {}, {});
}

TEST_CASE("campaign_residual takes the part along directions away", "[campaign_residual]") {
  for (const Shape& s : shapes) {
    for (const std::int64_t count : {s.count, std::int64_t{0}}) {
      CAPTURE(s.picks, s.depth, count);
      const Problem p(s);
      const std::vector<float> c_memory = test_normals(s.count * (s.picks + 2), 11);
      const ConstTensorView c(c_memory.data(), count, s.picks, s.picks + 2);
      Guarded<float> residual(s.picks, s.depth, 5), squared(s.picks), one(s.picks, s.depth);
      kernels::campaign_residual(test_execution(), p.picked(), c, p.directions().rows(0, count), residual.view(),
                                 squared.flat());
      residual.check();
      squared.check();
      kernels::campaign_residual(test_execution(1), p.picked(), c, p.directions().rows(0, count), one.view(),
                                 squared.flat());
      for (std::int64_t i = 0; i < s.picks; ++i) {
        double norm = 0;
        for (std::int64_t k = 0; k < s.depth; ++k) {
          double expected = p.row(i, k), magnitude = std::abs(expected);
          for (std::int64_t j = 0; j < count; ++j) {
            const double term = static_cast<double>(c(j, i)) * p.directions()(j, k);
            expected -= term;
            magnitude += std::abs(term);
          }
          REQUIRE(std::abs(residual(i, k) - expected) <= sum_tolerance(count + 1, magnitude));
          REQUIRE(residual(i, k) == one(i, k));
          norm += static_cast<double>(residual(i, k)) * residual(i, k);
        }
        REQUIRE(std::abs(squared(0, i) - norm) <= sum_tolerance(s.depth, norm));
      }
    }
  }
  const Problem p(shapes[2]);
  Guarded<float> residual(19, 17), squared(19);
  const std::vector<float> c(15 * 18);
  CHECK_THROWS_AS(kernels::campaign_residual(test_execution(), p.picked(), ConstTensorView(c.data(), {15, 18}),
                                             p.directions(), residual.view(), squared.flat()),
                  Error);
}

}  // namespace kindling::test
