// Jacobian-norm initialization: the spectral norm of every layer's Jacobian after it, by Eigen in double.
#include <kindling/jacobian.h>
#include <kindling/methods.h>

#include <Eigen/SVD>
#include <algorithm>
#include <cmath>

#include "methods/layer_inputs.h"
#include "support/catch.h"
#include "support/expect_error.h"
#include "support/small_data.h"

using namespace kindling;

namespace {

double derivative(const Activation& f, double u) {
  switch (f.kind) {
    case ActivationKind::identity: return 1;
    case ActivationKind::relu: return u > 0 ? 1 : 0;
    case ActivationKind::leaky_relu: return u > 0 ? 1 : double{f.negative_slope};
    case ActivationKind::tanh: return 1 - std::tanh(u) * std::tanh(u);
    case ActivationKind::sigmoid: return std::exp(-u) / ((1 + std::exp(-u)) * (1 + std::exp(-u)));
  }
  return 0;
}

double value(const Activation& f, double u) {
  switch (f.kind) {
    case ActivationKind::identity: return u;
    case ActivationKind::relu: return std::max(u, 0.0);
    case ActivationKind::leaky_relu: return u > 0 ? u : double{f.negative_slope} * u;
    case ActivationKind::tanh: return std::tanh(u);
    case ActivationKind::sigmoid: return 1 / (1 + std::exp(-u));
  }
  return 0;
}

double spectral_norm(const Eigen::MatrixXd& j) { return Eigen::BDCSVD<Eigen::MatrixXd>(j).singularValues()(0); }

Eigen::MatrixXd weights_of(const Layer& layer) {
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<const Rows>(layer.weight.data(), layer.units(), layer.fan_in()).cast<double>();
}

// Mean norm of a Gaussian m x n matrix of variance 1 (Johnstone 2001: largest eigenvalue of Wishart matrices, with the
// mean of the Tracy-Widom law of order 1), and the standard deviation of one.
std::pair<double, double> gaussian_norm(double m, double n) {
  const double a = std::sqrt(n - 1), b = std::sqrt(m);
  const double centre = (a + b) * (a + b), scale = (a + b) * std::cbrt(1 / a + 1 / b);
  const double norm = std::sqrt(centre - 1.2065 * scale);
  return {norm, 1.2680 * scale / (2 * norm)};
}

// Mean over the first `count` samples of the norm of layer l's Jacobian, for a model of dense layers.
std::vector<double> mean_norms(const Model& model, const Dataset& data, std::int64_t count) {
  std::vector<double> norms(model.layers().size());
  for (std::int64_t i = 0; i < count; ++i) {
    Eigen::VectorXd z =
        Eigen::Map<const Eigen::VectorXf>(data.train.floats.data() + i * data.train.features, data.train.features)
            .cast<double>();
    for (std::size_t l = 0; l < norms.size(); ++l) {
      const Layer& layer = model.layers()[l];
      Eigen::MatrixXd j = weights_of(layer);
      Eigen::VectorXd u = j * z;
      for (Eigen::Index m = 0; m < u.size(); ++m) {
        u(m) += double{layer.bias.data()[m]};
        j.row(m) *= derivative(layer.activation, u(m));
        u(m) = value(layer.activation, u(m));
      }
      norms[l] += spectral_norm(j) / static_cast<double>(count);
      z = u;
    }
  }
  return norms;
}

}  // namespace

TEST_CASE("the norm per standard deviation of the widths", "[jacobian_norm]") {
  CHECK(jacobian_norm_factor(100, 400, {ActivationKind::tanh}) == Approx(30));
  CHECK(jacobian_norm_factor(100, 400, {ActivationKind::sigmoid}) == Approx(7.5));
  CHECK(jacobian_norm_factor(100, 450, {ActivationKind::relu}) == Approx(25));
  // The edge of leaky ReLU has those of identity and ReLU as its limits.
  CHECK(jacobian_norm_factor(100, 400, {ActivationKind::leaky_relu, 1.0F}) == Approx(30).epsilon(1e-9));
  CHECK(jacobian_norm_factor(100, 450, {ActivationKind::leaky_relu, 0.0F}) == Approx(25).epsilon(1e-9));
  const double half = jacobian_norm_factor(100, 400, {ActivationKind::leaky_relu, 0.5F});
  CHECK(half > jacobian_norm_factor(100, 400, {ActivationKind::relu}));
  CHECK(half < 30);
  CHECK(jacobian_norm_factor(100, 400, {ActivationKind::leaky_relu, 2.0F}) == Approx(2 * half).epsilon(1e-6));
  test::expect_error(ErrorCode::usage, {"0", "5"}, [] { (void)jacobian_norm_factor(0, 5, {ActivationKind::relu}); });
}

