#include <kindling/initialize.h>

#include <Eigen/Dense>
#include <cmath>

#include "support/catch.h"

using namespace kindling;

namespace {

double mean_square(const Tensor& t) {
  double sum = 0;
  for (const float v : t.flat()) sum += static_cast<double>(v) * v;
  return sum / static_cast<double>(t.size());
}

// Relative standard deviation of a mean of n squares: sqrt(kurtosis - 1) / sqrt(n); 2 for normals, 0.8 for uniforms.
double five_sigma(const Tensor& t, double excess) { return 5 * std::sqrt(excess / static_cast<double>(t.size())); }

}  // namespace

TEST_CASE("laws have their variances", "[baseline]") {
  const auto check = [](BaselineOptions options, double expected) {
    for (const Distribution d : {Distribution::normal, Distribution::uniform}) {
      options.distribution = d;
      Model model = Model::parse("300-200-50");
      initialize_baseline(model, options, {.seed = 5});
      const Tensor& w = model.layers()[0].weight;
      const double excess = d == Distribution::normal ? 2.0 : 0.8;
      CHECK(mean_square(w) / expected == Approx(1).margin(five_sigma(w, excess)));
      CHECK(law_stddev(options, 300, 200, {ActivationKind::relu}) == Approx(std::sqrt(expected)));
    }
  };
  check({.law = Law::xavier}, 2.0 / 500);
  check({.law = Law::lecun}, 1.0 / 300);
  check({.law = Law::he}, 2.0 / 300);
  check({.law = Law::he, .fan = FanMode::fan_out}, 2.0 / 200);
  check({.law = Law::he, .fan = FanMode::average}, 2.0 / 250);
  check({.law = Law::he, .gain = 1}, 1.0 / 300);
}

TEST_CASE("uniform weights stay inside their limit", "[baseline]") {
  Model model = Model::parse("30-20-5");
  initialize_baseline(model, {.law = Law::xavier, .distribution = Distribution::uniform, .bias = BiasRule::uniform},
                      {.seed = 1});
  const double limit = std::sqrt(6.0 / 50);
  double largest = 0;
  for (const float w : model.layers()[0].weight.flat()) largest = std::max(largest, std::abs(static_cast<double>(w)));
  CHECK(largest <= limit * (1 + 1e-6));
  CHECK(largest > 0.95 * limit);
  double bias = 0;
  for (const float b : model.layers()[0].bias.flat()) bias = std::max(bias, std::abs(static_cast<double>(b)));
  CHECK(bias <= 1 / std::sqrt(30.0));
  CHECK(bias > 0);
}

TEST_CASE("orthogonal weights have orthonormal rows or columns", "[baseline]") {
  Model model = Model::parse("40-25-60");
  initialize_baseline(model, {.law = Law::orthogonal, .gain = 1}, {.seed = 2});
  for (const Layer& layer : model.layers()) {
    const Eigen::MatrixXd w = Eigen::Map<const Eigen::Matrix<float, -1, -1, Eigen::RowMajor>>(
                                  layer.weight.data(), layer.fan_out(), layer.fan_in())
                                  .cast<double>();
    const Eigen::MatrixXd gram =
        layer.fan_out() <= layer.fan_in() ? (w * w.transpose()).eval() : (w.transpose() * w).eval();
    CHECK((gram - Eigen::MatrixXd::Identity(gram.rows(), gram.cols())).cwiseAbs().maxCoeff() < 1e-5);
  }
}

TEST_CASE("weights are a function of the seed and not of the number of threads", "[baseline]") {
  for (const Law law : {Law::he, Law::orthogonal}) {
    Model a = Model::parse("300-200-50");
    Model b = a.clone();
    Model c = a.clone();
    initialize_baseline(a, {.law = law}, {.seed = 5, .threads = 1});
    initialize_baseline(b, {.law = law}, {.seed = 5, .threads = 4});
    initialize_baseline(c, {.law = law}, {.seed = 6, .threads = 1});
    const auto equal = [](const Model& x, const Model& y) {
      const auto p = x.layers()[1].weight.flat();
      const auto q = y.layers()[1].weight.flat();
      return std::equal(p.begin(), p.end(), q.begin());
    };
    CHECK(equal(a, b));
    CHECK_FALSE(equal(a, c));
  }
}
