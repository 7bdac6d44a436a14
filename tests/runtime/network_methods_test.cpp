// Initialization methods on networks of modules.
#include <kindling/ibci.h>
#include <kindling/initialize.h>
#include <kindling/methods.h>
#include <kindling/train.h>

#include <nlohmann/json.hpp>

#include "runtime/module_reference.h"
#include "support/catch.h"

using namespace kindling;
using namespace kindling::test;

TEST_CASE("every method initializes conv and batch-norm nets, the same for any number of threads",
          "[network_methods]") {
  const Dataset data = glyphs(700, 100);
  for (const char* text : {"1x16x16:conv6,bn,pool2,conv8k5s2,flatten,20,dropout0.5,10",
                           "1x16x16:pool2,bn,flatten,20,dropout0.5,10", "256:24,bn,relu,16,bn,tanh,10"}) {
    for (const char* method : {"xavier", "he", "lecun", "orthogonal", "lsuv", "ibci:k=2", "ibci-control:k=2",
                               "ibci:k=2,criteria=input", "ibci:k=2,criteria=target", "ibci:k=2,campaign=false",
                               "ibci:k=2,scores=false", "ibci:k=2,variant=program", "ibci:k=2,samples=300"}) {
      INFO(text << " by " << method);
      std::vector<Model> results;
      for (const int threads : {1, 2}) {
        Model model = Model::parse(text);
        const auto report =
            nlohmann::json::parse(initialize(model, MethodSpec::parse(method), &data, {.seed = 4, .threads = threads}));
        REQUIRE(report.at("layers").size() == model.layers().size());
        for (std::size_t i = 0; i < model.layers().size(); ++i) {
          const Layer& layer = model.layers()[i];
          const auto& entry = report.at("layers")[i];
          CHECK(entry.at("layer") == layer.name);
          CHECK(entry.contains("skipped") == !layer.has_neurons());
          if (!layer.has_neurons()) continue;
          const auto w = layer.weight.flat();
          CHECK(std::count(w.begin(), w.end(), 0.0F) < static_cast<std::int64_t>(w.size()) / 4);
        }
        check_finite(model);
        CHECK(std::isfinite(evaluate(model, data, data.test, {}).loss));
        results.push_back(std::move(model));
      }
      CHECK(same_weights(results[0], results[1]));
    }
  }
}

TEST_CASE("LSUV gives a convolution unit variance over samples, channels and positions", "[network_methods]") {
  const Dataset data = glyphs(300, 10);
  Model model = Model::parse("1x16x16:conv6,pool2,conv5k5s2,bn,relu,flatten,10");
  const LsuvReport report = initialize_lsuv(model, data, {.samples = 0}, {.seed = 1});
  std::vector<Values> x;
  for (std::int64_t n = 0; n < 300; ++n) {
    Values row;
    for (std::int64_t k = 0; k < 256; ++k) {
      const auto i = static_cast<std::size_t>(n * 256 + k);
      const double v = data.train.eight_bit() ? data.train.bytes[i] / 255.0 : data.train.floats[i];
      row.push_back((v - data.mean[static_cast<std::size_t>(k)]) * data.inverse_std[static_cast<std::size_t>(k)]);
    }
    x.push_back(row);
  }
  Model linear = model.clone();
  for (Layer& l : linear.layers()) l.activation = {ActivationKind::identity};
  const Plain with(model), without(linear);
  for (std::size_t l = 0; l < model.layers().size(); ++l) {
    if (model.layers()[l].has_neurons()) {
      double sum = 0, squares = 0, count = 0;
      for (const Values& row : without.layer(l, x))
        for (const double z : row) sum += z, squares += z * z, ++count;
      CHECK(std::abs(squares / count - (sum / count) * (sum / count) - 1) <= 0.02 + 1e-4);
      CHECK(report.layers[l].converged);
    } else {
      CHECK_FALSE(report.layers[l].skipped.empty());
    }
    x = with.layer(l, x);
    // Batch-norm's running statistics are those of the data: what it passes on has mean 0 and variance 1 before relu.
    if (model.layers()[l].kind == LayerKind::batch_norm) CHECK(model.layers()[l].running_var.data()[0] > 0.5F);
  }
}

TEST_CASE("IBCI scores a convolution's candidates over all positions of all samples", "[network_methods]") {
  const Dataset data = glyphs(120, 10);
  Model model = Model::parse("1x16x16:conv4k3s2,relu,flatten,10");
  IbciOptions options{.k = 3, .use_campaign = false};
  options.alpha.values = {0.7};
  const IbciReport report = initialize_ibci(model, data, options, {.seed = 6});
  const Layer& layer = model.layers()[0];
  const auto candidates = static_cast<std::size_t>(report.layers[0].candidates);
  REQUIRE(candidates == 12);
  std::vector<float> drawn(candidates * 9);
  fill_normal({6, Purpose::candidates, 0, 0}, 0,
              static_cast<float>(law_stddev(options.law, 9, 36, {ActivationKind::relu})), drawn, {});
  // Each candidate's responses, position by position, in float64.
  std::vector<double> input, target;
  for (std::size_t j = 0; j < candidates; ++j) {
    std::vector<std::vector<double>> of_class(10);
    std::vector<double> all;
    for (std::int64_t n = 0; n < 120; ++n)
      for (std::int64_t h = 0; h < layer.output.height; ++h)
        for (std::int64_t v = 0; v < layer.output.width; ++v) {
          double z = 0;
          for (std::int64_t a = 0; a < 3; ++a)
            for (std::int64_t b = 0; b < 3; ++b) {
              const std::int64_t r = 2 * h - 1 + a, c = 2 * v - 1 + b;
              if (r < 0 || c < 0 || r >= 16 || c >= 16) continue;
              const auto k = static_cast<std::size_t>(r * 16 + c);
              const auto i = static_cast<std::size_t>(n) * 256 + k;
              const double x = data.train.eight_bit() ? data.train.bytes[i] / 255.0 : data.train.floats[i];
              z += static_cast<double>(drawn[j * 9 + static_cast<std::size_t>(a * 3 + b)]) * (x - data.mean[k]) *
                   data.inverse_std[k];
            }
          all.push_back(std::max(z, 0.0));
          of_class[static_cast<std::size_t>(data.train.labels[static_cast<std::size_t>(n)])].push_back(all.back());
        }
    const auto mean = [](const std::vector<double>& v) {
      double s = 0;
      for (const double z : v) s += z;
      return s / static_cast<double>(v.size());
    };
    const auto spread = [&](const std::vector<double>& v) {
      double s = 0;
      for (const double z : v) s += (z - mean(v)) * (z - mean(v));
      return s / static_cast<double>(v.size());
    };
    std::vector<double> means;
    double within = 0;
    for (const auto& c : of_class) {
      means.push_back(mean(c));
      within += spread(c) / 10;
    }
    input.push_back(spread(all));
    target.push_back(spread(means) - within);
  }
  const auto norm = [](const std::vector<double>& v) {
    double s = 0;
    for (const double z : v) s += z * z;
    return std::sqrt(s);
  };
  std::vector<std::pair<double, std::int64_t>> scores;
  for (std::size_t j = 0; j < candidates; ++j)
    scores.emplace_back(-(0.7 * input[j] / norm(input) + 0.3 * target[j] / norm(target)), j);
  std::sort(scores.begin(), scores.end());
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(report.layers[0].selected[i] == scores[i].second);
    for (std::size_t k = 0; k < 9; ++k)
      CHECK(layer.weight.data()[i * 9 + k] == drawn[static_cast<std::size_t>(scores[i].second) * 9 + k]);
  }
}
