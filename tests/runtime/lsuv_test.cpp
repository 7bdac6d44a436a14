#include <kindling/initialize.h>

#include <cmath>

#include "support/catch.h"
#include "support/small_data.h"

using namespace kindling;

TEST_CASE("LSUV gives every layer unit pre-activation variance on the data", "[lsuv]") {
  const Dataset data = test::small_data();
  Model model = Model::parse("20-30-25-4");
  LsuvOptions options;
  options.base.law = Law::xavier;
  options.samples = 0;
  const LsuvReport report = initialize_lsuv(model, data, options, {.seed = 1});
  REQUIRE(report.layers.size() == 3);
  // Independent check: the variance of each layer's pre-activations over all training samples, in double.
  std::vector<std::vector<double>> rows;
  for (std::int64_t i = 0; i < data.train.count; ++i) {
    rows.emplace_back(data.train.floats.begin() + i * 20, data.train.floats.begin() + (i + 1) * 20);
  }
  for (std::size_t l = 0; l < 3; ++l) {
    const Layer& layer = model.layers()[l];
    double sum = 0;
    double square = 0;
    for (auto& row : rows) {
      std::vector<double> next;
      for (std::int64_t m = 0; m < layer.fan_out(); ++m) {
        double z = layer.bias.data()[m];
        for (std::int64_t k = 0; k < layer.fan_in(); ++k)
          z += layer.weight.data()[m * layer.fan_in() + k] * row[static_cast<std::size_t>(k)];
        sum += z;
        square += z * z;
        next.push_back(l < 2 ? std::max(z, 0.0) : z);
      }
      row = next;
    }
    const auto n = static_cast<double>(data.train.count * layer.fan_out());
    const double variance = square / n - (sum / n) * (sum / n);
    CHECK(std::abs(variance - 1) <= 0.02 + 1e-4);
    CHECK(report.layers[l].variance_after == Approx(variance).epsilon(1e-4));
    CHECK(report.layers[l].converged);
    CHECK(report.layers[l].iterations >= 1);
  }
}

TEST_CASE("LSUV can leave the output layer alone and says so", "[lsuv]") {
  const Dataset data = test::small_data(500);
  Model model = Model::parse("20-30-4");
  Model plain = model.clone();
  initialize_baseline(plain, LsuvOptions{}.base, {.seed = 1});
  LsuvOptions options;
  options.last_layer = false;
  const LsuvReport report = initialize_lsuv(model, data, options, {.seed = 1});
  CHECK_FALSE(report.layers[1].skipped.empty());
  CHECK(std::equal(plain.layers()[1].weight.flat().begin(), plain.layers()[1].weight.flat().end(),
                   model.layers()[1].weight.flat().begin()));
  CHECK_FALSE(std::equal(plain.layers()[0].weight.flat().begin(), plain.layers()[0].weight.flat().end(),
                         model.layers()[0].weight.flat().begin()));
}

TEST_CASE("LSUV names the layer whose outputs do not vary", "[lsuv]") {
  Dataset data = test::small_data(200);
  std::fill(data.train.floats.begin(), data.train.floats.end(), 0.0F);
  Model model = Model::parse("20-30-4");
  CHECK_THROWS_WITH(initialize_lsuv(model, data, {}, {.seed = 1}), Catch::Contains("layers.0"));
}
