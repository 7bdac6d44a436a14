// Jacobians, their row norms and the norms' gradient against explicit float64 Jacobians and central differences.
#include "nn/jacobian.h"

#include <cmath>
#include <limits>

#include "support/expect_error.h"
#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;

using Matrix = std::vector<std::vector<double>>;

// A model and its inputs in float64.
struct Reference {
  struct Parameters {
    Matrix weight;
    std::vector<double> bias;
    Activation activation;
  };
  std::vector<Parameters> layers;
  Matrix x;

  Reference(const Model& model, ConstTensorView inputs) {
    for (const Layer& layer : model.layers()) {
      Parameters p{Matrix(layer.fan_out(), std::vector<double>(layer.fan_in())), {}, layer.activation};
      for (std::int64_t m = 0; m < layer.fan_out(); ++m) {
        p.bias.push_back(layer.bias.data()[m]);
        for (std::int64_t k = 0; k < layer.fan_in(); ++k) p.weight[m][k] = layer.weight.view()(m, k);
      }
      layers.push_back(p);
    }
    for (std::int64_t n = 0; n < inputs.rows(); ++n) x.emplace_back(inputs.row(n), inputs.row(n) + inputs.cols());
  }

  static double value(const Activation& f, double u) {
    switch (f.kind) {
      case ActivationKind::identity: return u;
      case ActivationKind::relu: return u > 0 ? u : 0;
      case ActivationKind::leaky_relu: return u > 0 ? u : f.negative_slope * u;
      case ActivationKind::tanh: return std::tanh(u);
      case ActivationKind::sigmoid: return 1 / (1 + std::exp(-u));
    }
    return 0;
  }
  static double slope(const Activation& f, double u) {
    switch (f.kind) {
      case ActivationKind::identity: return 1;
      case ActivationKind::relu: return u > 0 ? 1 : 0;
      case ActivationKind::leaky_relu: return u > 0 ? 1 : f.negative_slope;
      case ActivationKind::tanh: return 1 / (std::cosh(u) * std::cosh(u));
      case ActivationKind::sigmoid: return value(f, u) * (1 - value(f, u));
    }
    return 0;
  }

  // J_(l:L) of one sample for every l: d x n_l. The least |u| of a kinked activation goes to `from_kink`.
  std::vector<Matrix> jacobians(std::size_t n, double* from_kink = nullptr) const {
    std::vector<std::vector<double>> u{x[n]};
    std::vector<double> z = x[n];
    for (std::size_t l = 0; l + 1 < layers.size(); ++l) {
      std::vector<double> next = layers[l].bias;
      for (std::size_t m = 0; m < next.size(); ++m)
        for (std::size_t k = 0; k < z.size(); ++k) next[m] += layers[l].weight[m][k] * z[k];
      u.push_back(next);
      z.clear();
      for (const double v : next) {
        z.push_back(value(layers[l].activation, v));
        if (from_kink != nullptr) *from_kink = std::min(*from_kink, std::abs(v));
      }
    }
    std::vector<Matrix> result(layers.size());
    Matrix j = layers.back().weight;
    for (std::size_t l = layers.size(); l-- > 0;) {
      if (l + 1 < layers.size()) {
        Matrix product(j.size(), std::vector<double>(u[l].size()));
        for (std::size_t i = 0; i < j.size(); ++i)
          for (std::size_t m = 0; m < j[i].size(); ++m)
            for (std::size_t k = 0; k < u[l].size(); ++k) product[i][k] += j[i][m] * layers[l].weight[m][k];
        j = product;
      }
      if (l > 0) {
        for (auto& row : j)
          for (std::size_t k = 0; k < row.size(); ++k) row[k] *= slope(layers[l - 1].activation, u[l][k]);
      }
      result[l] = j;
    }
    return result;
  }
};

double norm(const std::vector<double>& v) {
  double sum = 0;
  for (const double e : v) sum += e * e;
  return std::sqrt(sum);
}

struct Problem {
  Model model;
  Tensor x;

