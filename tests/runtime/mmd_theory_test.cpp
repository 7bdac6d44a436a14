// What the paper of initialization learned by MMD proves, on real networks.
#include <kindling/initialize.h>
#include <kindling/mmd.h>
#include <kindling/random.h>

#include <algorithm>
#include <cmath>

#include "nn/jacobian.h"
#include "nn/perturbed_pass.h"
#include "support/catch.h"
#include "support/small_data.h"

using namespace kindling;

namespace {

Tensor normal_inputs(std::int64_t rows, std::int64_t cols, std::uint32_t unit) {
  Tensor x({rows, cols});
  PhiloxReader reader({4, Purpose::test, unit});
  for (float& v : x.flat()) v = static_cast<float>(reader.normal());
  return x;
}

std::vector<double> softmax(const float* z, std::int64_t d) {
  std::vector<double> p(z, z + d);
  const double top = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& v : p) sum += v = std::exp(v - top);
  for (double& v : p) v /= sum;
  return p;
}

// For each perturbed network of a model: the share of inputs given to each class, and the mean distance of its outputs
// to each vertex.
struct Neighbours {
  std::vector<std::vector<double>> share, distance;  // S x d
};
Neighbours neighbours(const Model& model, ConstTensorView x, std::int64_t samples, std::uint32_t step) {
  PerturbedPass pass(model, {samples, x.rows(), 0.5, true});
  const ConstTensorView logits = pass.forward(kernels::execution({}), model, x, 8, step);
  const std::int64_t d = model.outputs();
  Neighbours result;
  for (std::int64_t s = 0; s < samples; ++s) {
    std::vector<double> share(static_cast<std::size_t>(d)), distance(share.size());
    for (std::int64_t b = 0; b < x.rows(); ++b) {
      const std::vector<double> p = softmax(logits.row(s) + b * d, d);
      const double weight = 1.0 / static_cast<double>(x.rows());
      share[static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin())] += weight;
      for (std::size_t c = 0; c < p.size(); ++c) {
        double square = 0;
        for (std::size_t j = 0; j < p.size(); ++j) square += std::pow(p[j] - (j == c ? 1 : 0), 2);
        distance[c] += weight * std::sqrt(square);
      }
    }
    result.share.push_back(share);
    result.distance.push_back(distance);
  }
  return result;
}

}  // namespace

TEST_CASE("Theorem 1: a normal perturbation leaves the ball no more often than its bound says", "[mmd_theory]") {
  constexpr int parameters = 40, draws = 20000;
  PhiloxReader reader({21, Purpose::test, 3});
  std::vector<double> sigma(parameters);
  double largest = 0;
  for (double& s : sigma) {
    s = 0.1 + 0.9 * reader.uniform();
    largest = std::max(largest, s * s);
  }
  std::vector<double> norms;
  for (int i = 0; i < draws; ++i) {
    double square = 0;
    for (const double s : sigma) square += std::pow(s * reader.normal(), 2);
    norms.push_back(square);
  }
  bool tested = false;
  for (const double eta : {0.05, 0.2, 0.5, 1.0, 2.0}) {
    const double r2 = (1 + eta) * parameters * largest;
    const double found =
        static_cast<double>(std::count_if(norms.begin(), norms.end(), [&](double n) { return n >= r2; })) / draws;
    const double bound = std::exp(-std::min(eta * eta, parameters * eta) / 8);
    INFO("eta " << eta << ": " << found << " of " << bound);
    CHECK(found <= bound + 4 * std::sqrt(bound / draws));
  }
  // With equal variances the ball is left often enough for the bound to say something.
  std::vector<double> equal;
  for (int i = 0; i < draws; ++i) {
    double square = 0;
    for (int k = 0; k < parameters; ++k) square += std::pow(reader.normal(), 2);
    equal.push_back(square);
  }
  for (const double eta : {0.1, 0.3, 0.6}) {
    const double found = static_cast<double>(std::count_if(equal.begin(), equal.end(),
                                                           [&](double n) { return n >= (1 + eta) * parameters; })) /
                         draws;
    tested = tested || found > 0.02;
    CHECK(found <= std::exp(-std::min(eta * eta, parameters * eta) / 8));
  }
  CHECK(tested);
}

