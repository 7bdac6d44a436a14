// Networks of modules: the notation, and forward, training step and files against plain float64 loops.
#include <kindling/initialize.h>
#include <kindling/methods.h>
#include <kindling/random.h>
#include <kindling/train.h>
#include <kindling/weights_file.h>

#include <algorithm>
#include <cmath>

#include "nn/trainer.h"
#include "runtime/module_reference.h"
#include "support/catch.h"
#include "support/temp_dir.h"

using namespace kindling;
using namespace kindling::test;

namespace {

std::vector<Values> random_rows(std::int64_t rows, std::int64_t features, std::vector<float>& flat) {
  flat.resize(static_cast<std::size_t>(rows * features));
  fill_normal({5, Purpose::test, 1, 0}, 0, 1, flat, {});
  std::vector<Values> x;
  for (std::int64_t n = 0; n < rows; ++n)
    x.emplace_back(flat.begin() + n * features, flat.begin() + (n + 1) * features);
  return x;
}

// Initialized, and with running statistics and scales that are not the neutral ones.
Model prepared(const std::string& text) {
  Model model = Model::parse(text);
  initialize_baseline(model, {.bias = BiasRule::uniform}, {.seed = 3});
  std::uint32_t unit = 0;
  for (Layer& l : model.layers()) {
    if (l.kind != LayerKind::batch_norm) continue;
    fill_uniform({7, Purpose::test, ++unit, 0}, 0.5F, 1.5F, l.weight.flat(), {});
    fill_uniform({7, Purpose::test, ++unit, 0}, -0.5F, 0.5F, l.bias.flat(), {});
    fill_uniform({7, Purpose::test, ++unit, 0}, -0.5F, 0.5F, l.running_mean.flat(), {});
    fill_uniform({7, Purpose::test, ++unit, 0}, 0.5F, 1.5F, l.running_var.flat(), {});
  }
  return model;
}

const char* const networks[] = {
    "2x6x5:pool2s1p1,bn,avgpool2,flatten,8,bn,tanh,dropout0.3,4",
    "3x8x6:conv5,bn,relu,pool2,conv4k5s2,leaky_relu:0.2,avgpool2s1,flatten,7,bn,tanh,dropout0.3,4",
    "1x9x9:conv6s2p0,tanh,pool2s1,dropout0.25,conv4k1,relu,bn,avgpool,flatten",
    "2x5x5:conv3,sigmoid,dropout0.5,pool3s1p1,flatten,6,relu,dropout0.5,3",
    "12:9,bn,relu,8,leaky_relu:0.1,dropout0.2,bn,5",
    "4x4x4:avgpool2,bn,conv3,relu,flatten,4"};

}  // namespace

TEST_CASE("the notation is completed, printed and read back", "[network]") {
  const auto full = [](const char* text) { return Model::parse(text).description(); };
  CHECK(full("20:16,bn,leaky_relu:0.2,4,bn") == "20:16,bn,leaky_relu:0.2,4,bn");
  for (const char* text : networks) {
    CHECK(full(text) == text);
  }
  CHECK(full("3x32x32:conv16,pool2,conv32k5s2p2,512,10") ==
        "3x32x32:conv16,relu,pool2,conv32k5s2,relu,flatten,512,relu,10");
  CHECK(full("1x8x8:conv4,bn,maxpool2,conv3k1,avgpool") == "1x8x8:conv4,bn,relu,pool2,conv3k1,avgpool,flatten");
  CHECK(full("1x8x8:conv4,identity,bn,conv4p0,tanh,5,dropout0.5,2") ==
        "1x8x8:conv4,identity,bn,conv4p0,tanh,flatten,5,relu,dropout0.5,2");
  const Model model = Model::parse("3x32x32:conv16,bn,pool2,flatten,512,10");
  REQUIRE(model.layers().size() == 6);
  const std::vector<std::string> names{"layers.0", "layers.1", "layers.3", "layers.4", "layers.5", "layers.7"};
  for (std::size_t i = 0; i < names.size(); ++i) CHECK(model.layers()[i].name == names[i]);
  CHECK(model.layers()[0].weight.shape() == std::vector<std::int64_t>{16, 3, 3, 3});
  CHECK(model.layers()[0].activation.kind == ActivationKind::identity);
  CHECK(model.layers()[1].activation.kind == ActivationKind::relu);
  CHECK(model.layers()[0].fan_in() == 27);
  CHECK(model.layers()[0].fan_out() == 144);
  CHECK(model.layers()[0].units() == 16);
  CHECK(model.inputs() == 3072);
  CHECK(model.outputs() == 10);
  CHECK(model.parameters() == 16 * 27 + 16 + 32 + 16 * 256 * 512 + 512 + 5120 + 10);
}

