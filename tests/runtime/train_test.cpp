#include <kindling/initialize.h>
#include <kindling/train.h>

#include <cmath>

#include "support/catch.h"
#include "support/small_data.h"

using namespace kindling;

namespace {

// The same epoch in plain double arithmetic: 20-H-4, ReLU, SGD with weight decay, batches in the library's order.
struct PlainNet {
  std::vector<std::vector<double>> w1, w2;
  std::vector<double> b1, b2;

  explicit PlainNet(const Model& model) {
    const auto copy = [](const Layer& layer, auto& w, auto& b) {
      for (std::int64_t m = 0; m < layer.fan_out(); ++m) {
        const float* row = layer.weight.data() + m * layer.fan_in();
        w.emplace_back(row, row + layer.fan_in());
        b.push_back(layer.bias.data()[m]);
      }
    };
    copy(model.layers()[0], w1, b1);
    copy(model.layers()[1], w2, b2);
  }

  double step(const std::vector<const float*>& xs, const std::vector<int>& ys, double rate, double decay) {
    auto gw1 = w1, gw2 = w2;
    for (auto& r : gw1) std::fill(r.begin(), r.end(), 0.0);
    for (auto& r : gw2) std::fill(r.begin(), r.end(), 0.0);
    std::vector<double> gb1(b1.size(), 0.0), gb2(b2.size(), 0.0);
    double loss = 0;
    const double n = static_cast<double>(xs.size());
    for (std::size_t s = 0; s < xs.size(); ++s) {
      std::vector<double> h(b1.size()), z(b2.size()), dh(b1.size(), 0.0);
      for (std::size_t m = 0; m < h.size(); ++m) {
        double a = b1[m];
        for (std::size_t k = 0; k < w1[m].size(); ++k) a += w1[m][k] * xs[s][k];
        h[m] = std::max(a, 0.0);
      }
      double total = 0;
      for (std::size_t c = 0; c < z.size(); ++c) {
        z[c] = b2[c];
        for (std::size_t m = 0; m < h.size(); ++m) z[c] += w2[c][m] * h[m];
        total += std::exp(z[c]);
      }
      loss += (std::log(total) - z[static_cast<std::size_t>(ys[s])]) / n;
      for (std::size_t c = 0; c < z.size(); ++c) {
        const double g = (std::exp(z[c]) / total - (static_cast<int>(c) == ys[s] ? 1 : 0)) / n;
        gb2[c] += g;
        for (std::size_t m = 0; m < h.size(); ++m) {
          gw2[c][m] += g * h[m];
          dh[m] += g * w2[c][m];
        }
      }
      for (std::size_t m = 0; m < h.size(); ++m) {
        if (h[m] <= 0) continue;
        gb1[m] += dh[m];
        for (std::size_t k = 0; k < gw1[m].size(); ++k) gw1[m][k] += dh[m] * xs[s][k];
      }
    }
    const auto apply = [&](auto& w, const auto& g, auto& b, const auto& gb) {
      for (std::size_t m = 0; m < w.size(); ++m) {
        for (std::size_t k = 0; k < w[m].size(); ++k) w[m][k] -= rate * (g[m][k] + decay * w[m][k]);
        b[m] -= rate * gb[m];
      }
    };
    apply(w1, gw1, b1, gb1);
    apply(w2, gw2, b2, gb2);
    return loss;
  }
};

}  // namespace

TEST_CASE("an epoch equals the same epoch in plain double arithmetic", "[train]") {
  const Dataset data = test::small_data(330);
  Model model = Model::parse("20-13-4");
  initialize_baseline(model, {.bias = BiasRule::uniform}, {.seed = 9});
  PlainNet plain(model);
  TrainOptions options;
  options.epochs = 1;
  options.batch = 32;  // the last batch is a part: 330 = 10 * 32 + 10
  options.optimizer.weight_decay = 0.01;
  const TrainResult result = train(model, data, options, {.seed = 4});
  CHECK(result.steps == 11);
  const auto order = random_permutation({4, Purpose::shuffle, 0, 1}, 330);
  double loss = 0;
  for (std::size_t first = 0; first < 330; first += 32) {
    std::vector<const float*> xs;
    std::vector<int> ys;
    for (std::size_t i = first; i < std::min<std::size_t>(330, first + 32); ++i) {
      xs.push_back(data.train.floats.data() + order[i] * 20);
      ys.push_back(data.train.labels[static_cast<std::size_t>(order[i])]);
    }
    loss += plain.step(xs, ys, 0.1, 0.01) * static_cast<double>(xs.size()) / 330;
  }
  REQUIRE(result.epochs.size() == 2);
  CHECK(result.epochs[1].train_loss == Approx(loss).epsilon(1e-5));
  for (std::size_t m = 0; m < 13; ++m)
    for (std::size_t k = 0; k < 20; ++k)
      CHECK(model.layers()[0].weight.data()[m * 20 + k] == Approx(plain.w1[m][k]).margin(2e-5));
  for (std::size_t c = 0; c < 4; ++c) CHECK(model.layers()[1].bias.data()[c] == Approx(plain.b2[c]).margin(2e-5));
}

