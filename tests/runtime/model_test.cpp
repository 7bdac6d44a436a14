#include <kindling/initialize.h>
#include <kindling/model.h>
#include <kindling/random.h>

#include <Eigen/Dense>
#include <cmath>

#include "support/catch.h"

using namespace kindling;

TEST_CASE("models are parsed and described", "[model]") {
  const Model model = Model::parse("784-256-100-10");
  REQUIRE(model.layers().size() == 3);
  CHECK(model.inputs() == 784);
  CHECK(model.outputs() == 10);
  CHECK(model.parameters() == 784 * 256 + 256 + 256 * 100 + 100 + 100 * 10 + 10);
  CHECK(model.layers()[0].activation.kind == ActivationKind::relu);
  CHECK(model.layers()[2].activation.kind == ActivationKind::identity);
  CHECK(model.layers()[1].name == "layers.1");
  for (const char* text : {"784-10", "3-4-5:tanh", "3-4-5:leaky_relu:0.2"})
    CHECK(Model::parse(text).description() == text);
}

TEST_CASE("what is no model is refused with what was found", "[model]") {
  for (const char* text :
       {"", "784", "784-", "-10", "784-0-10", "784-x-10", "784--10", "784-10:swish", "784-99999999999-10", "7 84-10"}) {
    INFO(text);
    CHECK_THROWS_AS(Model::parse(text), Error);
  }
}

TEST_CASE("forward is the chain of layers", "[model]") {
  Model model = Model::parse("7-5-6-3:leaky_relu:0.1");
  initialize_baseline(model, {.bias = BiasRule::uniform}, {.seed = 3});
  Tensor x({4, 7});
  fill_normal({1, Purpose::test, 0, 0}, 0, 1, x.flat(), {});
  const Tensor y = forward(model, x, {});
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto matrix = [](const Tensor& t, std::int64_t rows, std::int64_t cols) {
    return Eigen::Map<const Eigen::Matrix<float, -1, -1, Eigen::RowMajor>>(t.data(), rows, cols).cast<double>().eval();
  };
  Matrix z = matrix(x, 4, 7);
  for (const Layer& layer : model.layers()) {
    Matrix next = z * matrix(layer.weight, layer.fan_out(), layer.fan_in()).transpose();
    next.rowwise() += matrix(layer.bias, 1, layer.fan_out()).row(0);
    if (&layer != &model.layers().back())
      next = next.unaryExpr([](double v) { return v > 0 ? v : v * static_cast<double>(0.1F); });
    z = next;
  }
  for (std::int64_t i = 0; i < z.size(); ++i) CHECK(y.data()[i] == Approx(z.data()[i]).margin(1e-6));
  CHECK_THROWS_AS(forward(model, Tensor({4, 6}), {}), Error);
}

TEST_CASE("fit and finiteness are checked", "[model]") {
  Model model = Model::parse("7-3");
  CHECK_NOTHROW(check_fits(model, 7, 3));
  CHECK_THROWS_WITH(check_fits(model, 8, 3), Catch::Contains("7") && Catch::Contains("8"));
  CHECK_THROWS_AS(check_fits(model, 7, 4), Error);
  CHECK_NOTHROW(check_finite(model));
  model.layers()[0].bias.data()[1] = std::nanf("");
  CHECK_THROWS_WITH(check_finite(model), Catch::Contains("layers.0.bias") && Catch::Contains("1"));
}
