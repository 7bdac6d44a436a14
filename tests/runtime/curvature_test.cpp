// Hessian-vector products against central differences of a gradient in double, Lanczos against Eigen, Theorem 1, eq. 5
// and Theorem 2.
#include <kindling/curvature.h>
#include <kindling/initialize.h>

#include <Eigen/Eigenvalues>
#include <cmath>
#include <limits>

#include "support/catch.h"
#include "support/expect_error.h"
#include "support/kernel_test.h"
#include "support/network_reference.h"
#include "theory/lanczos.h"

using namespace kindling;
using namespace kindling::test;

namespace {

struct Problem {
  Model model;
  std::vector<float> x, values;
  std::vector<std::int32_t> labels;
  std::int64_t samples;
  LossKind kind;

  Problem(const std::string& text, std::int64_t n, LossKind loss, double bias = 0.3, std::uint64_t seed = 4)
      : model(Model::parse(text)), samples(n), kind(loss) {
    initialize_baseline(model, {}, {.seed = seed});
    std::uint32_t unit = 20;
    for (Layer& l : model.layers()) {
      const auto b = test_normals(l.bias.size(), unit++, bias);
      std::copy(b.begin(), b.end(), l.bias.data());
    }
    x = test_normals(n * model.inputs(), 1);
    values = test_normals(n * model.outputs(), 2);
    for (std::int64_t i = 0; i < n; ++i) labels.push_back(static_cast<std::int32_t>(i * 5 % model.outputs()));
  }
  [[nodiscard]] ConstTensorView inputs() const { return {x.data(), {samples, model.inputs()}}; }
  [[nodiscard]] LossTarget target() const {
    if (kind == LossKind::cross_entropy) return {kind, labels, {}};
    return {kind, {}, ConstTensorView(values.data(), {samples, model.outputs()})};
  }
  [[nodiscard]] LossCurvature curvature(int threads = 2) const {
    return {model, inputs(), target(), {.threads = threads}};
  }
  [[nodiscard]] HessianBlock all() const {
    HessianBlock block{.biases = true};
    for (std::size_t i = 0; i < model.layers().size(); ++i)
      if (model.layers()[i].has_neurons()) block.layers.push_back(i);
    return block;
  }
};

double norm(const Doubles& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

// ||a - b||, to be compared with a norm.
double distance(const std::vector<float>& a, const Doubles& b) {
  Doubles d(b);
  for (std::size_t i = 0; i < d.size(); ++i) d[i] -= double{a[i]};
  return norm(d);
}

std::vector<HessianBlock> blocks_of(const Problem& p) {
  std::vector<HessianBlock> blocks{p.all()};
  for (const std::size_t l : p.all().layers) {
    blocks.push_back({{l}});
    blocks.push_back({{l}, true});
  }
  return blocks;
}

void check_product(const std::string& text, LossKind kind) {
  Problem p(text, 9, kind);
  LossCurvature curvature = p.curvature(), one_thread = p.curvature(1);
  const Parameters at(p.model);
  CHECK(curvature.loss() == Approx(loss_of(p.model, at, p.inputs(), p.target())).epsilon(1e-5));
  for (const HessianBlock& block : blocks_of(p)) {
    CAPTURE(text, static_cast<int>(kind), block.layers.size(), block.layers[0], block.biases);
    const auto size = static_cast<std::size_t>(curvature.size(block));
    std::vector<float> gradient(size), result(size), again(size);
    curvature.gradient(block, gradient);
    const Doubles g = gradient_of(p.model, at, p.inputs(), p.target(), block);
    // Some hundred roundings of 2^-24 on the way up and down, growing like their root or faster through the layers.
    CHECK(distance(gradient, g) <= 1e-5 * norm(g));
    const auto v = test_normals(static_cast<std::int64_t>(size), 7);
    curvature.product(block, v, result);
    const double step = 1e-6;
    const Doubles up = gradient_of(p.model, at.moved(block, v, step), p.inputs(), p.target(), block);
    const Doubles down = gradient_of(p.model, at.moved(block, v, -step), p.inputs(), p.target(), block);
    Doubles expected(size);
    for (std::size_t i = 0; i < size; ++i) expected[i] = (up[i] - down[i]) / (2 * step);
    CHECK(norm(expected) > 0.01);
    CHECK(distance(result, expected) <= 3e-5 * norm(expected));
    one_thread.product(block, v, again);
    CHECK(again == result);
    double form = 0;
    for (std::size_t i = 0; i < size; ++i) form += double{v[i]} * expected[i];
    CHECK(std::abs(curvature.form(block, v) - form) <= 1e-4 * norm(expected) * std::sqrt(static_cast<double>(size)));
  }
}

}  // namespace

TEST_CASE("Hessian-vector products of dense layers", "[curvature]") {
  for (const LossKind kind : {LossKind::cross_entropy, LossKind::squared_error}) {
    for (const char* f : {"relu", "tanh", "sigmoid", "leaky_relu:0.2", "identity"}) {
      check_product(std::string("7-11-9-5:") + f, kind);
    }
    check_product("7-5", kind);
    check_product("6:8,tanh,7,relu,4,sigmoid", kind);  // a smooth activation at the output
  }
}

TEST_CASE("Hessian-vector products through convolutions and pooling", "[curvature]") {
  // The loss alone in double, and its mixed second differences along two directions.
  const char* models[] = {
      "2x6x5:conv3,tanh,dropout0.5,flatten,4", "2x7x6:conv4k3s2p1,sigmoid,conv3,tanh,avgpool2,flatten,5,tanh,3",
      "1x8x8:conv3,tanh,pool2,conv4,tanh,avgpool,flatten,4", "2x6x6:conv3,relu,pool3s1p1,flatten,4"};
  for (const char* text : models) {
    for (const LossKind kind : {LossKind::cross_entropy, LossKind::squared_error}) {
      Problem p(text, 5, kind);
      LossCurvature curvature = p.curvature();
      const Parameters at(p.model);
      CHECK(curvature.loss() == Approx(loss_of(p.model, at, p.inputs(), p.target())).epsilon(1e-5));
      for (const HessianBlock& block : blocks_of(p)) {
        CAPTURE(text, static_cast<int>(kind), block.layers.size(), block.layers[0], block.biases);
        const auto size = static_cast<std::size_t>(curvature.size(block));
        auto v = test_normals(static_cast<std::int64_t>(size), 7), w = test_normals(static_cast<std::int64_t>(size), 8);
        std::vector<float> hv(size), hw(size);
        curvature.product(block, v, hv);
        curvature.product(block, w, hw);
        double length = 0, found = 0, mirrored = 0, product = 0;
        for (std::size_t i = 0; i < size; ++i) {
          found += double{w[i]} * double{hv[i]};
          mirrored += double{v[i]} * double{hw[i]};
          length += double{w[i]} * double{w[i]};
          product += double{hv[i]} * double{hv[i]};
        }
        const double scale = std::sqrt(length * product);
        CHECK(std::abs(found - mirrored) <= 1e-5 * scale);
        // Small enough not to cross a kink of the ReLU and pooling models, whose distance is about 1e-3.
        const double step = 1e-4 / std::sqrt(length);
        const auto loss = [&](double a, double b) {
          return loss_of(p.model, at.moved(block, v, a * step).moved(block, w, b * step), p.inputs(), p.target());
        };
        const double expected = (loss(1, 1) - loss(1, -1) - loss(-1, 1) + loss(-1, -1)) / (4 * step * step);
        // Differences of losses near 1 are exact to 1e-16, divided by step^2.
        CHECK(std::abs(found - expected) <= 1e-4 * scale + 1e-15 / (step * step));
      }
    }
  }
}

TEST_CASE("Theorem 1 is exact where f'' is 0, and the residual is the term with the loss's gradient", "[curvature]") {
  for (const char* text :
       {"8-12-10-5", "8-12-10-5:leaky_relu:0.1", "8-12-10-5:identity", "1x6x6:conv3,relu,flatten,4"}) {
    for (const LossKind kind : {LossKind::cross_entropy, LossKind::squared_error}) {
      Problem p(text, 20, kind);
      LossCurvature curvature = p.curvature();
      for (const std::size_t l : p.all().layers) {
        CAPTURE(text, l);
        const HessianBlock block{{l}};
        const auto size = static_cast<std::size_t>(curvature.size(block));
        const auto v = test_normals(static_cast<std::int64_t>(size), 9);
        const double approximation = curvature.form(block, v, HessianKind::gauss_newton);
        // The R-operator's full sweep, against v^T H_z v.
        CHECK(curvature.form(block, v) == Approx(approximation).epsilon(2e-6));
        std::vector<float> exact(size), gauss_newton(size);
        curvature.product(block, v, exact);
        curvature.product(block, v, gauss_newton, HessianKind::gauss_newton);
        CHECK(exact == gauss_newton);
      }
    }
  }
}

namespace {

// |exact - Theorem 1| / Theorem 1 of the first layer's form in a random direction.
double theorem1_error(const Problem& p) {
  LossCurvature curvature = p.curvature();
  const HessianBlock block{{0}};
  const auto v = test_normals(curvature.size(block), 11);
  const double approximation = curvature.form(block, v, HessianKind::gauss_newton);
  return std::abs(curvature.form(block, v) - approximation) / approximation;
}

void scale_parameters(Problem& p, float factor) {
  for (Layer& l : p.model.layers()) {
    for (float& w : l.weight.flat()) w *= factor;
    for (float& b : l.bias.flat()) b *= factor;
  }
}

}  // namespace

TEST_CASE("for tanh the error of Theorem 1 follows the loss's gradient", "[curvature]") {
  // A loss whose gradient vanishes with z: squared error against targets of zero. Quartering the weights takes a factor
  // of sixteen off z and f'' at once.
  Problem fading("8-12-10-5:tanh", 30, LossKind::squared_error, 0.1);
  std::fill(fading.values.begin(), fading.values.end(), 0.0F);
  scale_parameters(fading, 0.5F);
  const double before = theorem1_error(fading);
  scale_parameters(fading, 0.25F);
  const double after = theorem1_error(fading);
  CHECK(before > 1e-4);
  CHECK(after < 0.2 * before);
  // Cross-entropy: its gradient at z = 0 is 1/d - onehot and does not fade, while v^T H_z v does, with the weights
  // above the layer: the share of what Theorem 1 leaves out does not go away.
  Problem lasting("8-12-10-5:tanh", 30, LossKind::cross_entropy, 0.1);
  scale_parameters(lasting, 0.5F);
  const double first = theorem1_error(lasting);
  scale_parameters(lasting, 0.25F);
  CHECK(theorem1_error(lasting) > 0.3 * first);
  CHECK(first > 0.05);
}

TEST_CASE("Lanczos finds the ends of a spectrum, and its residuals bound the error", "[curvature]") {
  for (const std::int64_t size : {1, 2, 7, 60}) {
    CAPTURE(size);
    const auto numbers = test_normals(size * size, 5);
    Eigen::MatrixXf a = Eigen::Map<const Eigen::MatrixXf>(numbers.data(), size, size);
    a = (a + a.transpose()).eval();
    int calls = 0;
    const auto product = [&](std::span<const float> v, std::span<float> r) {
      Eigen::Map<Eigen::VectorXf>(r.data(), size) = a * Eigen::Map<const Eigen::VectorXf>(v.data(), size);
      ++calls;
    };
    const Context context{.threads = 2};
    const ExtremeEigenvalues found =
        lanczos(kernels::execution(context), size, product, {.max_steps = 100, .tolerance = 1e-5}, {}, context);
    const Eigen::VectorXd values = Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>(a.cast<double>()).eigenvalues();
    CHECK(found.converged);
    CHECK(found.products == calls);
    const double rounding = 1e-5 * found.norm();
    CHECK(std::abs(found.largest - values(size - 1)) <= found.largest_residual + rounding);
    CHECK(std::abs(found.smallest - values(0)) <= found.smallest_residual + rounding);
    CHECK(found.largest_residual <= 1e-4 * found.norm());
    // Stopped early: the residual says how far off it is, and nothing claims to have converged.
    if (size < 60) continue;
    const ExtremeEigenvalues early =
        lanczos(kernels::execution(context), size, product, {.max_steps = 5, .tolerance = 1e-5}, {}, context);
    CHECK_FALSE(early.converged);
    CHECK(early.largest_residual > 1e-3);
    CHECK((values.array() - early.largest).abs().minCoeff() <= early.largest_residual);
  }
  const auto broken = [](std::span<const float>, std::span<float> r) {
    std::fill(r.begin(), r.end(), std::numeric_limits<float>::quiet_NaN());
  };
  expect_error(ErrorCode::numerical, {"lanczos", "step 1"},
               [&] { (void)lanczos(kernels::execution({}), 4, broken, {}, {}, {}); });
}

TEST_CASE("top eigenvalues of the blocks, against the Hessian written out", "[curvature]") {
  for (const char* text : {"5-6-4-3:tanh", "5-6-4-3"}) {
    Problem p(text, 12, LossKind::cross_entropy);
    LossCurvature curvature = p.curvature();
    const Parameters at(p.model);
    for (const HessianBlock& block : blocks_of(p)) {
      const auto size = static_cast<Eigen::Index>(curvature.size(block));
      Eigen::MatrixXd h(size, size);
      for (Eigen::Index j = 0; j < size; ++j) {
        std::vector<float> unit(static_cast<std::size_t>(size));
        unit[static_cast<std::size_t>(j)] = 1;
        const Doubles up = gradient_of(p.model, at.moved(block, unit, 1e-6), p.inputs(), p.target(), block);
        const Doubles down = gradient_of(p.model, at.moved(block, unit, -1e-6), p.inputs(), p.target(), block);
        for (Eigen::Index i = 0; i < size; ++i)
          h(i, j) = (up[static_cast<std::size_t>(i)] - down[static_cast<std::size_t>(i)]) / 2e-6;
      }
      const Eigen::VectorXd values =
          Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>((h + h.transpose()) / 2).eigenvalues();
      const ExtremeEigenvalues found = extreme_eigenvalues(curvature, block, {.tolerance = 1e-5}, {});
      CAPTURE(text, block.layers.size(), block.layers[0], block.biases, size);
      CHECK(found.converged);
      CHECK(std::abs(found.largest - values(size - 1)) <= 1e-4 * found.norm());
      CHECK(std::abs(found.smallest - values(0)) <= 1e-4 * found.norm());
    }
  }
}

TEST_CASE("eq. 5 is exact for ReLU without biases, and Theorem 2 bounds the curvature there", "[curvature]") {
  for (const char* text : {"10-14-12-9-4", "1x6x6:conv3,relu,avgpool2,flatten,8,4"}) {
    CAPTURE(text);
    Problem bare(text, 25, LossKind::cross_entropy, 0.0), biased(text, 25, LossKind::cross_entropy, 0.3);
    const CurvatureReport exact = curvature_report(bare.model, bare.inputs(), bare.target(), {}, {});
    const CurvatureReport off = curvature_report(biased.model, biased.inputs(), biased.target(), {}, {});
    REQUIRE(exact.layers.size() == bare.all().layers.size());
    for (std::size_t i = 0; i < exact.layers.size(); ++i) {
      CAPTURE(i);
      const LayerCurvature& l = exact.layers[i];
      CHECK(l.factorization_error <= 1e-6);
      // Norms by power iteration end up to a part in a thousand below.
      CHECK(l.hessian.largest <= l.bound_at_layer * 1.01);
      CHECK(l.bound_at_layer <= l.bound * 1.01);
      CHECK(l.gauss_newton_norm == Approx(l.hessian.largest).epsilon(2e-3));
      CHECK(l.stability_limit == Approx(2 / l.hessian.largest));
      CHECK(l.guaranteed_step == Approx(1 / l.hessian.largest));
      if (i > 0) CHECK(off.layers[i].factorization_error > 1e-2);
      CHECK(off.layers[i].gauss_newton_norm <= off.layers[i].bound_at_layer * 1.01);
      // A block's top eigenvalue is none beyond the whole matrix's.
      CHECK(l.hessian.largest <= exact.whole.largest * 1.003);
    }
  }
}

TEST_CASE("curvature refuses what it cannot do", "[curvature]") {
  Problem p("6-5-3", 4, LossKind::cross_entropy);
  const auto make = [](const Problem& q, const LossTarget& t) { (void)LossCurvature(q.model, q.inputs(), t, {}); };
  Problem norm_layer("1x4x4:conv2,bn,relu,3", 4, LossKind::cross_entropy);
  expect_error(ErrorCode::usage, {"layers.1", "batch-norm"}, [&] { make(norm_layer, norm_layer.target()); });
  expect_error(ErrorCode::usage, {"4 labels", "0"}, [&] { make(p, {}); });
  p.labels[2] = 3;
  expect_error(ErrorCode::usage, {"label", "3"}, [&] { make(p, p.target()); });
  p.labels[2] = 0;
  expect_error(ErrorCode::usage, {"4x3"}, [&] { make(p, {LossKind::squared_error, {}, p.inputs()}); });
  LossCurvature curvature = p.curvature();
  std::vector<float> v(3), r(3);
  expect_error(ErrorCode::usage, {"30", "3"}, [&] { curvature.product({{0}}, v, r); });
  expect_error(ErrorCode::usage, {"ascending", "7"}, [&] { (void)curvature.size({{7}}); });
  p.model.layers()[0].weight.data()[0] = std::numeric_limits<float>::quiet_NaN();
  expect_error(ErrorCode::numerical, {"loss"}, [&] { make(p, p.target()); });
}