TEST_CASE("closed form: the norm of a layer is 1 up to the fluctuations of random matrices", "[jacobian_norm]") {
  // The formula is the edge of the spectrum; the largest singular value of finite matrices lies below it by the mean of
  // the Tracy-Widom law.
  Model model = Model::mlp({300, 200, 120, 60}, {ActivationKind::tanh});
  const JacobianReport report = initialize_jacobian(model, nullptr, {}, {.seed = 3});
  REQUIRE(report.layers.size() == 3);
  for (std::size_t l = 0; l < 3; ++l) {
    const Layer& layer = model.layers()[l];
    const auto m = static_cast<double>(layer.units()), n = static_cast<double>(layer.fan_in());
    const double edge = std::sqrt(m) + std::sqrt(n);
    const auto [mean, deviation] = gaussian_norm(m, n);
    const double norm = spectral_norm(weights_of(layer));
    CHECK(std::abs(norm - mean / edge) <= 4 * deviation / edge);
    CHECK(std::abs(report.layers[l].norm_after - norm) <= 2e-3);  // power iteration ends a little below
    CHECK(report.layers[l].weight_stddev == Approx(1 / edge).epsilon(4 / std::sqrt(2 * m * n)));
    for (const float b : layer.bias.flat()) CHECK(b == 0);
  }
}

TEST_CASE("closed form: layers with kinks, on standard normal inputs", "[jacobian_norm]") {
  for (const Activation f : {Activation{ActivationKind::relu}, Activation{ActivationKind::leaky_relu, 0.3F}}) {
    CAPTURE(to_string(f));
    Model model = Model::mlp({400, 300}, f, f);
    const JacobianReport report = initialize_jacobian(model, nullptr, {.norm = 2}, {.seed = 1});
    Dataset data = test::small_data(5, 400, 5);
    // Half of the units are active; as many rows as the formula counts fluctuate by sqrt(m) / 2, the norm by less than
    // 1 %; the Tracy-Widom mean takes off another 2 %.
    const double norm = mean_norms(model, data, 5)[0];
    CHECK(norm / 2 > 0.96);
    CHECK(norm / 2 < 1.01);
    CHECK(report.layers[0].norm_after == Approx(norm).epsilon(0.015));
  }
}

TEST_CASE("simulated: the mean norm over the samples is what was asked for", "[jacobian_norm]") {
  const Dataset data = test::small_data(40, 24, 4);
  for (const char* text : {"24-40-30-4", "24-40-30-4:tanh", "24-40-30-4:sigmoid", "24-40-30-4:leaky_relu:0.2"}) {
    for (const double norm : {1.0, 1.7}) {
      CAPTURE(text, norm);
      Model model = Model::parse(text);
      const JacobianOptions options{
          .simulate = true, .norm = norm, .samples = 0, .tolerance = 0.002, .bias = BiasRule::uniform};
      const JacobianReport report = initialize_jacobian(model, &data, options, {.seed = 5});
      const std::vector<double> found = mean_norms(model, data, 40);
      for (std::size_t l = 0; l < 3; ++l) {
        CAPTURE(l);
        CHECK(report.layers[l].converged);
        // The tolerance, and what power iteration stops short of.
        CHECK(std::abs(found[l] - norm) <= (0.002 + 0.003) * norm);
        CHECK(report.layers[l].norm_least <= report.layers[l].norm_after);
        CHECK(report.layers[l].norm_greatest >= report.layers[l].norm_after);
      }
    }
  }
}

