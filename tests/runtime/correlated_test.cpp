#include <kindling/correlated.h>
#include <kindling/error.h>
#include <kindling/methods.h>
#include <kindling/random.h>

#include <Eigen/Dense>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/activity.h"
#include "nn/forward_pass.h"
#include "support/catch.h"
#include "support/small_data.h"

using namespace kindling;

namespace {

// Rows of one layer with their biases as a further column.
Eigen::MatrixXd rows_of(const Layer& layer, bool with_bias) {
  const ConstTensorView w = layer.weight.view().matrix();
  Eigen::MatrixXd rows(w.rows(), w.cols() + (with_bias ? 1 : 0));
  for (std::int64_t r = 0; r < w.rows(); ++r) {
    for (std::int64_t c = 0; c < w.cols(); ++c) rows(r, c) = w(r, c);
    if (with_bias) rows(r, w.cols()) = layer.bias.flat()[static_cast<std::size_t>(r)];
  }
  return rows;
}

// The sample covariance (mean known to be 0) against (variance / fan_in)(I - kappa / N 11^T), entry by entry: the
// standard error of a product's mean over n rows is sqrt((A_ii A_jj + A_ij^2) / n).
void check_covariance(const Eigen::MatrixXd& rows, double variance, double fan_in, double k) {
  const auto n = static_cast<double>(rows.rows());
  const auto entries = static_cast<double>(rows.cols());
  const Eigen::MatrixXd found = rows.transpose() * rows / n;
  const double kappa = k / (1 + k), diagonal = variance / fan_in * (1 - kappa / entries);
  const double off = -variance / fan_in * kappa / entries;
  for (Eigen::Index i = 0; i < found.rows(); ++i) {
    for (Eigen::Index j = 0; j < found.cols(); ++j) {
      const double expected = i == j ? diagonal : off;
      INFO(i << ", " << j);
      CHECK(std::abs(found(i, j) - expected) < 5 * std::sqrt((diagonal * diagonal + expected * expected) / n));
    }
  }
  // The direction in which the law is narrow: the row sums.
  const double narrow = variance / fan_in * entries / (1 + k);
  const double sums = rows.rowwise().sum().squaredNorm() / n;
  CHECK(std::abs(sums - narrow) < 5 * narrow * std::sqrt(2 / n));
}

// Share of units with output 0, layer by layer, of a ReLU network for inputs N(0, I).
std::vector<double> dead_shares(const CorrelatedOptions& options, std::uint64_t seed) {
  const std::int64_t width = 1000, inputs = 100;
  Model model = Model::mlp(std::vector<std::int64_t>(9, width), {ActivationKind::relu}, {ActivationKind::relu});
  initialize_correlated(model, options, std::nullopt, {.seed = seed});
  Tensor x({inputs, width});
  fill_normal({seed, Purpose::test, 1, 0}, 0, 1, x.flat(), {});
  const kernels::Execution exec = kernels::execution({});
  ForwardPass pass(model, inputs);
  ConstTensorView current = x;
  std::vector<double> shares;
  for (std::size_t l = 0; l < model.layers().size(); ++l) {
    current = pass.run_from(exec, model, l, current, l + 1);
    std::vector<std::int32_t> counts(static_cast<std::size_t>(width));
    kernels::active_counts(exec, current, counts);
    double active = 0;
    for (const std::int32_t c : counts) active += c;
    shares.push_back(1 - active / static_cast<double>(width * inputs));
  }
  return shares;
}

double mean_square_output(const Model& model, std::size_t layers, std::uint64_t seed) {
  Tensor x({200, model.inputs()});
  fill_normal({seed, Purpose::test, 2, 0}, 0, 1, x.flat(), {});
  ForwardPass pass(model, 200);
  const ConstTensorView y = pass.run(kernels::execution({}), model, x, layers);
  double sum = 0;
  for (std::int64_t r = 0; r < y.rows(); ++r) {
    for (std::int64_t c = 0; c < y.cols(); ++c) sum += static_cast<double>(y(r, c)) * y(r, c);
  }
  return sum / static_cast<double>(y.size());
}

// Mean square of the pre-activations of layer l for the inputs that matching uses.
double probe_length(const Model& model, std::size_t l, std::uint64_t seed) {
  Model bare = model.clone();
  bare.layers()[l].activation = {ActivationKind::identity};
  Tensor x({256, model.inputs()});
  fill_normal({seed, Purpose::probe, 0, 0}, 0, 1, x.flat(), {});
  ForwardPass pass(bare, 256);
  const ConstTensorView z = pass.run_from(kernels::execution({}), bare, 0, x, l + 1);
  double sum = 0;
  for (std::int64_t r = 0; r < z.rows(); ++r) {
    for (std::int64_t c = 0; c < z.cols(); ++c) sum += static_cast<double>(z(r, c)) * z(r, c);
  }
  return sum / static_cast<double>(z.size());
}

}  // namespace