TEST_CASE("what is no list of modules is refused with the module", "[network]") {
  const std::pair<const char*, const char*> wrong[] = {{"3x32:10", "3x32"},
                                                       {"3x32x32:", "module ''"},
                                                       {"3x8x8:conv", "conv"},
                                                       {"3x8x8:conv4k9p0,2", "9 x 9"},
                                                       {"3x8x8:conv4q1,2", "conv4q1"},
                                                       {"3x8x8:conv4k3k3,2", "conv4k3k3"},
                                                       {"3x8x8:pool,2", "pool2"},
                                                       {"8:conv4,2", "needs an image"},
                                                       {"3x8x8:flatten,pool2,2", "needs an image"},
                                                       {"3x8x8:conv4,pool2,relu,2", "right after"},
                                                       {"8:dropout1,2", "[0, 1)"},
                                                       {"8:relu,2", "right after"},
                                                       {"8:bn", "at least one"},
                                                       {"8:4,swish,2", "swish"},
                                                       {"3x8x8:pool2p2,2", "padding"},
                                                       {"8:4,,2", "between the commas"},
                                                       {"8:99999999999", "width"},
                                                       {"3x8x8:pool-2,2", "pool-2"}};
  for (const auto& [text, part] : wrong) {
    INFO(text);
    CHECK_THROWS_WITH(Model::parse(text), Catch::Contains(part));
  }
}

TEST_CASE("forward in inference mode equals plain loops in float64", "[network]") {
  for (const char* text : networks) {
    INFO(text);
    const Model model = prepared(text);
    std::vector<float> flat;
    const auto x = random_rows(7, model.inputs(), flat);
    const Tensor y = forward(model, {flat.data(), {7, model.inputs()}}, {});
    const auto expected = Plain(model)(x);
    for (std::size_t n = 0; n < 7; ++n)
      for (std::size_t k = 0; k < expected[n].size(); ++k)
        CHECK(y.data()[n * expected[n].size() + k] == Approx(expected[n][k]).margin(2e-5));
  }
}

TEST_CASE("a training step moves every parameter by the loss's gradient", "[network]") {
  for (const char* text : networks) {
    INFO(text);
    Model model = prepared(text);
    const Model before = model.clone();
    constexpr std::int64_t rows = 6;
    std::vector<float> flat;
    const auto x = random_rows(rows, model.inputs(), flat);
    std::vector<std::int32_t> labels;
    for (std::int32_t n = 0; n < rows; ++n) labels.push_back(n % static_cast<std::int32_t>(model.outputs()));
    const double rate = 1e-2;
    Trainer trainer(model, rows + 2, {.learning_rate = rate}, 11);
    std::copy(flat.begin(), flat.end(), trainer.inputs(rows).data());
    std::copy(labels.begin(), labels.end(), trainer.labels(rows).begin());
    const double loss = trainer.step(kernels::execution({}), model, rows);

    Plain plain(before);
    plain.training = true;
    plain.seed = 11;
    CHECK(loss == Approx(plain.loss(x, labels)).epsilon(1e-4));
    std::size_t moved = 0;
    for (std::size_t l = 0; l < model.layers().size(); ++l) {
      for (const bool is_bias : {false, true}) {
        Values& p = is_bias ? plain.parameters[l].second : plain.parameters[l].first;
        const Tensor& old = is_bias ? before.layers()[l].bias : before.layers()[l].weight;
        const Tensor& now = is_bias ? model.layers()[l].bias : model.layers()[l].weight;
        for (std::size_t i = 0; i < p.size(); i += 1 + p.size() / 9) {
          const double value = p[i], h = 1e-6;
          p[i] = value + h;
          const double up = plain.loss(x, labels);
          p[i] = value - h;
          const double gradient = (up - plain.loss(x, labels)) / (2 * h);
          p[i] = value;
          const double found = (static_cast<double>(old.data()[i]) - now.data()[i]) / rate;
          INFO(before.layers()[l].name << (is_bias ? ".bias" : ".weight") << " element " << i);
          // The difference of two float32 parameters near 1, over the rate, and 1e-5 of rounding in the gradient.
          CHECK(found == Approx(gradient).margin(2e-5).epsilon(1e-3));
          moved += std::abs(gradient) > 1e-3 ? 1 : 0;
        }
      }
      if (model.layers()[l].kind == LayerKind::batch_norm) CHECK(model.layers()[l].batches_tracked == 1);
    }
    CHECK(moved > 10);
  }
}