TEST_CASE("training learns, with every optimiser", "[train]") {
  const Dataset data = test::small_data();
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::momentum, OptimizerKind::adam}) {
    INFO(to_string(kind));
    Model model = Model::parse("20-32-4");
    initialize_baseline(model, {}, {.seed = 1});
    TrainOptions options;
    options.epochs = 5;
    options.optimizer.kind = kind;
    options.optimizer.learning_rate = kind == OptimizerKind::adam       ? 0.005
                                      : kind == OptimizerKind::momentum ? 0.02
                                                                        : 0.1;
    const TrainResult result = train(model, data, options, {.seed = 1});
    CHECK(result.epochs.front().test_error > 0.5);  // chance is 0.75
    CHECK(result.epochs.back().test_error < 0.12);
    CHECK(std::isnan(result.epochs.front().train_loss));
    CHECK(evaluate(model, data, data.test, {}).error == result.epochs.back().test_error);
    CHECK(parse_optimizer(to_string(kind)) == kind);
  }
}

TEST_CASE("the same seed gives the same bits for any number of threads", "[train]") {
  const Dataset data = test::small_data(700);
  Model reference;
  for (const int threads : {1, 2, 4}) {
    Model model = Model::parse("20-64-33-4");
    initialize_baseline(model, {}, {.seed = 1});
    TrainOptions options;
    options.epochs = 2;
    train(model, data, options, {.seed = 1, .threads = threads});
    if (threads == 1) {
      reference = model.clone();
      continue;
    }
    for (std::size_t l = 0; l < 3; ++l) {
      const auto a = reference.layers()[l].weight.flat();
      const auto b = model.layers()[l].weight.flat();
      CHECK(std::equal(a.begin(), a.end(), b.begin()));
    }
  }
}

TEST_CASE("impossible trainings are refused", "[train]") {
  const Dataset data = test::small_data(100);
  Model model = Model::parse("20-8-4");
  initialize_baseline(model, {}, {});
  const auto refused = [&](auto change) {
    TrainOptions options;
    change(options);
    CHECK_THROWS_AS(train(model, data, options, {}), Error);
  };
  refused([](TrainOptions& o) { o.epochs = -1; });
  refused([](TrainOptions& o) { o.batch = 0; });
  refused([](TrainOptions& o) { o.optimizer.learning_rate = 0; });
  refused([](TrainOptions& o) { o.optimizer.learning_rate = std::nan(""); });
  refused([](TrainOptions& o) { o.optimizer.weight_decay = -1; });
  Model wrong = Model::parse("21-8-4");
  CHECK_THROWS_WITH(train(wrong, data, {}, {}), Catch::Contains("21") && Catch::Contains("20"));
  Model few = Model::parse("20-8-3");
  CHECK_THROWS_AS(train(few, data, {}, {}), Error);
  Model poisoned = model.clone();
  poisoned.layers()[0].weight.data()[3] = std::nanf("");
  CHECK_THROWS_AS(train(poisoned, data, {}, {}), Error);
}

TEST_CASE("divergence is reported with its place, and a stop ends the run", "[train]") {
  const Dataset data = test::small_data(400);
  Model model = Model::parse("20-64-64-4");
  initialize_baseline(model, {}, {.seed = 1});
  TrainOptions options;
  options.optimizer.learning_rate = 1e6;
  try {
    train(model, data, options, {});
    FAIL("expected divergence");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::numerical);
    CHECK_THAT(error.what(), Catch::Contains("epoch 1, step"));
  }
  std::stop_source source;
  source.request_stop();
  Model other = Model::parse("20-8-4");
  try {
    train(other, data, {}, {.stop = source.get_token()});
    FAIL("expected an interruption");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::interrupted);
  }
}

TEST_CASE("summaries apply the three rules", "[train]") {
  TrainResult result;
  const auto epoch = [](int e, double validation, double test) {
    EpochRecord r;
    r.epoch = e;
    r.validation_error = validation;
    r.test_error = test;
    return r;
  };
  result.epochs = {epoch(0, 0.0, 0.0), epoch(1, 0.5, 0.4), epoch(2, 0.3, 0.35), epoch(3, 0.3, 0.2), epoch(4, 0.4, 0.3)};
  const ResultSummary s = summarize(result);
  CHECK(s.min_test_error == 0.2);
  CHECK(s.min_test_epoch == 3);
  CHECK(s.chosen_test_error == 0.35);
  CHECK(s.chosen_epoch == 2);
  CHECK(s.final_test_error == 0.3);
  result.epochs.erase(result.epochs.begin());
  CHECK(epochs_to_reach(result, 0.35) == 2);
  CHECK(epochs_to_reach(result, 0.1) == -1);
}