TEST_CASE("rows have the covariance of the law, for any k and variance", "[correlated]") {
  for (const double k : {100.0, 1.0, 0.0, -0.5}) {
    INFO("k " << k);
    Model model = Model::parse("12-8000-7");
    const CorrelatedReport report =
        initialize_correlated(model, {.k = k, .weight_variance = 1.7, .bias_variance = 0.3}, std::nullopt, {.seed = 3});
    check_covariance(rows_of(model.layers()[0], false), 1.7, 12, k);
    const double kappa = k / (1 + k);
    CHECK(report.layers[0].law_correlation == Approx(-kappa / (12 - kappa)).margin(1e-15));
    CHECK(report.layers[0].correlation == Approx(report.layers[0].law_correlation).margin(0.004));
    CHECK(report.layers[0].weight_stddev == Approx(report.layers[0].law_stddev).epsilon(0.02));
    CHECK(report.layers[0].bias_stddev == Approx(std::sqrt(0.3)).epsilon(5 / std::sqrt(2 * 8000.0)));
  }
}

TEST_CASE("the bias is one more entry of the row, scaled by fan-in", "[correlated]") {
  Model model = Model::parse("9-8000-2");
  initialize_correlated(model, {.k = 100, .weight_variance = 0.9, .bias_entry = true}, std::nullopt, {.seed = 4});
  check_covariance(rows_of(model.layers()[0], true), 0.9, 9, 100);
}

TEST_CASE("a convolution's rows are receptive fields", "[correlated]") {
  Model model = Model::parse("1x8x8:conv4000k3,avgpool,3");
  const CorrelatedReport report = initialize_correlated(model, aci_options(), std::nullopt, {.seed = 5});
  check_covariance(rows_of(model.layers()[0], false), 2, 9, 100);
  CHECK(report.layers[1].skipped.find("average") != std::string::npos);
}

TEST_CASE("one entry of each row is a Beta(2, 1) draw, anywhere with equal chance", "[correlated]") {
  Model model = Model::parse("4-20000-2");
  CorrelatedOptions options = rai_options();
  options.weight_variance = 1e-12;  // what is not Beta is next to nothing
  initialize_correlated(model, options, std::nullopt, {.seed = 6});
  const Eigen::MatrixXd rows = rows_of(model.layers()[0], true);
  std::vector<double> places(5);
  double sum = 0, squares = 0, cubes = 0;
  for (Eigen::Index r = 0; r < rows.rows(); ++r) {
    int large = 0;
    for (Eigen::Index c = 0; c < rows.cols(); ++c) {
      const double v = rows(r, c);
      if (std::abs(v) < 2e-5) continue;
      ++large, ++places[static_cast<std::size_t>(c)];
      sum += v, squares += v * v, cubes += v * v * v;
    }
    REQUIRE(large <= 1);
  }
  const auto n = static_cast<double>(rows.rows());
  // E u^p = 2 / (p + 2).
  const auto near = [&](double found, double mean, double square) {
    CHECK(std::abs(found / n - mean) < 5 * std::sqrt((square - mean * mean) / n));
  };
  near(sum, 2.0 / 3, 2.0 / 4);
  near(squares, 2.0 / 4, 2.0 / 6);
  near(cubes, 2.0 / 5, 2.0 / 8);
  for (const double count : places) CHECK(std::abs(count / n - 0.2) < 5 * std::sqrt(0.2 * 0.8 / n));
}

TEST_CASE("dead units layer by layer", "[correlated]") {
  const auto mean_over_seeds = [](const CorrelatedOptions& options) {
    std::vector<double> mean(8);
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      const std::vector<double> shares = dead_shares(options, seed);
      for (std::size_t l = 0; l < mean.size(); ++l) mean[l] += shares[l] / 3;
    }
    return mean;
  };
  // 3000 units: signals that grow alike make a layer's share one of as many coins, standard error 0.009.
  const double error = 4 * 0.5 / std::sqrt(3000.0);
  const std::vector<double> aci = mean_over_seeds(aci_options());
  for (const double share : aci) CHECK(std::abs(share - 0.5) < error);
  const std::vector<double> rai = mean_over_seeds(rai_options()), raai = mean_over_seeds(raai_options());
  CHECK(std::abs(rai[0] - 0.50) < error);
  CHECK(std::abs(raai[0] - 0.50) < error);
  CHECK(std::abs(rai[1] - 0.35) < error);
  CHECK(std::abs(raai[1] - 0.37) < error);
  CHECK(std::abs(rai[7] - 0.31) < error);
  CHECK(std::abs(raai[7] - 0.33) < error);
}

