// Standardisation, gathering, column means and feature moments against float64 loops.
#include "kernels/scatter.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/dense.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  std::int64_t rows, cols;
};
const Shape shapes[] = {{0, 7}, {1, 1}, {3, 15}, {2, 17}, {37, 31}, {100, 65}, {21, 784}, {1, 16391}, {70, 0}};

std::vector<std::uint8_t> test_bytes(std::int64_t size) {
  PhiloxReader reader({.seed = 3, .unit = 8});
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
  for (auto& b : bytes) b = static_cast<std::uint8_t>(reader.word());
  return bytes;
}
double value_of(float x) { return x; }
double value_of(std::uint8_t x) { return x / 255.0; }

// |y - reference|: the division by 255 and the difference round once or twice relative to their size, the product once.
template <class T>
void check_row(const T* x, const std::vector<float>& mean, const std::vector<float>& inverse_std, Guarded<float>& y,
               std::int64_t n) {
  for (std::size_t k = 0; k < mean.size(); ++k) {
    const double v = value_of(x[k]), expected = (v - mean[k]) * inverse_std[k];
    const double bound = epsilon * (4 * std::abs(v) + 2 * std::abs(mean[k])) * std::abs(inverse_std[k]) +
                         2 * epsilon * std::abs(expected);
    REQUIRE(std::abs(y(n, static_cast<std::int64_t>(k)) - expected) <= bound);
  }
}

template <class T, class Run>
void check_standardize(const std::vector<T>& values, const Run& run) {
  for (const Shape& s : shapes) {
    for (const std::int64_t gap : {0, 3}) {
      CAPTURE(s.rows, s.cols, gap);
      const std::int64_t stride = s.cols + gap;
      const auto mean = test_normals(s.cols, 41), inverse_std = test_normals(s.cols, 42);
      Guarded<float> y(s.rows, s.cols, gap);
      run(BasicTensorView<const T>(values.data(), s.rows, s.cols, stride), mean, inverse_std, y.view());
      y.check();
      for (std::int64_t n = 0; n < s.rows; ++n) check_row(values.data() + n * stride, mean, inverse_std, y, n);
    }
  }
}

template <class T, class Run>
void check_gather(const std::vector<T>& values, const Run& run) {
  PhiloxReader reader({.seed = 5, .unit = 1});
  for (const Shape& s : shapes) {
    for (const std::int64_t source_rows : {1, 53}) {
      CAPTURE(s.rows, s.cols, source_rows);
      if (source_rows * s.cols > static_cast<std::int64_t>(values.size())) continue;
      const auto mean = test_normals(s.cols, 43), inverse_std = test_normals(s.cols, 44);
      std::vector<std::int32_t> index(static_cast<std::size_t>(s.rows));
      for (auto& i : index) i = static_cast<std::int32_t>(reader.below(static_cast<std::uint64_t>(source_rows)));
      Guarded<float> y(s.rows, s.cols, 2);
      const BasicTensorView<const T> x(values.data(), source_rows, s.cols, s.cols);
      run(x, std::span<const std::int32_t>(index), mean, inverse_std, y.view());
      y.check();
      for (std::int64_t n = 0; n < s.rows; ++n) check_row(x.row(index[n]), mean, inverse_std, y, n);
    }
  }
  std::vector<float> y(6);
  const std::vector<float> zero(3), one(3, 1.0F);
  const BasicTensorView<const T> x(values.data(), {4, 3});
  for (const std::int32_t bad : {-1, 4}) {
    const std::vector<std::int32_t> index{2, bad};
    CHECK_THROWS_WITH(run(x, std::span<const std::int32_t>(index), zero, one, TensorView(y.data(), {2, 3})),
                      Catch::Contains("0..3, found " + std::to_string(bad) + " at position 1"));
  }
}

template <class T, class Run>
void check_moments(const std::vector<T>& values, const Run& run) {
  for (const Shape& s :
       {Shape{1, 1}, Shape{2, 17}, Shape{959, 3}, Shape{961, 33}, Shape{2113, 5}, Shape{7, 300}, Shape{1000, 64}}) {
    CAPTURE(s.rows, s.cols);
    const std::int64_t stride = s.cols + 1;
    REQUIRE(static_cast<std::int64_t>(values.size()) >= s.rows * stride);
    Guarded<double> mean(s.cols), variance(s.cols);
    run(test_execution(), BasicTensorView<const T>(values.data(), s.rows, s.cols, stride), mean.flat(),
        variance.flat());
    mean.check();
    variance.check();
    const auto n = static_cast<double>(s.rows);
    for (std::int64_t k = 0; k < s.cols; ++k) {
      double sum = 0, spread = 0, magnitude = 0;
      for (std::int64_t r = 0; r < s.rows; ++r)
        sum += value_of(values[r * stride + k]), magnitude += std::abs(value_of(values[r * stride + k]));
      for (std::int64_t r = 0; r < s.rows; ++r) spread += std::pow(value_of(values[r * stride + k]) - sum / n, 2);
      // Sums of a group of g <= 960 terms err like sqrt g; the differences from the shift by a rounding of the values.
      const double steps = 4 * std::sqrt(std::min(n, 960.0)) + 4, size = magnitude / n, variance_ref = spread / n;
      REQUIRE(std::abs(mean(0, k) - sum / n) <= epsilon * (4 * size + steps * std::sqrt(variance_ref)));
      REQUIRE(std::abs(variance(0, k) - variance_ref) <=
              epsilon * (steps * variance_ref + 8 * size * std::sqrt(variance_ref)) +
                  std::pow(steps * epsilon * size, 2));
    }
    std::vector<double> again(static_cast<std::size_t>(2 * s.cols));
    run(test_execution(1), BasicTensorView<const T>(values.data(), s.rows, s.cols, stride),
        std::span(again).first(static_cast<std::size_t>(s.cols)),
        std::span(again).last(static_cast<std::size_t>(s.cols)));
    CHECK(std::memcmp(again.data(), mean.data(), static_cast<std::size_t>(s.cols) * sizeof(double)) == 0);
    CHECK(std::memcmp(again.data() + s.cols, variance.data(), static_cast<std::size_t>(s.cols) * sizeof(double)) == 0);
  }
  std::vector<double> mean(3), variance(3);
  CHECK_THROWS_WITH(run(test_execution(), BasicTensorView<const T>(values.data(), {0, 3}), mean, variance),
                    Catch::Contains("at least one row"));
}

}  // namespace