TEST_CASE("Theorem 2: a class is given to at least 1 - sqrt(d) E distance of the inputs", "[mmd_theory]") {
  double closest = 1;
  for (const std::int64_t d : {2, 3, 10}) {
    for (const double gain : {0.5, 2.0, 20.0}) {
      Model model = Model::mlp({20, 30, d});
      initialize_baseline(model, {.law = Law::xavier, .gain = gain}, {.seed = 6});
      const Neighbours found = neighbours(model, normal_inputs(200, 20, 5), 20, 1);
      for (std::size_t s = 0; s < found.share.size(); ++s) {
        for (std::size_t c = 0; c < found.share[s].size(); ++c) {
          const double bound = 1 - std::sqrt(static_cast<double>(d)) * found.distance[s][c];
          CHECK(found.share[s][c] >= bound - 1e-12);
          if (bound > 0) closest = std::min(closest, found.share[s][c] - bound);
        }
      }
    }
  }
  // The bound bites somewhere.
  CHECK(closest < 0.5);
}

TEST_CASE("Theorem 3: He initialization gives Jacobian rows of norm 1 behind a ReLU, sqrt 2 at the input",
          "[mmd_theory]") {
  Model model = Model::mlp({400, 600, 600, 10});
  initialize_baseline(model, {.law = Law::he}, {.seed = 6});
  // One layer each: W of standard deviation sqrt(2 / n), half of whose inputs pass; the output layer's gain is 1, so
  // that it is drawn as a hidden one.
  fill_normal({6, Purpose::test, 1}, 0, static_cast<float>(std::sqrt(2.0 / 600)), model.layers()[2].weight.flat(), {});
  const Tensor x = normal_inputs(100, 400, 9);
  const Tensor norms = jacobian_row_norms(model, x, {});
  const std::int64_t rows = 100 * 10;
  for (std::int64_t l = 0; l < 3; ++l) {
    double mean = 0;
    for (std::int64_t r = 0; r < rows; ++r) mean += double{norms.data()[l * rows + r]} / rows;
    INFO("layer " << l);
    // Ten rows of 600: the mean of their norms is known to about 1 / sqrt(2 * 10 * 300) a layer.
    CHECK(mean == Approx(l == 0 ? std::sqrt(2.0) : 1.0).epsilon(0.08));
  }
}

TEST_CASE("the share hinge closes where every class has its inputs, the printed one does not", "[mmd_theory]") {
  // Three inputs at the corners, a linear network that sends each to its own vertex.
  Model model = Model::parse("3-3");
  for (int c = 0; c < 3; ++c) model.layers()[0].weight.data()[4 * c] = 60;
  Tensor x({9, 3});
  for (int n = 0; n < 9; ++n) x.data()[3 * n + n % 3] = 1;
  MmdOptions options;
  options.scale_squared = 1e-6;
  options.xi = 0;
  options.hinge = SoftmaxHinge::share;
  CHECK(mmd_losses(model, x, options, 1, {}).softmax == Approx(0).margin(1e-6));
  options.hinge = SoftmaxHinge::printed;
  CHECK(mmd_losses(model, x, options, 1, {}).softmax == Approx(2 * std::sqrt(2.0) / 3 - 1 / std::sqrt(3.0)));
}

TEST_CASE("drawing in the span of the batch is the same law", "[mmd_theory]") {
  // Pre-activations of a one-layer network over many copies: their covariance between inputs is s^2 / n X X^T.
  Model model = Model::parse("12-2");
  const Tensor x = normal_inputs(4, 12, 5);
  constexpr std::int64_t samples = 20000;
  for (const bool span : {false, true}) {
    PerturbedPass pass(model, {samples, 4, 0.5, span});
    const ConstTensorView logits = pass.forward(kernels::execution({}), model, x, 8, 1);
    for (std::int64_t a = 0; a < 4; ++a) {
      for (std::int64_t b = 0; b < 4; ++b) {
        double found = 0, wanted = 0.5 / 2, scale_a = 0.25, scale_b = 0.25;  // the bias is shared by the inputs
        for (std::int64_t s = 0; s < samples; ++s) {
          for (int u = 0; u < 2; ++u) found += double{logits.row(s)[a * 2 + u]} * double{logits.row(s)[b * 2 + u]};
        }
        found /= 2 * samples;
        for (std::int64_t k = 0; k < 12; ++k) {
          wanted += 0.5 / 12 * double{x.view()(a, k)} * double{x.view()(b, k)};
          scale_a += 0.5 / 12 * std::pow(double{x.view()(a, k)}, 2);
          scale_b += 0.5 / 12 * std::pow(double{x.view()(b, k)}, 2);
        }
        // Standard error of a product of two normals over 2 x 20000 draws, five of them.
        CHECK(std::abs(found - wanted) <= 5 * std::sqrt(2 * scale_a * scale_b / (2 * samples)));
      }
    }
  }
}