  Problem(const std::vector<std::int64_t>& widths, const Activation& hidden, std::int64_t samples)
      : model(Model::mlp(widths, hidden)), x({samples, widths.front()}) {
    std::uint32_t unit = 1;
    for (Layer& layer : model.layers()) {
      const auto w = test_normals(layer.weight.size(), unit++, std::sqrt(2.0 / static_cast<double>(layer.fan_in())));
      const auto b = test_normals(layer.bias.size(), unit++, 0.2);
      std::copy(w.begin(), w.end(), layer.weight.data());
      std::copy(b.begin(), b.end(), layer.bias.data());
    }
    const auto values = test_normals(x.size(), unit);
    std::copy(values.begin(), values.end(), x.data());
  }
  // The bound of a norm's error: each of L products is off by a random walk over its terms, of vectors whose size the
  // product of the layers' Frobenius norms bounds, and f' by the error of the activations, of the same kind.
  [[nodiscard]] double tolerance(std::int64_t l) const {
    double size = 1, terms = 0;
    for (std::int64_t k = l; k < static_cast<std::int64_t>(model.layers().size()); ++k) {
      double squares = 0;
      for (const float w : model.layers()[k].weight.flat()) squares += double{w} * double{w};
      size *= std::sqrt(squares / static_cast<double>(model.layers()[k].fan_out()) * 4);
      terms += 4 * std::sqrt(static_cast<double>(model.layers()[k].fan_in() + model.layers()[k].fan_out())) + 8;
    }
    return epsilon * size * terms;
  }
};

const Context two_threads{.threads = 2};
const Activation relu{ActivationKind::relu}, leaky{ActivationKind::leaky_relu, 0.2F}, tanh_of{ActivationKind::tanh},
    sigmoid_of{ActivationKind::sigmoid}, identity{ActivationKind::identity};

void check_jacobians(const Problem& p) {
  CAPTURE(p.model.description(), p.x.shape()[0]);
  const Reference reference(p.model, p.x);
  const std::int64_t depth = static_cast<std::int64_t>(p.model.layers().size()), n = p.x.shape()[0],
                     d = p.model.outputs();
  const Tensor norms = jacobian_row_norms(p.model, p.x, two_threads);
  REQUIRE(norms.shape() == std::vector<std::int64_t>{depth, n, d});
  std::vector<Tensor> stored;
  for (std::int64_t l = 0; l < depth; ++l) stored.push_back(jacobian(p.model, p.x, l, two_threads));
  double largest = 0;
  for (std::int64_t s = 0; s < n; ++s) {
    const std::vector<Matrix> expected = reference.jacobians(static_cast<std::size_t>(s));
    for (std::int64_t l = 0; l < depth; ++l) {
      const std::int64_t width = p.model.layers()[l].fan_in();
      for (std::int64_t i = 0; i < d; ++i) {
        const double bound = p.tolerance(l);
        const double r = norm(expected[l][i]), found = norms.data()[(l * n + s) * d + i];
        largest = std::max(largest, r);
        if (!(std::abs(found - r) <= bound)) {
          FAIL("norm of layer " << l << ", sample " << s << ", output " << i << ": expected " << r << " within "
                                << bound << ", found " << found);
        }
        for (std::int64_t k = 0; k < width; ++k) {
          const double j = stored[l].data()[(s * d + i) * width + k];
          if (!(std::abs(j - expected[l][i][k]) <= bound)) {
            FAIL("layer " << l << ", sample " << s << ", output " << i << ", column " << k << ": expected "
                          << expected[l][i][k] << " within " << bound << ", found " << j);
          }
        }
      }
    }
  }
  if (n > 0) CHECK(largest > 1e-3);
}

// F = sum g (1 - r)^2 over all layers, samples and outputs, g uneven and sometimes 0.
double weight_of(std::int64_t l, std::int64_t n, std::int64_t i) {
  return static_cast<double>((3 * l + 5 * n + 7 * i) % 4) / 2;
}
double objective(const Reference& reference) {
  double sum = 0;
  for (std::size_t n = 0; n < reference.x.size(); ++n) {
    const auto j = reference.jacobians(n);
    for (std::size_t l = 0; l < j.size(); ++l)
      for (std::size_t i = 0; i < j[l].size(); ++i)
        sum += weight_of(l, n, i) * (1 - norm(j[l][i])) * (1 - norm(j[l][i]));
  }
  return sum;
}
NormGradient objective_gradient(std::int64_t d) {
  return [d](std::int64_t first, std::int64_t, ConstTensorView norms, TensorView gradient) {
    for (std::int64_t l = 0; l < norms.rows(); ++l)
      for (std::int64_t r = 0; r < norms.cols(); ++r)
        gradient(l, r) = static_cast<float>(-2 * weight_of(l, first + r / d, r % d) * (1 - double{norms(l, r)}));
  };
}