TEST_CASE("standardisation of floats", "[standardize]") {
  auto x = test_normals(20000, 40, 3.0, 1.0);
  check_standardize(x, [](ConstTensorView v, const auto& mean, const auto& inverse_std, TensorView y) {
    kernels::standardize(test_execution(), v, mean, inverse_std, y);
  });
  std::vector<float> y(38), mean(19), one(19, 1.0F);
  x[20] = not_a_number;
  kernels::standardize(test_execution(), {x.data(), {2, 19}}, mean, one, {y.data(), {2, 19}});
  for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i == 20));
  CHECK_THROWS_AS(
      kernels::standardize(test_execution(), {x.data(), {2, 19}}, mean, std::span(one).first(18), {y.data(), {2, 19}}),
      Error);
  CHECK_THROWS_AS(kernels::standardize(test_execution(), {x.data(), {2, 19}}, mean, one, {y.data(), {19, 2}}), Error);
}

TEST_CASE("standardisation of bytes", "[standardize_u8]") {
  check_standardize(test_bytes(20000),
                    [](kernels::ConstByteView v, const auto& mean, const auto& inverse_std, TensorView y) {
                      kernels::standardize_u8(test_execution(), v, mean, inverse_std, y);
                    });
}

TEST_CASE("gathered rows of floats", "[gather_rows]") {
  check_gather(test_normals(50000, 45),
               [](ConstTensorView x, auto index, const auto& mean, const auto& inverse_std, TensorView y) {
                 kernels::gather_rows(test_execution(), x, index, mean, inverse_std, y);
               });
}

TEST_CASE("gathered rows of bytes", "[gather_rows_u8]") {
  check_gather(test_bytes(50000),
               [](kernels::ConstByteView x, auto index, const auto& mean, const auto& inverse_std, TensorView y) {
                 kernels::gather_rows_u8(test_execution(), x, index, mean, inverse_std, y);
               });
}

TEST_CASE("feature moments of floats", "[feature_moments]") {
  const auto run = [](const kernels::Execution& e, ConstTensorView x, std::span<double> mean,
                      std::span<double> variance) { kernels::feature_moments(e, x, mean, variance); };
  check_moments(test_normals(70000, 46, 2.0, 0.5), run);
  check_moments(test_normals(70000, 47, 0.01, 30.0), run);  // a mean that would cancel
  std::vector<float> x(3000 * 2, 4.0F);
  std::vector<double> mean(2), variance(2);
  kernels::feature_moments(test_execution(), {x.data(), {3000, 2}}, mean, variance);
  CHECK(variance == std::vector<double>{0.0, 0.0});  // a constant feature
  x[2 * 1500] = not_a_number;
  kernels::feature_moments(test_execution(), {x.data(), {3000, 2}}, mean, variance);
  CHECK(std::isnan(mean[0]));
  CHECK(std::isnan(variance[0]));
  CHECK(mean[1] == 4.0);
}

TEST_CASE("feature moments of bytes", "[feature_moments_u8]") {
  check_moments(test_bytes(70000),
                [](const kernels::Execution& e, kernels::ConstByteView x, std::span<double> mean,
                   std::span<double> variance) { kernels::feature_moments_u8(e, x, mean, variance); });
}

TEST_CASE("column means", "[column_mean]") {
  for (const Shape& s : {Shape{1, 1}, Shape{2, 17}, Shape{959, 65}, Shape{961, 31}, Shape{2113, 5}, Shape{100, 784}}) {
    CAPTURE(s.rows, s.cols);
    const std::int64_t stride = s.cols + 2;
    auto x = test_normals(s.rows * stride, 48, 2.0, 0.5);
    Guarded<float> mean(s.cols);
    kernels::column_mean(test_execution(), ConstTensorView(x.data(), s.rows, s.cols, stride), mean.flat());
    mean.check();
    const auto n = static_cast<double>(s.rows);
    for (std::int64_t k = 0; k < s.cols; ++k) {
      double sum = 0, magnitude = 0;
      for (std::int64_t r = 0; r < s.rows; ++r) sum += x[r * stride + k], magnitude += std::abs(x[r * stride + k]);
      REQUIRE(std::abs(mean(0, k) - sum / n) <=
              epsilon * ((2 * std::sqrt(std::min(n, 960.0)) + 1) * magnitude / n + std::abs(sum / n)));
    }
    std::vector<float> again(static_cast<std::size_t>(s.cols));
    kernels::column_mean(test_execution(1), ConstTensorView(x.data(), s.rows, s.cols, stride), again);
    CHECK(std::memcmp(again.data(), mean.data(), again.size() * sizeof(float)) == 0);
  }
  std::vector<float> x(6, not_a_number), mean(3);
  x[0] = x[3] = 2.0F;
  kernels::column_mean(test_execution(), {x.data(), {2, 3}}, mean);
  CHECK(mean[0] == 2.0F);
  CHECK(std::isnan(mean[1]));
  CHECK_THROWS_AS(kernels::column_mean(test_execution(), {x.data(), {0, 3}}, mean), Error);
}
