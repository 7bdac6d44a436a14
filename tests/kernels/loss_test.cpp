// Losses and their gradients against float64 formulas.
#include "kernels/loss.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

struct Shape {
  std::int64_t batch, cols;
};
// Around vectors of 4 to 16 lanes, tiles of two or four of them, and tasks of 256 rows.
const Shape shapes[] = {{1, 1},  {1, 10}, {2, 3},   {7, 2},   {15, 10},  {16, 11}, {17, 10},
                        {31, 5}, {33, 7}, {63, 17}, {65, 33}, {257, 10}, {523, 3}, {100, 101}};

std::vector<std::int32_t> test_labels(std::int64_t batch, std::int64_t classes) {
  PhiloxReader reader({.seed = 7, .unit = 99});
  std::vector<std::int32_t> labels(static_cast<std::size_t>(batch));
  for (auto& l : labels) l = static_cast<std::int32_t>(reader.below(static_cast<std::uint64_t>(classes)));
  return labels;
}

void check_softmax(const Shape& s, double spread, std::int64_t gap, float scale, bool with_gradient) {
  CAPTURE(s.batch, s.cols, spread, gap, with_gradient);
  const std::int64_t stride = s.cols + gap;
  auto logits = test_normals(s.batch * stride, 5, spread, 3.0);
  if (s.cols > 2) logits[0] = logits[2] = 50 * static_cast<float>(spread);  // a tie: the lower class wins
  const auto labels = test_labels(s.batch, s.cols);
  Guarded<float> loss(s.batch), gradient(s.batch, s.cols, gap);
  Guarded<std::int32_t> prediction(s.batch);
  loss.fill(not_a_number);
  gradient.fill(not_a_number);
  prediction.fill(-1);
  const ConstTensorView z(logits.data(), s.batch, s.cols, stride);
  if (with_gradient) {
    kernels::softmax_cross_entropy(test_execution(), z, labels, scale, loss.flat(), gradient.view(), prediction.flat());
  } else {
    kernels::softmax_cross_entropy_loss(test_execution(), z, labels, loss.flat(), prediction.flat());
  }
  loss.check();
  gradient.check();
  prediction.check();
  for (std::int64_t n = 0; n < s.batch; ++n) {
    std::int64_t best = 0;
    for (std::int64_t c = 1; c < s.cols; ++c) best = z(n, c) > z(n, best) ? c : best;
    const double top = z(n, best);
    double total = 0, moved = 0;  // moved: what rounding of z - top does to the sum
    for (std::int64_t c = 0; c < s.cols; ++c) {
      const double p = std::exp(z(n, c) - top);
      total += p;
      moved += p * (top - z(n, c));
    }
    const double below = top - z(n, labels[n]), expected = std::log(total) + below;
    // Each term's exponential is within 3 units, the sum of C positive terms within C, the logarithm within 3.
    const double sum_error = epsilon * (static_cast<double>(s.cols) + 6 + moved / total);
    REQUIRE(std::abs(loss(0, n) - expected) <= sum_error + epsilon * (3 * std::log(total) + below + expected));
    REQUIRE(prediction(0, n) == best);
    if (!with_gradient) continue;
    for (std::int64_t c = 0; c < s.cols; ++c) {
      const double p = std::exp(z(n, c) - top) / total, hot = labels[n] == c ? 1 : 0;
      const double bound = p * (sum_error + epsilon * (6 + top - z(n, c))) + 2 * epsilon * std::abs(p - hot) + 1e-38;
      REQUIRE(std::abs(gradient(n, c) - (p - hot) * scale) <= bound * scale);
    }
  }
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

}  // namespace

TEST_CASE("softmax cross-entropy, gradient and prediction", "[softmax_cross_entropy]") {
  for (const Shape& s : shapes) {
    check_softmax(s, 1.0, 0, 1.0F / static_cast<float>(s.batch), true);
    check_softmax(s, 20.0, 3, 1.0F, true);
  }
}

TEST_CASE("softmax cross-entropy without gradient", "[softmax_cross_entropy_loss]") {
  for (const Shape& s : shapes) {
    check_softmax(s, 1.0, 0, 1.0F, false);
    check_softmax(s, 20.0, 5, 1.0F, false);
  }
  std::vector<float> logits(10, not_a_number), loss(1);
  std::vector<std::int32_t> prediction(1, -1);
  const std::vector<std::int32_t> label{3};
  kernels::softmax_cross_entropy_loss(test_execution(), {logits.data(), {1, 10}}, label, loss, prediction);
  CHECK(std::isnan(loss[0]));
  CHECK(prediction[0] == 0);
}

