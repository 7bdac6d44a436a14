#include "reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace kindling::bench {
namespace {

constexpr std::uint32_t poison_bits = 0x7FC0BEEF;  // a quiet NaN that arithmetic does not make

std::uint64_t mix(std::uint64_t& state) {  // splitmix64 (Steele, Lea, Flood 2014)
  std::uint64_t z = (state += 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31U);
}

}  // namespace

void fill_random(std::span<float> out, std::uint64_t seed, float scale) {
  for (float& v : out) {
    const auto bits = static_cast<std::int32_t>(mix(seed) >> 40U);  // 24 bits
    v = scale * (static_cast<float>(bits) + 0.5F - 8388608.0F) / 8388608.0F;
  }
}

void poison(std::span<float> out) { std::fill(out.begin(), out.end(), std::bit_cast<float>(poison_bits)); }

std::vector<std::int64_t> rows_to_check(std::int64_t rows, std::int64_t terms) {
  constexpr double affordable_terms = 3e8;
  const auto most = static_cast<std::int64_t>(
      std::max(48.0, affordable_terms / static_cast<double>(std::max<std::int64_t>(terms, 1))));
  std::vector<std::int64_t> picked;
  if (rows <= most) {
    picked.resize(static_cast<std::size_t>(rows));
    std::iota(picked.begin(), picked.end(), 0);
    return picked;
  }
  // A third at either end, where tails are, and a third evenly between.
  const std::int64_t third = most / 3;
  for (std::int64_t i = 0; i < third; ++i) picked.push_back(i);
  for (std::int64_t i = 0; i < third; ++i) picked.push_back(third + i * (rows - 2 * third) / third);
  for (std::int64_t i = rows - third; i < rows; ++i) picked.push_back(i);
  return picked;
}

Expected product(std::vector<std::int64_t> rows, std::int64_t terms, std::int64_t cols,
                 const std::function<double(std::int64_t, std::int64_t)>& a, ConstTensorView b) {
  Expected e{std::move(rows), cols, {}, {}};
  const auto n = static_cast<std::size_t>(cols);
  e.value.assign(e.rows.size() * n, 0.0);
  e.tolerance.assign(e.rows.size() * n, 0.0);
  for (std::size_t r = 0; r < e.rows.size(); ++r) {
    double* __restrict value = e.value.data() + r * n;
    double* __restrict size = e.tolerance.data() + r * n;
    for (std::int64_t k = 0; k < terms; ++k) {
      const double factor = a(e.rows[r], k);
      if (factor == 0) continue;
      const float* __restrict row = b.row(k);
      for (std::size_t j = 0; j < n; ++j) {
        const double term = factor * static_cast<double>(row[j]);
        value[j] += term;
        size[j] += std::abs(term);
      }
    }
    const double per_magnitude = rounding(static_cast<double>(terms));
    for (std::size_t j = 0; j < n; ++j) size[j] *= per_magnitude;
  }
  return e;
}

void check(const std::string& what, ConstTensorView found, const Expected& expected) {
  for (std::int64_t r = 0; r < found.rows(); ++r) {
    for (std::int64_t c = 0; c < found.cols(); ++c) {
      const float v = found(r, c);
      if (std::isfinite(v)) continue;
      const char* kind = std::bit_cast<std::uint32_t>(v) == poison_bits ? "was never written" : "is not finite";
      throw WrongAnswer(fmt::format("wrong answer: {}({}, {}) {}", what, r, c, kind));
    }
  }
  const auto n = static_cast<std::size_t>(expected.cols);
  for (std::size_t r = 0; r < expected.rows.size(); ++r) {
    for (std::size_t c = 0; c < n; ++c) {
      const double value = found(expected.rows[r], static_cast<std::int64_t>(c));
      const double wanted = expected.value[r * n + c];
      const double tolerance = expected.tolerance[r * n + c];
      if (std::abs(value - wanted) <= tolerance) continue;
      throw WrongAnswer(fmt::format("wrong answer: {}({}, {}) is {:.9g}, expected {:.9g} to within {:.2g}", what,
                                    expected.rows[r], c, value, wanted, tolerance));
    }
  }
}

double rounding(double terms) { return 4 * (std::sqrt(terms) + 2) * epsilon32; }

void expect_near(const char* what, std::int64_t at, double found, double wanted, double tolerance) {
  if (std::abs(found - wanted) <= tolerance) return;
  throw WrongAnswer(fmt::format("wrong answer: {}[{}] is {:.9g}, expected {:.9g} to within {:.2g}", what, at, found,
                                wanted, tolerance));
}

void expect_written(const char* what, std::span<const float> values) {
  for (const float v : values)
    if (std::isnan(v)) throw WrongAnswer(fmt::format("wrong answer: {} has elements that were not written", what));
}

Tensor transposed(ConstTensorView m) {
  Tensor t({m.cols(), m.rows()});
  const TensorView v = t.view();
  for (std::int64_t r = 0; r < m.rows(); ++r) {
    for (std::int64_t c = 0; c < m.cols(); ++c) v(c, r) = m(r, c);
  }
  return t;
}

}  // namespace kindling::bench
