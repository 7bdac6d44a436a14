// The losses of initialization learned by MMD against an independent float64 network, and the learned initialization.
#include <kindling/mmd.h>
#include <kindling/random.h>
#include <kindling/weights_file.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>

#include "runtime/mmd_reference.h"
#include "support/catch.h"
#include "support/expect_error.h"
#include "support/small_data.h"
#include "support/temp_dir.h"

using namespace kindling;
using test::MmdReference;

namespace {

Tensor normal_inputs(std::int64_t rows, std::int64_t cols, std::uint32_t unit) {
  Tensor x({rows, cols});
  PhiloxReader reader({4, Purpose::test, unit});
  for (float& v : x.flat()) v = static_cast<float>(reader.normal());
  return x;
}

// A network whose terms are all active: wide logits, so that the softmax hinge is open.
Model network(const std::string& text, double gain, std::uint64_t seed) {
  Model model = Model::parse(text);
  initialize_baseline(model, {.law = Law::xavier, .gain = gain, .bias = BiasRule::uniform}, {.seed = seed});
  PhiloxReader reader({seed, Purpose::test, 7});
  for (Layer& layer : model.layers()) {
    if (layer.kind != LayerKind::batch_norm) continue;
    for (float& w : layer.weight.flat()) w = static_cast<float>(1 + 0.3 * reader.normal());
    for (float& b : layer.bias.flat()) b = static_cast<float>(0.2 * reader.normal());
  }
  return model;
}

// Compares the gradient of every parameter with float64 central differences of the reference. Parameters whose
// one-sided differences disagree sit at a kink within the step (a ReLU, an arg-max) and are left out; they must be few.
void check_gradient(const std::string& text, const MmdOptions& options, std::int64_t batch, double gain,
                    std::uint64_t seed = 3) {
  INFO(text << " uniformity " << options.uniformity << " lambda " << options.lambda << " xi " << options.xi);
  const Model model = network(text, gain, seed);
  const Tensor x = normal_inputs(batch, model.inputs(), 11);
  const Context context{.seed = 5, .threads = 2};
  const std::uint32_t step = 9;
  std::vector<MmdLayerGradient> gradient;
  const MmdTerms found = mmd_losses(model, x, options, step, context, &gradient);
  MmdReference reference(model, x, options, context.seed, step);
  const MmdTerms wanted = reference.terms();
  CHECK(found.uniformity == Approx(wanted.uniformity).epsilon(1e-4).margin(1e-6));
  CHECK(found.softmax == Approx(wanted.softmax).epsilon(1e-4).margin(1e-6));
  CHECK(found.detachment == Approx(wanted.detachment).epsilon(1e-4).margin(1e-6));
  REQUIRE(wanted.total > 1e-3);
  double largest = 0;
  for (const MmdLayerGradient& g : gradient)
    for (const float v : g.weight.flat()) largest = std::max(largest, std::abs(double{v}));
  REQUIRE(largest > 1e-4);
  const double h = 1e-6, middle = reference.total();
  std::size_t kinks = 0, checked = 0;
  reference.for_each_parameter([&](std::size_t layer, bool bias, std::size_t index, double& parameter) {
    const double kept = parameter;
    parameter = kept + h;
    const double up = reference.total();
    parameter = kept - h;
    const double down = reference.total();
    parameter = kept;
    const double right = (up - middle) / h, left = (middle - down) / h, slope = (up - down) / (2 * h);
    if (std::abs(right - left) > 1e-3 * largest) {
      ++kinks;
      return;
    }
    ++checked;
    const Tensor& g = bias ? gradient[layer].bias : gradient[layer].weight;
    INFO("layer " << layer << (bias ? " bias " : " weight ") << index);
    CHECK(std::abs(double{g.data()[index]} - slope) <= 1e-3 * std::abs(slope) + 2e-4 * largest);
  });
  CHECK(checked > 20 * kinks);
}

MmdOptions only(double uniformity, double lambda, double xi) {
  MmdOptions options;
  options.perturbations = 5;
  options.uniformity = uniformity;
  options.lambda = lambda;
  options.xi = xi;
  return options;
}

}  // namespace