void check_gradient(const Problem& p, std::int64_t stride = 1) {
  CAPTURE(p.model.description(), p.x.shape()[0]);
  const auto gradient = jacobian_norm_gradient(p.model, p.x, objective_gradient(p.model.outputs()), two_threads);
  Reference reference(p.model, p.x);
  double from_kink = 1;
  const bool kinked = p.model.layers().front().activation.kind != ActivationKind::tanh &&
                      p.model.layers().front().activation.kind != ActivationKind::sigmoid;
  for (std::size_t n = 0; n < reference.x.size(); ++n) reference.jacobians(n, &from_kink);
  if (kinked) REQUIRE(from_kink > 1e-5);  // far beyond the step and float32's rounding
  const double step = 1e-6;
  double largest = 0;
  const auto check = [&](double& parameter, float found, const char* what, std::size_t l, std::int64_t at) {
    const double old = parameter;
    parameter = old + step;
    const double up = objective(reference);
    parameter = old - step;
    const double down = objective(reference);
    parameter = old;
    const double expected = (up - down) / (2 * step);
    largest = std::max(largest, std::abs(expected));
    // float32's rounding is relative to the terms of the sum over samples, of which the largest entry is a measure.
    if (!(std::abs(found - expected) <= 1e-3 * std::abs(expected) + 1e-5 * (1 + largest))) {
      FAIL(what << " of layer " << l << ", element " << at << ": expected " << expected << ", found " << found);
    }
  };
  for (std::size_t l = 0; l < reference.layers.size(); ++l) {
    auto& layer = reference.layers[l];
    const std::int64_t fan_in = static_cast<std::int64_t>(layer.weight.front().size());
    for (std::int64_t i = 0; i < gradient[l].weight.size(); i += stride) {
      check(layer.weight[i / fan_in][i % fan_in], gradient[l].weight.data()[i], "weight", l, i);
    }
    for (std::size_t i = 0; i < layer.bias.size(); ++i) {
      check(layer.bias[i], gradient[l].bias.data()[i], "bias", l, static_cast<std::int64_t>(i));
    }
  }
  CHECK(largest > 1e-2);
}

}  // namespace

TEST_CASE("jacobians and their row norms", "[jacobian]") {
  for (const Activation& f : {relu, leaky, tanh_of, sigmoid_of, identity}) {
    check_jacobians({{7, 5, 6, 3}, f, 4});
    check_jacobians({{3, 17, 9, 2}, f, 9});
  }
  check_jacobians({{11, 4}, relu, 3});              // one layer
  check_jacobians({{5, 1, 1}, tanh_of, 1});         // one unit, one output
  check_jacobians({{130, 33, 18, 10}, relu, 131});  // by W W^T at the input, two blocks of samples
  check_jacobians({{6, 20, 10}, relu, 0});
}

TEST_CASE("jacobian norms by W W^T guard against cancellation", "[jacobian]") {
  // Rows of W_0 that almost agree, and a second layer that takes their difference.
  Problem p({200, 8, 2}, identity, 40);
  Layer &first = p.model.layers()[0], &second = p.model.layers()[1];
  const auto noise = test_normals(200, 77, 1e-4);
  for (std::int64_t k = 0; k < 200; ++k) {
    for (std::int64_t m = 1; m < 8; ++m) first.weight.view()(m, k) = first.weight.view()(0, k);
    first.weight.view()(1, k) += noise[k];
  }
  std::fill(second.weight.flat().begin(), second.weight.flat().end(), 0.0F);
  second.weight.view()(0, 0) = 1;
  second.weight.view()(0, 1) = -1;
  second.weight.view()(1, 0) = 1;
  const Tensor norms = jacobian_row_norms(p.model, p.x, two_threads);
  double small = 0, large = 0;
  for (std::int64_t k = 0; k < 200; ++k) {
    small += std::pow(double{first.weight.view()(0, k)} - double{first.weight.view()(1, k)}, 2);
    large += std::pow(double{first.weight.view()(0, k)}, 2);
  }
  CHECK(std::sqrt(small) < 2e-3);
  for (std::int64_t n = 0; n < 40; ++n) {
    // v W is exact here but for the subtraction of floats that lie close together, which is exact too.
    CHECK(norms.data()[2 * n] == Approx(std::sqrt(small)).epsilon(20 * epsilon));
    CHECK(norms.data()[2 * n + 1] == Approx(std::sqrt(large)).epsilon(1e-5));
  }
  const auto gradient = jacobian_norm_gradient(
      p.model, p.x,
      [](std::int64_t, std::int64_t count, ConstTensorView, TensorView g) {
        for (std::int64_t n = 0; n < count; ++n) g(0, 2 * n) = 1;  // the sum of the small norms
      },
      two_threads);
  for (std::int64_t k = 0; k < 200; ++k) {
    const double difference = double{first.weight.view()(0, k)} - double{first.weight.view()(1, k)};
    const double expected = 40 * difference / std::sqrt(small);
    CHECK(gradient[0].weight.view()(0, k) == Approx(expected).margin(1e-4));
    CHECK(gradient[0].weight.view()(1, k) == Approx(-expected).margin(1e-4));
  }
}