TEST_CASE("a matched law has the other one's length in every layer", "[correlated]") {
  for (const char* description : {"60-80-70-10", "2x6x6:conv12,pool2,conv8,flatten,10", "40-50-30-5:tanh"}) {
    INFO(description);
    Model like = Model::parse(description), own = like.clone();
    initialize_correlated(like, raai_options(), std::nullopt, {.seed = 8});
    const CorrelatedReport report = initialize_correlated(own, {.k = 0}, raai_options(), {.seed = 8});
    for (std::size_t l = 0; l < own.layers().size(); ++l) {
      if (!own.layers()[l].has_neurons()) continue;
      INFO("layer " << l);
      CHECK(report.layers[l].length_factor != 1);
      CHECK(probe_length(own, l, 8) / probe_length(like, l, 8) == Approx(1).epsilon(1e-4));
    }
  }
}

TEST_CASE("keep_length keeps the length through many layers where ACI's shrinks", "[correlated]") {
  Model kept = Model::mlp(std::vector<std::int64_t>(11, 800)), shrunk = kept.clone();
  CorrelatedOptions options = aci_options();
  initialize_correlated(shrunk, options, std::nullopt, {.seed = 1});
  options.keep_length = true;
  const CorrelatedReport report = initialize_correlated(kept, options, std::nullopt, {.seed = 1});
  CHECK(report.layers[0].weight_variance == Approx(1).epsilon(1e-12));  // inputs of mean 0
  CHECK(report.layers[9].weight_variance == Approx(2.920383).epsilon(1e-6));
  // ln q wanders by about sqrt(5 layers / width) = 0.25. ACI's first layer multiplies by sigma_w^2 = 2 and the nine
  // after it by 0.685.
  CHECK(std::abs(std::log(mean_square_output(kept, 10, 2))) < 0.75);
  CHECK(std::abs(std::log(mean_square_output(shrunk, 10, 2) / (2 * std::pow(0.6848, 9)))) < 0.75);
}

TEST_CASE("correlated methods by name, their controls and what they refuse", "[correlated]") {
  CHECK(control_of(MethodSpec::parse("raai")).text() == "he-matched:like=raai");
  CHECK(control_of(MethodSpec::parse("rai:k=3")).text() == "he-matched:k=3,like=rai");
  CHECK(control_of(MethodSpec::parse("raai:k=0,match=raai")).text() == "he-matched:like=raai");
  CHECK(control_of(MethodSpec::parse("he-matched")).name.empty());
  for (const char* method : {"aci", "rai", "raai", "raai:k=0", "raai:beta=false", "raai:k=0,match=raai",
                             "aci:weight_variance=keep", "aci:k=-0.5,bias_variance=0.1", "he-matched:like=rai"}) {
    INFO(method);
    Model model = Model::parse("20-10-4");
    const auto report = nlohmann::json::parse(initialize(model, MethodSpec::parse(method), nullptr, {.seed = 2}));
    CHECK(report["layers"].size() == 2);
    CHECK(report["layers"][1]["weight_stddev"].get<double>() > 0);
  }
  const auto refuses = [](const std::string& method, const std::string& part) {
    Model model = Model::parse("20-10-4");
    INFO(method);
    CHECK_THROWS_WITH(initialize(model, MethodSpec::parse(method), nullptr, {}), Catch::Contains(part));
  };
  refuses("aci:k=-1", "-1");
  refuses("aci:weight_variance=-2", "weight_variance");
  refuses("aci:weight_variance=0", "weight_variance");
  refuses("aci:bias_variance=-0.1", "bias_variance");
  refuses("raai:bias_variance=0.1", "bias=entry");
  refuses("raai:weight_variance=keep", "Beta");
  refuses("aci:match=he", "raai");
  Model narrow = Model::parse("1-5-3");
  const CorrelatedReport report = initialize_correlated(narrow, aci_options(), std::nullopt, {});
  CHECK(report.layers[0].note.find("fan-in 1") != std::string::npos);
  CHECK(std::isnan(report.layers[0].correlation));
}

TEST_CASE("correlated weights do not depend on the number of threads", "[correlated]") {
  Model a = Model::parse("300-200-50"), b = a.clone();
  initialize_correlated(a, {.k = 0}, raai_options(), {.seed = 5, .threads = 1});
  initialize_correlated(b, {.k = 0}, raai_options(), {.seed = 5, .threads = 3});
  for (std::size_t l = 0; l < 2; ++l) {
    const auto p = a.layers()[l].weight.flat(), q = b.layers()[l].weight.flat();
    CHECK(std::equal(p.begin(), p.end(), q.begin()));
  }
}
