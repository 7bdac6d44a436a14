// Second derivative of softmax cross-entropy times a vector, against the float64 formula.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/loss.h"
#include "support/expect_error.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

void check(std::int64_t batch, std::int64_t classes, double spread, std::int64_t gap, float scale) {
  CAPTURE(batch, classes, spread, gap, scale);
  const std::int64_t stride = classes + gap;
  const auto logits = test_normals(batch * stride, 5, spread, 3.0), tangents = test_normals(batch * stride, 6, 2, 0.5);
  const ConstTensorView z(logits.data(), batch, classes, stride), t(tangents.data(), batch, classes, stride);
  Guarded<float> product(batch, classes, gap);
  product.fill(not_a_number);
  kernels::softmax_hessian_product(test_execution(), z, t, scale, product.view());
  product.check();
  for (std::int64_t n = 0; n < batch; ++n) {
    const double top = *std::max_element(z.row(n), z.row(n) + classes);
    double total = 0, mean = 0, moved = 0, size = 0, moved_size = 0;
    for (std::int64_t c = 0; c < classes; ++c) {
      const double e = std::exp(z(n, c) - top);
      total += e;
      mean += e * t(n, c);
      size += e * std::abs(t(n, c));
      // Rounding of z - top moves an exponential by as many units as the difference is large.
      moved += e * (top - z(n, c));
      moved_size += e * std::abs(t(n, c)) * (top - z(n, c));
    }
    mean /= total;
    // Exponentials are within 3 units; sums of C terms within C units of the sum of their sizes.
    const auto terms = static_cast<double>(classes);
    const double sum_error = epsilon * (terms + 6 + moved / total);
    const double mean_error =
        epsilon * ((terms + 6) * size + moved_size) / total + (sum_error + 2 * epsilon) * std::abs(mean);
    for (std::int64_t c = 0; c < classes; ++c) {
      const double p = std::exp(z(n, c) - top) / total, difference = t(n, c) - mean;
      const double bound = p * (std::abs(difference) * (sum_error + epsilon * (8 + top - z(n, c))) + mean_error +
                                epsilon * std::abs(difference)) +
                           1e-37 * (1 + std::abs(difference));
      REQUIRE(std::abs(product(n, c) - p * difference * scale) <= bound * scale);
    }
  }
}

}  // namespace

TEST_CASE("softmax Hessian times a vector", "[softmax_hessian_product]") {
  const std::pair<std::int64_t, std::int64_t> shapes[] = {{1, 1},   {1, 10},   {2, 3},   {7, 2},    {15, 10},
                                                          {16, 11}, {17, 10},  {31, 5},  {33, 7},   {63, 17},
                                                          {65, 33}, {257, 10}, {523, 3}, {100, 101}};
  for (const auto& [batch, classes] : shapes) {
    check(batch, classes, 1.0, 0, 1.0F / static_cast<float>(batch));
    check(batch, classes, 10.0, 3, 1.0F);
  }
}

TEST_CASE("softmax Hessian: an empty batch, a constant tangent, NaN", "[softmax_hessian_product]") {
  kernels::softmax_hessian_product(test_execution(), {nullptr, {0, 3}}, {nullptr, {0, 3}}, 1.0F, {nullptr, {0, 3}});
  const std::int64_t rows = 19, classes = 7;
  auto logits = test_normals(rows * classes, 1);
  std::vector<float> ones(logits.size(), 1.0F), result(logits.size(), 5.0F);
  const ConstTensorView z(logits.data(), {rows, classes}), t(ones.data(), {rows, classes});
  const TensorView out(result.data(), {rows, classes});
  // A constant added to all logits changes nothing.
  kernels::softmax_hessian_product(test_execution(), z, t, 1.0F, out);
  for (const float r : result) CHECK(std::abs(r) <= 16 * epsilon);
  logits[3 * classes + 2] = not_a_number;
  ones[5 * classes + 1] = not_a_number;
  kernels::softmax_hessian_product(test_execution(), z, t, 1.0F, out);
  for (std::int64_t n = 0; n < rows; ++n)
    for (std::int64_t c = 0; c < classes; ++c) CHECK(std::isnan(out(n, c)) == (n == 3 || n == 5));
  expect_error(ErrorCode::usage, {"softmax_hessian_product", "tangent"}, [&] {
    kernels::softmax_hessian_product(test_execution(), z, ConstTensorView(ones.data(), {rows, classes - 1}), 1, out);
  });
}