TEST_CASE("values and gradients of the terms agree with float64 central differences", "[mmd]") {
  for (const char* text : {"7-6-5-2", "7-6-5-3"}) {
    MmdOptions uniformity = only(1, 0, 0);
    uniformity.bandwidth = 0.4;
    check_gradient(text, uniformity, 4, 2);
    uniformity.statistic = MmdStatistic::u;
    check_gradient(text, uniformity, 4, 2);
    check_gradient(text, only(0, 1, 0), 4, 4);
    check_gradient(text, only(0, 0, 1), 4, 1);
  }
  MmdOptions share = only(0, 1, 0);
  share.hinge = SoftmaxHinge::share;
  check_gradient("7-6-5-3", share, 9, 1);
  share.hinge = SoftmaxHinge::printed;
  check_gradient("7-6-5-3", share, 9, 1);
}

TEST_CASE("the span of the batch and the plain draw are both differentiated right", "[mmd]") {
  for (const bool span : {false, true}) {
    MmdOptions options = only(1, 0.4, 1);
    options.span = span;
    options.bandwidth = 0.5;
    check_gradient("13-8-2", options, 5, 3);
  }
}

TEST_CASE("batch-norm: statistics per perturbed batch, constant in the Jacobians", "[mmd]") {
  MmdOptions options = only(1, 0.4, 0);
  options.bandwidth = 0.5;
  check_gradient("7:6,bn,5,bn,3", options, 6, 2);
  check_gradient("7:6,bn,5,bn,2", only(0, 0, 1), 6, 2);
}

TEST_CASE("convolutions: perturbed weights, shared inputs, pooling", "[mmd]") {
  MmdOptions options = only(1, 0.4, 0);
  options.bandwidth = 0.5;
  check_gradient("1x6x6:conv3,pool2,conv2,flatten,2", options, 3, 2);
  check_gradient("2x5x5:conv3,bn,flatten,4,3", options, 3, 2);
  check_gradient("1x6x6:conv3,pool2,conv2,flatten,2", only(0, 0, 1), 3, 1);
  check_gradient("2x6x6:conv3,bn,pool3s2,avgpool2,flatten,4,3", only(0, 0, 1), 3, 1);
}

TEST_CASE("smooth activations", "[mmd]") {
  MmdOptions options = only(1, 0.4, 1);
  options.bandwidth = 0.5;
  check_gradient("7-6-5-2:tanh", options, 4, 3);
}

TEST_CASE("the median heuristic takes the middle distance of the pooled sample", "[mmd]") {
  MmdOptions options = only(1, 0, 0);
  const Model model = network("7-6-3", 2, 3);
  const Tensor x = normal_inputs(4, 7, 11);
  MmdReference reference(model, x, options, 5, 9);
  CHECK(mmd_losses(model, x, options, 9, {.seed = 5}).uniformity == Approx(reference.terms().uniformity).epsilon(1e-4));
}

TEST_CASE("threads do not change a bit, steps and seeds do", "[mmd]") {
  const Model model = network("13-8-2", 2, 3);
  const Tensor x = normal_inputs(6, 13, 11);
  std::vector<MmdLayerGradient> one, two;
  const MmdTerms first = mmd_losses(model, x, only(1, 0.4, 1), 9, {.seed = 5, .threads = 1}, &one);
  const MmdTerms second = mmd_losses(model, x, only(1, 0.4, 1), 9, {.seed = 5, .threads = 2}, &two);
  CHECK(first.total == second.total);
  CHECK(std::equal(one[0].weight.flat().begin(), one[0].weight.flat().end(), two[0].weight.flat().begin()));
  CHECK(mmd_losses(model, x, only(1, 0.4, 1), 10, {.seed = 5}).total != first.total);
  CHECK(mmd_losses(model, x, only(1, 0.4, 1), 9, {.seed = 6}).total != first.total);
}