TEST_CASE("softmax cross-entropy of NaN and infinite logits", "[softmax_cross_entropy]") {
  // Row, column of the oddity; the label is 1.
  constexpr std::int64_t rows = 37, classes = 10;
  auto logits = test_normals(rows * classes, 11);
  const auto at = [&](std::int64_t n, std::int64_t c) -> float& {
    return logits[static_cast<std::size_t>(n * classes + c)];
  };
  for (std::int64_t c = 0; c < classes; ++c) at(c, c) = not_a_number;
  for (std::int64_t c = 0; c < classes; ++c) at(10 + c, c) = infinity;
  at(20, 1) = -infinity;  // the label's
  at(21, 4) = -infinity;
  for (std::int64_t c = 0; c < classes; ++c) at(22, c) = not_a_number;
  for (std::int64_t c = 0; c < classes; ++c) at(23, c) = -infinity;
  at(24, 0) = 3e38F;
  at(24, 1) = -3e38F;
  at(25, 1) = 200.0F;
  const std::vector<std::int32_t> labels(rows, 1);
  Guarded<float> loss(rows), gradient(rows, classes);
  Guarded<std::int32_t> prediction(rows);
  kernels::softmax_cross_entropy(test_execution(), {logits.data(), {rows, classes}}, labels, 1.0F, loss.flat(),
                                 gradient.view(), prediction.flat());
  loss.check();
  gradient.check();
  prediction.check();
  for (std::int64_t n = 0; n < rows; ++n) {
    CAPTURE(n);
    const bool bad = n < 20 || n == 22 || n == 23;
    if (n != 20 && n != 24) CHECK(std::isfinite(loss(0, n)) == !bad);
    for (std::int64_t c = 0; c < classes; ++c) CHECK(std::isnan(gradient(n, c)) == bad);
    if (n < 20 || n == 22) CHECK(std::isnan(loss(0, n)));
    CHECK(prediction(0, n) >= 0);
    CHECK(prediction(0, n) < classes);
    if (n < 10) {
      std::int64_t best = n == 0 ? 1 : 0;
      for (std::int64_t c = 0; c < classes; ++c) best = at(n, c) > at(n, best) ? c : best;
      CHECK(prediction(0, n) == best);
    }
    if (n >= 10 && n < 20) CHECK(prediction(0, n) == n - 10);
  }
  CHECK(prediction(0, 22) == 0);
  CHECK(loss(0, 20) == infinity);
  CHECK(loss(0, 24) == infinity);
  CHECK(gradient(20, 1) == -1.0F);
  CHECK(gradient(21, 4) == 0.0F);
  CHECK(gradient(24, 0) == 1.0F);
  CHECK(loss(0, 25) == 0.0F);
}

TEST_CASE("softmax cross-entropy gives the same bits for any number of threads and refuses what does not fit",
          "[softmax_cross_entropy]") {
  constexpr std::int64_t rows = 1571, classes = 10;
  const auto logits = test_normals(rows * classes, 12, 4.0);
  const auto labels = test_labels(rows, classes);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 3}) {
    std::vector<float> all(static_cast<std::size_t>(rows * (classes + 1)));
    std::vector<std::int32_t> prediction(rows);
    kernels::softmax_cross_entropy(test_execution(threads), {logits.data(), {rows, classes}}, labels, 0.1F,
                                   std::span(all).first(rows), {all.data() + rows, {rows, classes}}, prediction);
    results.push_back(all);
  }
  CHECK(same_bits(results[0], results[1]));
  CHECK(same_bits(results[0], results[2]));

  std::vector<float> loss(2), gradient(6), z(6);
  std::vector<std::int32_t> prediction(2);
  const auto call = [&](std::vector<std::int32_t> l, std::int64_t gradient_cols) {
    kernels::softmax_cross_entropy(test_execution(), {z.data(), {2, 3}}, l, 1.0F, loss,
                                   {gradient.data(), {2, gradient_cols}}, prediction);
  };
  CHECK_NOTHROW(call({0, 2}, 3));
  CHECK_THROWS_WITH(call({0, 3}, 3), Catch::Contains("0..2, found 3 at sample 1"));
  CHECK_THROWS_AS(call({-1, 0}, 3), Error);
  CHECK_THROWS_AS(call({0}, 3), Error);
  CHECK_THROWS_AS(call({0, 1}, 2), Error);
  CHECK_NOTHROW(kernels::softmax_cross_entropy(test_execution(), {z.data(), {0, 3}}, {}, 1.0F, {},
                                               {gradient.data(), {0, 3}}, {}));
}

