// Training by the information bottleneck: what it optimises, what it refuses, and that a stop costs nothing.
#include <kindling/bottleneck.h>
#include <kindling/initialize.h>
#include <kindling/train.h>

#include <cmath>
#include <stop_token>

#include "methods/information_terms.h"
#include "support/catch.h"
#include "support/expect_error.h"
#include "support/small_data.h"
#include "support/temp_dir.h"

using namespace kindling;
using namespace kindling::test;

namespace {

InformationTermOptions quick_terms() {
  InformationTermOptions terms;
  terms.critic.hidden = {32, 32};
  terms.critic.learning_rate = 1e-3;
  terms.batch = 64;
  terms.critic_updates = 3;
  terms.warmup = 150;
  terms.warmup_window = 50;
  return terms;
}

BottleneckOptions quick() {
  BottleneckOptions options;
  options.terms = quick_terms();
  options.iterations = 80;
  options.learning_rate = 3e-3;
  options.post.iterations = 300;
  options.post.learning_rate = 1e-2;
  options.trace_every = 20;
  return options;
}

Model start(const char* text = "20-24-16-4") {
  Model model = Model::parse(text);
  initialize_baseline(model, {}, {.seed = 1});
  return model;
}

bool same(const Model& a, const Model& b) {
  for (std::size_t i = 0; i < a.layers().size(); ++i) {
    const Layer &x = a.layers()[i], &y = b.layers()[i];
    for (const auto& [s, t] :
         {std::pair{&x.weight, &y.weight}, {&x.bias, &y.bias}, {&x.running_mean, &y.running_mean}}) {
      if (!std::equal(s->flat().begin(), s->flat().end(), t->flat().begin())) return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("the gradient of the terms is that of their value", "[bottleneck]") {
  const std::int64_t n = 16, features = 5, inputs = 7;
  const kernels::Execution exec = kernels::execution({});
  for (const InputEstimator estimator : {InputEstimator::mine, InputEstimator::aa_mine}) {
    for (const bool copy : {false, true}) {
      if (copy && estimator == InputEstimator::mine) continue;
      INFO(to_string(estimator) << (copy ? " through the copy" : ""));
      InformationTermOptions options = quick_terms();
      options.batch = n;
      options.critic.leaky_slope = 1;  // no kinks: the critic's own gradients are tested elsewhere
      options.input_estimator = estimator;
      options.gradient_through_copy = copy;
      const auto normal = [](std::int64_t rows, std::int64_t cols, std::uint32_t unit) {
        Tensor t({rows, cols});
        fill_normal({3, Purpose::test, unit, 0}, 0, 1, t.flat(), {});
        return t;
      };
      Tensor outputs = normal(2 * n, features, 1);
      const Tensor samples = normal(n, inputs, 2);
      std::vector<std::int32_t> labels;
      for (std::int32_t i = 0; i < 2 * n; ++i) labels.push_back(i % 3);
      const double beta = 0.5;
      // Weights of 1 and 0.5 at once, and each term alone for its value.
      InformationTerms both("L", features, inputs, 3, {1, beta}, options, 7, {.seed = 2});
      Tensor gradient({both.rows(), features});
      both.add_gradient(exec, {labels, outputs, samples.view(), 5}, gradient);
      // The first step's value is that of the untouched critic; a new one each time.
      const auto objective = [&] {
        InformationTerms terms("L", features, inputs, 3, {1, beta}, options, 7, {.seed = 2});
        const auto values = terms.update(exec, {labels, outputs, samples.view(), 5});
        return -values.target + beta * values.input;
      };
      int checked = 0;
      for (std::int64_t i = 0; i < outputs.size(); i += 7) {
        // The values are float32, hence the large step.
        const float step = 0.05F, before = outputs.data()[i];
        outputs.data()[i] = before + step;
        const double up = objective();
        outputs.data()[i] = before - step;
        const double down = objective();
        outputs.data()[i] = before;
        const double numeric = (up - down) / (2 * static_cast<double>(step));
        // Without the copy's gradient the joint rows of AA-MINE see only a part of what the value does.
        if (estimator == InputEstimator::aa_mine && !copy && i < n * features) continue;
        CHECK(static_cast<double>(gradient.data()[i]) == Approx(numeric).epsilon(0.02).margin(5e-5));
        ++checked;
      }
      CHECK(checked > 8);
    }
  }
}

TEST_CASE("layer by layer: information with the labels rises, and the classifier works", "[bottleneck]") {
  const Dataset data = small_data();
  Model model = start();
  BottleneckOptions options = quick();
  options.iterations = 200;
  options.trace_every = 50;
  const BottleneckReport report = train_bottleneck(model, data, options, {.seed = 1});
  REQUIRE(report.layers.size() == 3);
  CHECK(report.layers[0].layer == "layers.0");
  CHECK(report.layers[0].beta == 1e-3);
  CHECK(report.layers[0].iterations == 200);
  CHECK(report.layers[0].warmup_updates >= 50);
  CHECK(report.trace.size() == 3 * 5);
  for (std::size_t layer = 0; layer < 3; ++layer) {
    const auto& first = report.trace[5 * layer];
    const auto& last = report.trace[5 * layer + 4];
    INFO(first.layer << ": " << first.target_nats << " to " << last.target_nats);
    CHECK(first.iteration == 0);
    CHECK(last.iteration == 200);
    CHECK(last.target_nats > first.target_nats);
    CHECK(last.input_nats > 0);
  }
  CHECK(report.layers[2].target_nats > 0.9);  // of ln 4 = 1.39
  CHECK(report.post_loss < 0.4);
  CHECK(evaluate(model, data, data.test, {}).error < 0.25);  // chance is 0.75
}

TEST_CASE("post-training does not see how large the outputs are", "[bottleneck]") {
  const Dataset data = small_data();
  BottleneckOptions options = quick();
  options.iterations = 0;  // the linear layer alone
  const auto trained = [&](float factor, float shift) {
    Model model = start();
    for (float& w : model.layers().back().weight.flat()) w *= factor;
    for (float& b : model.layers().back().bias.flat()) b = factor * (b + shift);
    const BottleneckReport report = train_bottleneck(model, data, options, {.seed = 1});
    return std::pair{report.post_loss, evaluate(model, data, data.test, {})};
  };
  const auto [loss, test] = trained(1, 0);
  CHECK(loss < 1.25);       // of ln 4 = 1.39: the outputs are random projections
  CHECK(test.error < 0.6);  // chance is 0.75
  for (const auto& [factor, shift] : {std::pair{1e-3F, 0.0F}, {1e3F, 0.0F}, {1.0F, 5.0F}}) {
    INFO(factor << " " << shift);
    const auto [other_loss, other] = trained(factor, shift);
    CHECK(other_loss == Approx(loss).epsilon(1e-3));
    CHECK(other.loss == Approx(test.loss).epsilon(1e-3));
  }
}

TEST_CASE("a larger beta leaves less information about the input", "[bottleneck]") {
  const Dataset data = small_data();
  const auto input_information = [&](double beta) {
    BottleneckOptions options = quick();
    options.beta = beta;
    options.post.iterations = 0;
    Model model = start("20-16");
    return train_bottleneck(model, data, options, {.seed = 1}).layers[0].input_nats;
  };
  const double little = input_information(1e-4), much = input_information(3);
  INFO(little << " " << much);
  CHECK(much < 0.7 * little);
  BottleneckOptions without = quick();
  without.beta = 0;
  Model model = start("20-16-4");
  const BottleneckReport report = train_bottleneck(model, data, without, {.seed = 1});
  CHECK(std::isnan(report.layers[0].input_nats));
  CHECK(report.layers[0].target_nats > 0.5);
}

TEST_CASE("convolutions, pooling, batch-norm and dropout are trained too", "[bottleneck]") {
  Dataset data = small_data(400, 72, 3);
  for (Samples* split : {&data.train, &data.validation, &data.test}) split->sample_shape = {2, 6, 6};
  Model model = start("2x6x6:conv4,bn,relu,pool2,conv3,relu,8,relu,dropout0.2,3");
  BottleneckOptions options = quick();
  options.iterations = 30;
  options.trace_every = 30;
  options.conv_beta = 1e-3;
  const BottleneckReport report = train_bottleneck(model, data, options, {.seed = 1});
  REQUIRE(report.layers.size() == 4);
  for (const auto& layer : report.layers) CHECK(layer.target_nats > 0.2);
  CHECK(model.layers()[1].batches_tracked == 30);
  CHECK(evaluate(model, data, data.test, {}).error < 0.55);  // chance is 0.67
}

TEST_CASE("a training that was stopped anywhere goes on to the same weights, bit for bit", "[bottleneck]") {
  const Dataset data = small_data(300, 20, 4);
  const TempDir folder;
  BottleneckOptions options = quick();
  options.iterations = 12;
  options.trace_every = 5;
  options.terms.warmup = 20;
  options.terms.critic.average_rate = 0.1;
  options.post.iterations = 25;
  const Model first = start("20:12,bn,relu,dropout0.2,8,relu,4");
  Model whole = first.clone();
  const BottleneckReport expected = train_bottleneck(whole, data, options, {.seed = 6});

  options.checkpoint = {.path = (folder / "c.safetensors").string(), .seconds = 0};
  Model resumed = first.clone();
  BottleneckReport report;
  int stops = 0;
  for (int attempt = 1; attempt < 200; ++attempt) {
    // Each attempt is stopped a little later in the progress, or after a few passes without any.
    std::stop_source source;
    Context context{.seed = 6, .threads = 1 + attempt % 2, .stop = source.get_token()};
    int reports = 0;
    context.progress = [&](const Progress&) {
      if (++reports == 1 + attempt % 2) source.request_stop();
    };
    Model model = first.clone();
    try {
      report = train_bottleneck(model, data, options, context);
      resumed = std::move(model);
      break;
    } catch (const Error& error) {
      REQUIRE(error.code() == ErrorCode::interrupted);
      CHECK(same(model, first));  // the caller's model is untouched
      ++stops;
    }
  }
  CHECK(stops >= 4);
  CHECK(report.resumed);
  CHECK(same(resumed, whole));
  REQUIRE(report.trace.size() == expected.trace.size());
  for (std::size_t i = 0; i < report.trace.size(); ++i) {
    CHECK(report.trace[i].iteration == expected.trace[i].iteration);
    CHECK(report.trace[i].target_nats == expected.trace[i].target_nats);
    CHECK(report.trace[i].input_nats == expected.trace[i].input_nats);
  }
  CHECK(report.post_loss == expected.post_loss);

  // A finished checkpoint gives the same again; another training does not take it.
  Model again = first.clone();
  train_bottleneck(again, data, options, {.seed = 6});
  CHECK(same(again, whole));
  expect_error(ErrorCode::bad_input, {"another training"},
               [&] { train_bottleneck(again, data, options, {.seed = 6}); });
  Model other = first.clone();
  options.beta = 0.5;
  expect_error(ErrorCode::bad_input, {"another training"},
               [&] { train_bottleneck(other, data, options, {.seed = 6}); });
}

TEST_CASE("end to end: cross entropy alone, and with both terms", "[bottleneck]") {
  const Dataset data = small_data();
  RegularizedOptions options;
  options.terms = quick_terms();
  options.post = {1000, 1e-2};
  options.steps = 150;
  options.learning_rate = 3e-3;
  options.evaluate_every = 50;
  for (const auto& [alpha, beta, gamma] : {std::tuple{1.0, 0.0, 0.0}, {0.0, 1.0, 1e-3}, {1.0, 1.0, 1e-3}}) {
    INFO(alpha << " " << beta << " " << gamma);
    options.alpha = alpha;
    options.beta = beta;
    options.gamma = gamma;
    Model model = start();
    const RegularizedReport report = train_regularized(model, data, options, {.seed = 1});
    REQUIRE(report.trace.size() == 4);
    CHECK(std::isnan(report.trace[0].loss));
    CHECK(std::isnan(report.trace[3].target_nats) == (beta == 0));
    CHECK(std::isnan(report.trace[3].input_nats) == (gamma == 0));
    if (beta > 0) CHECK(report.trace[3].target_nats > 0.9);
    if (alpha > 0) CHECK(report.trace[3].test_error < 0.15);
    if (alpha > 0) CHECK(report.trace[3].loss < 0.5);
    // Without cross entropy the outputs know the classes, but only post-training tells which is which.
    CHECK(std::isnan(report.post_loss) == (alpha > 0));
    const double error = evaluate(model, data, data.test, {}).error;
    if (alpha > 0) CHECK(error == report.trace[3].test_error);
    if (alpha == 0) CHECK(error < 0.2);
    if (alpha == 0) CHECK(error < report.trace[3].test_error);
    if (alpha == 0) {
      options.post.iterations = 0;
      Model plain = start();
      train_regularized(plain, data, options, {.seed = 1});
      CHECK(evaluate(plain, data, data.test, {}).error == report.trace[3].test_error);
      options.post.iterations = 1000;
    }
  }
}

TEST_CASE("end to end: a stop costs nothing either", "[bottleneck]") {
  const Dataset data = small_data(300, 20, 4);
  const TempDir folder;
  RegularizedOptions options;
  options.terms = quick_terms();
  options.terms.warmup = 20;
  options.steps = 20;
  options.alpha = 0;
  options.post.iterations = 30;
  options.evaluate_every = 4;
  const Model first = start("20:12,relu,dropout0.3,4");
  Model whole = first.clone();
  train_regularized(whole, data, options, {.seed = 3});
  options.checkpoint = {.path = (folder / "c.safetensors").string(), .seconds = 0};
  int stops = 0;
  for (; stops < 50; ++stops) {
    std::stop_source source;
    Context context{.seed = 3, .stop = source.get_token()};
    context.progress = [&](const Progress&) { source.request_stop(); };
    Model model = first.clone();
    try {
      const RegularizedReport report = train_regularized(model, data, options, context);
      CHECK(report.resumed);
      CHECK(same(model, whole));
      break;
    } catch (const Error& error) {
      REQUIRE(error.code() == ErrorCode::interrupted);
    }
  }
  CHECK(stops >= 3);
  CHECK(stops < 50);
}

TEST_CASE("the control has each layer's mean and norm, and nothing else of it", "[bottleneck]") {
  Model model = start("20-200-100");
  for (float& b : model.layers()[0].bias.flat()) b = 0.3F;
  const Model before = model.clone();
  randomize_matched(model, {.seed = 4});
  for (std::size_t i = 0; i < 2; ++i) {
    const auto moments = [](const Tensor& t) {
      double mean = 0, square = 0;
      for (const float v : t.flat()) {
        mean += static_cast<double>(v) / static_cast<double>(t.size());
        square += static_cast<double>(v) * static_cast<double>(v) / static_cast<double>(t.size());
      }
      return std::pair{mean, square};
    };
    const auto [mean, square] = moments(before.layers()[i].weight);
    const auto [new_mean, new_square] = moments(model.layers()[i].weight);
    const double error = std::sqrt(square / static_cast<double>(before.layers()[i].weight.size()));
    CHECK(std::abs(new_mean - mean) < 5 * error);
    CHECK(new_square == Approx(square).epsilon(0.15));
    double correlation = 0;
    for (std::int64_t k = 0; k < before.layers()[i].weight.size(); ++k)
      correlation += static_cast<double>(before.layers()[i].weight.data()[k]) *
                     static_cast<double>(model.layers()[i].weight.data()[k]);
    CHECK(std::abs(correlation) / static_cast<double>(before.layers()[i].weight.size()) <
          5 * error * std::sqrt(square));
  }
  CHECK(model.layers()[0].bias.data()[7] == 0.3F);
}

TEST_CASE("the separation ratio is what it says", "[bottleneck]") {
  // Two clouds of two points: means (0, 0) and (10, 0), root mean square distances 1 and 3.
  Dataset data;
  data.classes = 3;
  data.test.count = 4;
  data.test.features = 2;
  data.test.sample_shape = {2};
  data.test.floats = {0, 1, 0, -1, 10, 3, 10, -3};
  data.test.labels = {0, 0, 2, 2};
  data.mean = {0, 0};
  data.inverse_std = {1, 1};
  Model model = Model::mlp({2, 2}, {}, {ActivationKind::identity});
  for (std::int64_t i = 0; i < 2; ++i) model.layers()[0].weight.view()(i, i) = 2;
  CHECK(separation_ratio(model, 0, data, data.test, {}) == Approx(10.0 / 2).epsilon(1e-6));
  CHECK(separation_ratio(model, 1, data, data.test, {}) == Approx(10.0 / 2).epsilon(1e-6));
  data.test.labels = {0, 0, 0, 0};
  expect_error(ErrorCode::bad_input, {"found 1"}, [&] { (void)separation_ratio(model, 0, data, data.test, {}); });
}

TEST_CASE("what cannot be trained is refused by name", "[bottleneck]") {
  const Dataset data = small_data(100, 20, 4);
  const auto refused = [&](ErrorCode code, const char* part, const char* text, auto change) {
    BottleneckOptions options = quick();
    change(options);
    Model model = start(text);
    expect_error(code, {part}, [&] { train_bottleneck(model, data, options, {}); });
  };
  refused(ErrorCode::usage, "beta: expected a finite number, 0 or more, found -1", "20-4",
          [](auto& o) { o.beta = -1; });
  refused(ErrorCode::usage, "batch: expected 2", "20-4", [](auto& o) { o.terms.batch = 1; });
  refused(ErrorCode::usage, "noise variance", "20-4", [](auto& o) { o.terms.noise_variance = -1; });
  refused(ErrorCode::usage, "critic updates", "20-4", [](auto& o) { o.terms.critic_updates = 0; });
  refused(ErrorCode::usage, "dense without activation", "20:8,relu,4,relu", [](auto&) {});
  refused(ErrorCode::usage, ".safetensors", "20-4", [](auto& o) { o.checkpoint.path = "c.npz"; });
  refused(ErrorCode::bad_input, "21", "21-4", [](auto&) {});
  refused(ErrorCode::numerical, "diverged", "20-4", [](auto& o) { o.terms.critic.learning_rate = 1e4; });
  Dataset one = small_data(100, 20, 4);
  std::fill(one.train.labels.begin(), one.train.labels.end(), 2);
  Model model = start();
  expect_error(ErrorCode::bad_input, {"all training labels are 2"}, [&] { train_bottleneck(model, one, quick(), {}); });
  RegularizedOptions none;
  none.alpha = none.beta = 0;
  expect_error(ErrorCode::usage, {"positive alpha or beta"}, [&] { train_regularized(model, data, none, {}); });
  none.alpha = 1;
  none.gamma = -1;
  expect_error(ErrorCode::usage, {"gamma"}, [&] { train_regularized(model, data, none, {}); });
  none.gamma = 0;
  none.post.iterations = -1;
  expect_error(ErrorCode::usage, {"post iterations", "-1"}, [&] { train_regularized(model, data, none, {}); });
}