TEST_CASE("learning lowers the loss and can be gone on with", "[mmd]") {
  const test::TempDir folder;
  const Dataset data = test::small_data(400);
  MmdOptions options;
  options.steps = 40;
  options.window = 10;
  options.learning_rate = 3e-3;
  options.batch = 30;
  Model whole = Model::parse("20-16-2");
  const MmdReport report = initialize_mmd(whole, data, options, {.seed = 2});
  REQUIRE(report.curve.size() == 4);
  CHECK(report.curve.back().terms.total < 0.8 * report.curve.front().terms.total);
  CHECK(report.best_step == 40);
  CHECK(report.movement.size() == 2);
  options.checkpoint = (folder / "state.safetensors").string();
  options.steps = 20;
  Model half = Model::parse("20-16-2");
  (void)initialize_mmd(half, data, options, {.seed = 2});
  options.steps = 40;
  const MmdReport resumed = initialize_mmd(half, data, options, {.seed = 2, .threads = 1});
  CHECK(resumed.resumed);
  CHECK(resumed.curve.size() == 4);
  CHECK(resumed.curve[1].terms.total == report.curve[1].terms.total);
  for (std::size_t l = 0; l < 2; ++l) {
    CHECK(std::equal(whole.layers()[l].weight.flat().begin(), whole.layers()[l].weight.flat().end(),
                     half.layers()[l].weight.flat().begin()));
  }
  options.lambda = 0.5;
  test::expect_error(ErrorCode::usage, {"state.safetensors", "weights"},
                     [&] { (void)initialize_mmd(half, data, options, {.seed = 2}); });
}

TEST_CASE("no improvement for long ends the search, the best theta0 is kept", "[mmd]") {
  const Dataset data = test::small_data(400);
  MmdOptions options;
  options.steps = 400;
  options.window = 2;
  options.patience = 3;
  options.batch = 20;
  options.learning_rate = 0.3;
  Model model = Model::parse("20-16-2");
  const MmdReport report = initialize_mmd(model, data, options, {.seed = 2});
  REQUIRE(report.steps < 400);
  CHECK(report.stopped.find("no improvement in 3 windows") != std::string::npos);
  double best = std::numeric_limits<double>::infinity();
  for (const MmdRecord& r : report.curve) best = std::min(best, r.terms.total);
  CHECK(report.best.total == best);
  CHECK(report.best_step == report.steps - 6);
}

TEST_CASE("a diverged run leaves the model and the checkpoint as they were", "[mmd]") {
  const test::TempDir folder;
  const Dataset data = test::small_data(400);
  MmdOptions options;
  options.window = 1;
  options.patience = 0;
  options.steps = 200;
  options.learning_rate = 1e15;
  options.checkpoint = (folder / "state.safetensors").string();
  Model model = Model::parse("20-16-16-2");
  initialize_baseline(model, {}, {.seed = 1});
  const Model before = model.clone();
  test::expect_error(ErrorCode::numerical, {"mmd diverged at step", "learning rate"},
                     [&] { (void)initialize_mmd(model, data, options, {.seed = 2}); });
  CHECK(std::equal(model.layers()[0].weight.flat().begin(), model.layers()[0].weight.flat().end(),
                   before.layers()[0].weight.flat().begin()));
  for (const NamedTensor& t : read_safetensors(options.checkpoint).tensors) {
    if (!t.name.starts_with("best.")) continue;
    for (const float v : t.data) REQUIRE(std::isfinite(v));
  }
}