TEST_CASE("weights files carry PyTorch's names and shapes, and come back", "[network]") {
  const test::TempDir folder;
  Model model = prepared("3x8x8:conv4k5,bn,relu,pool2,flatten,6,bn,relu,3");
  model.layers()[1].batches_tracked = 42;
  for (const char* name : {"w.safetensors", "w.npz"}) {
    const std::string path = (folder / name).string();
    save_weights(model, path);
    const Weights weights = read_weights(path);
    const auto shape = [&](const char* tensor) {
      REQUIRE(weights.find(tensor) != nullptr);
      return weights.find(tensor)->shape;
    };
    CHECK(weights.tensors.size() == 2 + 5 + 2 + 5 + 2);
    CHECK(shape("layers.0.weight") == std::vector<std::int64_t>{4, 3, 5, 5});
    CHECK(shape("layers.1.running_var") == std::vector<std::int64_t>{4});
    CHECK(shape("layers.1.num_batches_tracked").empty());
    CHECK(shape("layers.5.weight") == std::vector<std::int64_t>{6, 64});
    CHECK(shape("layers.6.bias") == std::vector<std::int64_t>{6});
    CHECK(shape("layers.8.weight") == std::vector<std::int64_t>{3, 6});
    Model read = Model::parse(weights.metadata.at("model"));
    load_weights(read, path);
    CHECK(same_weights(model, read));
    CHECK(read.layers()[1].batches_tracked == 42);
    Model other = Model::parse("3x8x8:conv4k5,relu,pool2,flatten,6,bn,relu,3");
    CHECK_THROWS_AS(load_weights(other, path), Error);
  }
  model.layers()[1].running_var.data()[2] = std::nanf("");
  CHECK_THROWS_WITH(check_finite(model), Catch::Contains("layers.1.running_var"));
}

TEST_CASE("a small conv net learns glyphs, with every optimiser, and any number of threads", "[network]") {
  const Dataset data = glyphs(2000, 500);
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::momentum, OptimizerKind::adam}) {
    INFO(to_string(kind));
    std::vector<Model> results;
    for (const int threads : {1, 3}) {
      Model model = Model::parse("1x16x16:conv8,bn,pool2,conv16,pool2,dropout0.1,32,10");
      const Context context{.seed = 2, .threads = threads};
      initialize_baseline(model, {}, context);
      TrainOptions options{.epochs = 3, .batch = 50};
      options.optimizer = {.kind = kind,
                           .learning_rate = kind == OptimizerKind::adam  ? 0.003
                                            : kind == OptimizerKind::sgd ? 0.2
                                                                         : 0.03,
                           .weight_decay = 1e-4};
      const TrainResult result = train(model, data, options, context);
      CHECK(result.epochs.front().test_error > 0.7);
      CHECK(result.epochs.back().test_error < 0.35);
      results.push_back(std::move(model));
    }
    CHECK(same_weights(results[0], results[1]));
  }
}

TEST_CASE("a lone sample is refused where batch-norm has nothing else to average over", "[network]") {
  const Dataset data = glyphs(101, 10);
  Model model = Model::parse("256:8,bn,10");
  initialize_baseline(model, {}, {});
  CHECK_THROWS_WITH(train(model, data, {.epochs = 1, .batch = 50}, {}), Catch::Contains("leave one alone"));
  Model conv = Model::parse("1x16x16:pool2,bn,10");
  initialize_baseline(conv, {}, {});
  CHECK_NOTHROW(train(conv, data, {.epochs = 1, .batch = 50}, {}));
  Model saturated = Model::parse("256:8,10,sigmoid");
  CHECK_THROWS_WITH(train(saturated, data, {.epochs = 1}, {}), Catch::Contains("logits"));
}