TEST_CASE("gradient of a function of the row norms", "[jacobian]") {
  for (const Activation& f : {relu, leaky, tanh_of, sigmoid_of, identity}) {
    check_gradient({{4, 5, 6, 3}, f, 3});
    check_gradient({{40, 6, 5, 2}, f, 20});  // by W W^T at the input
  }
  check_gradient({{5, 3}, relu, 4});
  check_gradient({{30, 7, 4}, relu, 400}, 13);  // two blocks of samples
}

TEST_CASE("a row of norm 0 has gradient 0", "[jacobian]") {
  Problem p({3, 4, 2}, relu, 5);
  for (float& w : p.model.layers()[1].weight.flat()) w = 0;
  const auto gradient = jacobian_norm_gradient(
      p.model, p.x,
      [](std::int64_t, std::int64_t, ConstTensorView norms, TensorView g) {
        for (std::int64_t l = 0; l < norms.rows(); ++l)
          for (std::int64_t r = 0; r < norms.cols(); ++r) g(l, r) = 1;
      },
      two_threads);
  for (const LayerGradient& layer : gradient)
    for (const float g : layer.weight.flat()) CHECK(g == 0.0F);
}

TEST_CASE("Jacobian-vector products", "[jacobian]") {
  for (const Activation& f : {relu, tanh_of, sigmoid_of}) {
    const Problem p({17, 9, 12, 5}, f, 13);
    const auto v = test_normals(13 * 17, 50), u = test_normals(13 * 5, 51);
    const Tensor forward = jacobian_vectors(p.model, p.x, ConstTensorView(v.data(), {13, 17}), two_threads);
    const Tensor backward = transposed_jacobian_vectors(p.model, p.x, ConstTensorView(u.data(), {13, 5}), two_threads);
    const Reference reference(p.model, p.x);
    for (std::int64_t n = 0; n < 13; ++n) {
      const Matrix j = reference.jacobians(static_cast<std::size_t>(n))[0];
      for (std::int64_t i = 0; i < 5; ++i) {
        double sum = 0;
        for (std::int64_t k = 0; k < 17; ++k) sum += j[i][k] * double{v[n * 17 + k]};
        CHECK(std::abs(forward.data()[n * 5 + i] - sum) <= std::sqrt(17.0) * 3 * p.tolerance(0));
      }
      for (std::int64_t k = 0; k < 17; ++k) {
        double sum = 0;
        for (std::int64_t i = 0; i < 5; ++i) sum += j[i][k] * double{u[n * 5 + i]};
        CHECK(std::abs(backward.data()[n * 17 + k] - sum) <= std::sqrt(5.0) * 3 * p.tolerance(0));
      }
    }
  }
}

TEST_CASE("threads do not change a bit of Jacobians", "[jacobian]") {
  const Problem p({70, 40, 30, 10}, tanh_of, 300);
  const auto f = objective_gradient(10);
  const Tensor one = jacobian_row_norms(p.model, p.x, {.threads = 1}),
               four = jacobian_row_norms(p.model, p.x, {.threads = 4});
  CHECK(std::equal(one.flat().begin(), one.flat().end(), four.flat().begin()));
  const auto a = jacobian_norm_gradient(p.model, p.x, f, {.threads = 1}),
             b = jacobian_norm_gradient(p.model, p.x, f, {.threads = 4});
  for (std::size_t l = 0; l < a.size(); ++l) {
    CHECK(std::equal(a[l].weight.flat().begin(), a[l].weight.flat().end(), b[l].weight.flat().begin()));
    CHECK(std::equal(a[l].bias.flat().begin(), a[l].bias.flat().end(), b[l].bias.flat().begin()));
  }
}

TEST_CASE("Jacobians refuse what does not fit", "[jacobian]") {
  const Problem p({3, 4, 2}, relu, 5);
  const Tensor wide({5, 4});
  expect_error(ErrorCode::usage, {"jacobian_row_norms", "3 inputs", "rows of 4"},
               [&] { (void)jacobian_row_norms(p.model, wide, two_threads); });
  expect_error(ErrorCode::usage, {"jacobian", "0..1", "2"}, [&] { (void)jacobian(p.model, p.x, 2, two_threads); });
  expect_error(ErrorCode::usage, {"jacobian_vectors", "no layers"},
               [&] { (void)jacobian_vectors(Model(), p.x, p.x, two_threads); });
}