TEST_CASE("bad input is named", "[mmd]") {
  Dataset data = test::small_data(100);
  const auto refuse = [&](ErrorCode code, std::initializer_list<std::string> parts, const std::string& model,
                          const std::function<void(MmdOptions&)>& change) {
    MmdOptions options;
    options.steps = 2;
    change(options);
    Model m = Model::parse(model);
    test::expect_error(code, parts, [&] { (void)initialize_mmd(m, data, options, {}); });
  };
  const auto nothing = [](MmdOptions&) {};
  refuse(ErrorCode::usage, {"perturbations", "1"}, "20-8-2", [](MmdOptions& o) { o.perturbations = 1; });
  refuse(ErrorCode::usage, {"bandwidth", "0"}, "20-8-2", [](MmdOptions& o) { o.bandwidth = 0.0; });
  refuse(ErrorCode::usage, {"lambda", "-1"}, "20-8-2", [](MmdOptions& o) { o.lambda = -1; });
  refuse(ErrorCode::usage, {"s2", "0"}, "20-8-2", [](MmdOptions& o) { o.scale_squared = 0; });
  refuse(ErrorCode::usage, {"2 or more outputs", "1"}, "20-8-1", nothing);
  refuse(ErrorCode::usage, {"identity", "relu"}, "20:8,2,relu", nothing);
  refuse(ErrorCode::bad_input, {"21", "20"}, "21-8-2", nothing);
  data.train.floats[3 * 20 + 4] = std::numeric_limits<float>::quiet_NaN();
  refuse(ErrorCode::bad_input, {"training sample 3", "feature 4", "nan"}, "20-8-2", nothing);
}

TEST_CASE("random-label pre-training keeps the parameters of the lowest loss", "[mmd]") {
  const Dataset data = test::small_data(200);
  RandomLabelOptions options;
  options.steps = 60;
  options.window = 10;
  Model model = Model::parse("20:16,bn,2");
  const MmdReport report = initialize_random_label(model, data, options, {.seed = 2});
  REQUIRE(report.curve.size() == 6);
  CHECK(report.best.total < report.curve.front().terms.total + 1e-12);
  CHECK(std::abs(report.curve.back().terms.total - std::log(2.0)) < 0.3);
  options.learning_rate = -1;
  test::expect_error(ErrorCode::usage, {"lr", "-1"},
                     [&] { (void)initialize_random_label(model, data, options, {.seed = 2}); });
}

TEST_CASE("the control has theta0's means and norms, and on request its Jacobian norms", "[mmd]") {
  const Dataset data = test::small_data(400);
  MmdOptions options;
  options.steps = 30;
  options.window = 10;
  Model learned = Model::parse("20-16-12-2"), control = learned.clone(), second = learned.clone();
  (void)initialize_mmd(learned, data, options, {.seed = 2});
  (void)initialize_mmd_control(control, data, options, false, {.seed = 2});
  const auto mean_and_norm = [](std::span<const float> values) {
    double mean = 0, square = 0;
    for (const float v : values) {
      mean += double{v} / static_cast<double>(values.size());
      square += double{v} * double{v};
    }
    return std::pair{mean, std::sqrt(square)};
  };
  for (std::size_t l = 0; l < 3; ++l) {
    const Layer &a = learned.layers()[l], &b = control.layers()[l];
    for (const auto& [of_a, of_b] : {std::pair{a.weight.flat(), b.weight.flat()}, {a.bias.flat(), b.bias.flat()}}) {
      const auto [mean, norm] = mean_and_norm(of_a);
      const auto [other_mean, other_norm] = mean_and_norm(of_b);
      CHECK(other_mean == Approx(mean).margin(1e-6));
      CHECK(other_norm == Approx(norm).epsilon(1e-5));
    }
    CHECK(a.weight.data()[0] != b.weight.data()[0]);
  }
  const MmdControlReport report = initialize_mmd_control(second, data, options, true, {.seed = 2});
  CHECK(report.jacobian_mismatch < 0.01);
  CHECK(report.weight_scale.size() == 3);
}