TEST_CASE("squared error and its gradient", "[squared_error]") {
  for (const Shape& s : shapes) {
    for (const std::int64_t gap : {0, 3}) {
      CAPTURE(s.batch, s.cols, gap);
      const std::int64_t stride = s.cols + gap;
      const auto y = test_normals(s.batch * stride, 21, 2.0, 1.0), t = test_normals(s.batch * stride, 22);
      Guarded<float> loss(s.batch), gradient(s.batch, s.cols, gap);
      const float scale = 0.37F;
      kernels::squared_error(test_execution(), ConstTensorView(y.data(), s.batch, s.cols, stride),
                             ConstTensorView(t.data(), s.batch, s.cols, stride), scale, loss.flat(), gradient.view());
      loss.check();
      gradient.check();
      const auto d = static_cast<double>(s.cols);
      for (std::int64_t n = 0; n < s.batch; ++n) {
        double sum = 0;
        for (std::int64_t c = 0; c < s.cols; ++c) {
          const double difference = static_cast<double>(y[n * stride + c]) - static_cast<double>(t[n * stride + c]);
          sum += difference * difference;
          REQUIRE(std::abs(gradient(n, c) - difference * scale * 2 / d) <=
                  5 * epsilon * std::abs(difference * scale * 2 / d));
        }
        REQUIRE(std::abs(loss(0, n) - sum / d) <= (d + 5) * epsilon * sum / d);  // positive terms
      }
    }
  }
  // NaN in one row stays in it.
  std::vector<float> y(3 * 19, 1.0F), t(3 * 19, 0.0F), loss(3), gradient(3 * 19);
  y[19 + 18] = not_a_number;
  kernels::squared_error(test_execution(), {y.data(), {3, 19}}, {t.data(), {3, 19}}, 1.0F, loss,
                         {gradient.data(), {3, 19}});
  CHECK(loss[0] == 1.0F);
  CHECK(std::isnan(loss[1]));
  CHECK(loss[2] == 1.0F);
  CHECK(std::isnan(gradient[19 + 18]));
  CHECK_FALSE(std::isnan(gradient[19 + 17]));
  CHECK_NOTHROW(kernels::squared_error(test_execution(), {y.data(), {0, 19}}, {t.data(), {0, 19}}, 1.0F, {},
                                       {gradient.data(), {0, 19}}));
  CHECK_THROWS_AS(kernels::squared_error(test_execution(), {y.data(), {3, 19}}, {t.data(), {3, 18}}, 1.0F, loss,
                                         {gradient.data(), {3, 19}}),
                  Error);
  CHECK_THROWS_AS(kernels::squared_error(test_execution(), {y.data(), {3, 0}}, {t.data(), {3, 0}}, 1.0F, loss,
                                         {gradient.data(), {3, 0}}),
                  Error);
}

namespace {

void check_activation_gradient(const Activation& activation) {
  for (const Shape& s : {Shape{1, 1}, Shape{3, 17}, Shape{65, 33}, Shape{2, 16411}, Shape{0, 5}}) {
    for (const std::int64_t gap : {0, 5}) {
      CAPTURE(s.batch, s.cols, gap, to_string(activation));
      const std::int64_t stride = s.cols + gap;
      auto y = test_normals(s.batch * stride, 31, 0.5);
      for (float& v : y) v = activation.kind == ActivationKind::sigmoid ? std::abs(std::tanh(v)) : std::tanh(v);
      if (s.batch > 0 && s.cols > 2) y[1] = 0.0F, y[2] = not_a_number;
      const auto dy = test_normals(s.batch * stride, 32);
      Guarded<float> dz(s.batch, s.cols, gap);
      for (std::int64_t n = 0; n < s.batch; ++n)
        for (std::int64_t c = 0; c < s.cols; ++c) dz(n, c) = dy[n * stride + c];  // in place
      kernels::activation_gradient(test_execution(), ConstTensorView(y.data(), s.batch, s.cols, stride), activation,
                                   dz.view(), dz.view());
      dz.check();
      for (std::int64_t n = 0; n < s.batch; ++n) {
        for (std::int64_t c = 0; c < s.cols; ++c) {
          const double v = y[n * stride + c], g = dy[n * stride + c];
          if (std::isnan(v)) {
            REQUIRE(std::isnan(dz(n, c)));
            continue;
          }
          double slope = 0;
          if (activation.kind == ActivationKind::tanh)
            slope = (1 - v) * (1 + v);
          else if (activation.kind == ActivationKind::sigmoid)
            slope = v * (1 - v);
          else
            slope = v > 0 ? 1.0 : static_cast<double>(negative_slope(activation));
          // 1 - y^2 is off by one rounding of y^2, which is at most 1.
          REQUIRE(std::abs(dz(n, c) - slope * g) <=
                  epsilon * std::abs(g) * (activation.kind == ActivationKind::tanh ? 2 : 1) +
                      2 * epsilon * std::abs(slope * g));
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("derivative of piecewise-linear activations", "[activation_gradient]") {
  check_activation_gradient({ActivationKind::relu});
  check_activation_gradient({ActivationKind::leaky_relu, 0.2F});
  check_activation_gradient({ActivationKind::identity});
  std::vector<float> a(6), b(6);
  CHECK_THROWS_AS(
      kernels::activation_gradient(test_execution(), {a.data(), {2, 3}}, {}, {b.data(), {3, 2}}, {b.data(), {3, 2}}),
      Error);
}
TEST_CASE("derivative of tanh", "[activation_gradient_tanh]") { check_activation_gradient({ActivationKind::tanh}); }
TEST_CASE("derivative of the logistic function", "[activation_gradient_sigmoid]") {
  check_activation_gradient({ActivationKind::sigmoid});
}