TEST_CASE("perturbations stored and drawn again are the same networks", "[mmd_theory]") {
  const Model model = Model::parse("12-16-20-8:tanh");
  const Tensor x = normal_inputs(5, 12, 5);
  constexpr std::int64_t samples = 7;
  const auto run = [&](std::int64_t most_stored) {
    PerturbedPass pass(model, {samples, 5, 0.5, true, most_stored});
    std::vector<float> all;
    const auto keep = [&](std::span<const float> values) { all.insert(all.end(), values.begin(), values.end()); };
    const ConstTensorView logits = pass.forward(kernels::execution({}), model, x, 8, 1);
    keep({logits.data(), static_cast<std::size_t>(logits.size())});
    const TensorView slope = pass.logit_gradient();
    for (std::int64_t i = 0; i < slope.size(); ++i) slope.data()[i] = 0.1F * static_cast<float>(i % 7) - 0.3F;
    pass.backward(kernels::execution({}), model);
    for (const LayerGradient& g : pass.gradients()) keep(g.weight.flat()), keep(g.bias.flat());
    return all;
  };
  // Both hidden layers stored (the first is drawn in the span of the batch), none, and the last alone.
  const std::vector<float> stored = run(1 << 20), drawn = run(0), some = run(samples * 16 * 12);
  REQUIRE(stored.size() == drawn.size());
  for (std::size_t i = 0; i < stored.size(); ++i) {
    CAPTURE(i);
    CHECK(stored[i] == Approx(drawn[i]).epsilon(1e-4).margin(1e-5));
    CHECK(some[i] == Approx(drawn[i]).epsilon(1e-4).margin(1e-5));
  }
}

TEST_CASE("the two degeneracies and their remedies", "[mmd_theory]") {
  const Dataset data = test::small_data(1000);
  const Tensor x = normal_inputs(200, 20, 5);
  struct Measures {
    double one_class, sensitivity;  // share of neighbours with one class only; mean norm of the Jacobian at the input
  };
  const auto learn = [&](double lambda, double xi) {
    MmdOptions options;
    options.lambda = lambda;
    options.xi = xi;
    options.steps = 300;
    options.learning_rate = 3e-3;
    Model model = Model::parse("20-32-32-2");
    (void)initialize_mmd(model, data, options, {.seed = 3});
    const Neighbours found = neighbours(model, x, 100, 1);
    Measures m{0, 0};
    for (const std::vector<double>& share : found.share) m.one_class += std::min(share[0], share[1]) < 0.02 ? 0.01 : 0;
    const Tensor norms = jacobian_row_norms(model, x, {});
    for (std::int64_t r = 0; r < 400; ++r) m.sensitivity += double{norms.data()[r]} / 400;
    return m;
  };
  const Measures all = learn(0.4, 1), without_sd = learn(0, 1), without_iod = learn(0.4, 0), uniform = learn(0, 0);
  INFO("one class: all " << all.one_class << ", without L_sd " << without_sd.one_class << ", without L_iod "
                         << without_iod.one_class << ", L_uni alone " << uniform.one_class);
  INFO("Jacobian: all " << all.sensitivity << ", without L_sd " << without_sd.sensitivity << ", without L_iod "
                        << without_iod.sensitivity << ", L_uni alone " << uniform.sensitivity);
  CHECK(all.one_class < without_sd.one_class);
  CHECK(all.sensitivity > 0.5);
  CHECK(without_iod.sensitivity < 0.75 * all.sensitivity);
  CHECK(uniform.sensitivity < 0.75 * all.sensitivity);
}