TEST_CASE("simulated: convolutions, their Jacobian written out column by column", "[jacobian_norm]") {
  const Dataset data = test::small_data(12, 2 * 6 * 5, 3);
  for (const char* text : {"2x6x5:conv4,relu,conv3k2s2p1,tanh,flatten,3", "2x6x5:conv4,bn,relu,pool2,3"}) {
    CAPTURE(text);
    Model model = Model::parse(text);
    const JacobianReport report =
        initialize_jacobian(model, &data, {.simulate = true, .samples = 0, .tolerance = 0.002}, {.seed = 2});
    const kernels::Execution exec = kernels::execution({});
    LayerInputs inputs(exec, data, {}, 12, 0);
    for (std::size_t l = 0; l < model.layers().size(); ++l) {
      const Layer& layer = model.layers()[l];
      if (!layer.has_neurons()) {
        CHECK_FALSE(report.layers[l].skipped.empty());
        continue;
      }
      double mean = 0;
      inputs.for_each(exec, model, l, {}, [&](ConstTensorView x, std::span<const std::int32_t>) {
        kernels::fetch(x);
        const std::int64_t in = layer.input.features(), out = layer.output.features();
        // A linear map by its values at the unit vectors; f' from its pre-activations.
        Layer linear{.kind = layer.kind, .name = layer.name, .activation = {ActivationKind::identity}};
        linear.weight = layer.weight.clone();
        linear.bias = Tensor({layer.units()});
        linear.input = layer.input;
        linear.output = layer.output;
        linear.window = layer.window;
        Tensor unit({in, in}), columns({in, out}), u({x.rows(), out});
        for (std::int64_t k = 0; k < in; ++k) unit.view()(k, k) = 1;
        layer_forward(exec, linear, unit, columns);
        layer_forward(exec, linear, x, u);
        for (std::int64_t i = 0; i < x.rows(); ++i) {
          Eigen::MatrixXd j(out, in);
          for (std::int64_t m = 0; m < out; ++m)
            for (std::int64_t k = 0; k < in; ++k)
              j(m, k) = derivative(layer.activation, u.view()(i, m)) * double{columns.view()(k, m)};
          mean += spectral_norm(j) / static_cast<double>(x.rows());
        }
      });
      CHECK(std::abs(mean - 1) <= 0.002 + 0.003);
    }
  }
}

TEST_CASE("the same weights for any number of threads", "[jacobian_norm]") {
  const Dataset data = test::small_data(300);
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    Model model = Model::parse("20-30-4:tanh");
    initialize_jacobian(model, &data, {.simulate = true}, {.seed = 1, .threads = threads});
    const auto w = model.layers()[1].weight.flat();
    if (first.empty()) first.assign(w.begin(), w.end());
    CHECK(std::equal(first.begin(), first.end(), w.begin()));
  }
}

TEST_CASE("Jacobian-norm initialization names what it cannot do", "[jacobian_norm]") {
  Model model = Model::parse("20-30-4"), images = Model::parse("1x4x5:conv4,4");
  Dataset data = test::small_data(100);
  test::expect_error(ErrorCode::usage, {"simulate", "--data"},
                     [&] { initialize_jacobian(model, nullptr, {.simulate = true}, {}); });
  test::expect_error(ErrorCode::usage, {"layers.0", "simulate=true"},
                     [&] { initialize_jacobian(images, nullptr, {}, {}); });
  test::expect_error(ErrorCode::usage, {"norm", "-1"}, [&] { initialize_jacobian(model, nullptr, {.norm = -1}, {}); });
  test::expect_error(ErrorCode::usage, {"iterations", "0"},
                     [&] { initialize_jacobian(model, &data, {.simulate = true, .max_iterations = 0}, {}); });
  // Zero inputs switch every ReLU off.
  std::fill(data.train.floats.begin(), data.train.floats.end(), 0.0F);
  test::expect_error(ErrorCode::numerical, {"layers.0", "0"},
                     [&] { initialize_jacobian(model, &data, {.simulate = true}, {}); });
  // Inputs so large that tanh saturates at any weight worth the name: reported, not hidden.
  for (std::size_t i = 0; i < data.train.floats.size(); ++i) data.train.floats[i] = i % 2 == 0 ? 1e6F : -1e6F;
  Model smooth = Model::parse("20-30-4:tanh");
  bool told = false;
  try {
    told = !initialize_jacobian(smooth, &data, {.simulate = true, .norm = 50}, {}).layers[0].converged;
  } catch (const Error& error) {
    told = error.code() == ErrorCode::numerical;
  }
  CHECK(told);
}
