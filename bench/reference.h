// Right answers in float64, written plainly, and the comparison with what a contestant gave.
#pragma once

#include <kindling/tensor.h>

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace kindling::bench {

/// A contestant's answer is wrong; the message says where.
class WrongAnswer : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Uniform numbers on (-scale, scale), the same on every machine.
void fill_random(std::span<float> out, std::uint64_t seed, float scale = 1.0F);

/// Sentinel for outputs before a verified run: what stays unwritten is seen.
void poison(std::span<float> out);

/// Some rows of a matrix known in float64, each element with the error that a float32 computation may make.
struct Expected {
  std::vector<std::int64_t> rows;  ///< which rows, ascending
  std::int64_t cols = 0;
  std::vector<double> value;      ///< rows.size() x cols
  std::vector<double> tolerance;  ///< likewise
};

/// All rows, or the first, the last and some between where all would cost more than some tenths of a second. `terms` is
/// the number of multiply-adds of one row.
std::vector<std::int64_t> rows_to_check(std::int64_t rows, std::int64_t terms);

/// Σ_k a(i, k) b(k, j) for the given rows i, with tolerance c (√K + 2) ε Σ_k |a b|: rounding errors of K float32 terms
/// in any order grow like √K when they are independent; c = 4 leaves room for chance among millions of elements.
Expected product(std::vector<std::int64_t> rows, std::int64_t terms, std::int64_t cols,
                 const std::function<double(std::int64_t, std::int64_t)>& a, ConstTensorView b);

/// Throws WrongAnswer for the first element that is further off than its tolerance, and for NaN or an unwritten element
/// anywhere in the matrix, checked rows or not.
void check(const std::string& what, ConstTensorView found, const Expected& expected);

/// Tolerance c (√K + 2) ε of a sum of K terms, relative to the sum of their sizes: see product().
double rounding(double terms);

/// Throws WrongAnswer unless element `at` of `what` is within `tolerance` of what is wanted. NaN never is.
void expect_near(const char* what, std::int64_t at, double found, double wanted, double tolerance);

/// Throws WrongAnswer for NaN, and so for an element that was not written: where only a spread of them is checked.
void expect_written(const char* what, std::span<const float> values);

/// The transpose, stored.
Tensor transposed(ConstTensorView m);

/// Machine epsilon of float32 as a double.
inline constexpr double epsilon32 = 1.1920928955078125e-07;

}  // namespace kindling::bench
