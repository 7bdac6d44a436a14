// Networks of modules: the notation, and forward, training step, files and methods against plain float64 loops that
// hold images in PyTorch's order, channel by channel.
#include <kindling/ibci.h>
#include <kindling/initialize.h>
#include <kindling/methods.h>
#include <kindling/random.h>
#include <kindling/train.h>
#include <kindling/weights_file.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "nn/trainer.h"
#include "support/catch.h"
#include "support/temp_dir.h"

using namespace kindling;

namespace {

using Values = std::vector<double>;

double activated(const Activation& a, double z) {
  switch (a.kind) {
    case ActivationKind::identity: return z;
    case ActivationKind::tanh: return std::tanh(z);
    case ActivationKind::sigmoid: return 1 / (1 + std::exp(-z));
    default: return z > 0 ? z : static_cast<double>(negative_slope(a)) * z;
  }
}

// A batch through the model in float64. Training: batch statistics and dropout masks of step `step`; else inference.
struct Plain {
  const Model& model;
  bool training = false;
  std::uint64_t seed = 0;
  std::uint32_t step = 1;
  // Parameters in float64, so that they can be moved by little: weight and bias of every layer.
  std::vector<std::pair<Values, Values>> parameters;

  explicit Plain(const Model& m) : model(m) {
    for (const Layer& l : m.layers())
      parameters.push_back(
          {{l.weight.flat().begin(), l.weight.flat().end()}, {l.bias.flat().begin(), l.bias.flat().end()}});
  }

  std::vector<Values> operator()(std::vector<Values> x) const {
    for (std::size_t i = 0; i < model.layers().size(); ++i) x = layer(i, x);
    return x;
  }

  std::vector<Values> layer(std::size_t index, const std::vector<Values>& x) const {
    const Layer& l = model.layers()[index];
    const auto& [w, b] = parameters[index];
    const ImageShape& in = l.input;
    const ImageShape& out = l.output;
    std::vector<Values> y(x.size(), Values(static_cast<std::size_t>(out.features())));
    const auto at = [](const ImageShape& s, std::int64_t c, std::int64_t h, std::int64_t v) {
      return static_cast<std::size_t>((c * s.height + h) * s.width + v);
    };
    if (l.kind == LayerKind::flatten) return x;
    if (l.kind == LayerKind::batch_norm) {
      const auto positions = in.height * in.width;
      for (std::int64_t c = 0; c < in.channels; ++c) {
        const auto ci = static_cast<std::size_t>(c);
        double mean = l.running_mean.data()[c], variance = l.running_var.data()[c];
        if (training) {
          const double count = static_cast<double>(positions) * static_cast<double>(x.size());
          mean = variance = 0;
          for (const Values& row : x)
            for (std::int64_t p = 0; p < positions; ++p)
              mean += row[static_cast<std::size_t>(c * positions + p)] / count;
          for (const Values& row : x)
            for (std::int64_t p = 0; p < positions; ++p)
              variance += std::pow(row[static_cast<std::size_t>(c * positions + p)] - mean, 2) / count;
        }
        for (std::size_t n = 0; n < x.size(); ++n)
          for (std::int64_t p = 0; p < positions; ++p) {
            const auto k = static_cast<std::size_t>(c * positions + p);
            const double z = (x[n][k] - mean) / std::sqrt(variance + static_cast<double>(1e-5F)) * w[ci] + b[ci];
            y[n][k] = activated(l.activation, z);
          }
      }
      return y;
    }
    for (std::size_t n = 0; n < x.size(); ++n) {
      if (l.kind == LayerKind::dense) {
        for (std::size_t m = 0; m < y[n].size(); ++m) {
          double z = b[m];
          for (std::size_t k = 0; k < x[n].size(); ++k) z += w[m * x[n].size() + k] * x[n][k];
          y[n][m] = activated(l.activation, z);
        }
        continue;
      }
      if (l.kind == LayerKind::dropout) {
        y[n] = x[n];
        if (training) {
          // The library counts elements with channels last.
          for (std::int64_t c = 0; c < in.channels; ++c)
            for (std::int64_t p = 0; p < in.height * in.width; ++p) {
              const std::int64_t k = p * in.channels + c;
              const std::int64_t block = static_cast<std::int64_t>(n) * ((in.features() + 3) / 4) + k / 4;
              const auto words = philox_block({seed, Purpose::dropout, static_cast<std::uint32_t>(index), step},
                                              static_cast<std::uint32_t>(block));
              const bool dropped = words[static_cast<std::size_t>(k % 4)] < l.rate * 0x1p32;
              y[n][static_cast<std::size_t>(c * in.height * in.width + p)] *= dropped ? 0 : 1 / (1 - l.rate);
            }
        }
        continue;
      }
      for (std::int64_t o = 0; o < out.channels; ++o)
        for (std::int64_t h = 0; h < out.height; ++h)
          for (std::int64_t v = 0; v < out.width; ++v) {
            double sum = 0, most = -std::numeric_limits<double>::infinity();
            const bool conv = l.kind == LayerKind::conv2d;
            for (std::int64_t c = conv ? 0 : o; c < (conv ? in.channels : o + 1); ++c)
              for (std::int64_t a = 0; a < l.window.height; ++a)
                for (std::int64_t d = 0; d < l.window.width; ++d) {
                  const std::int64_t i = h * l.window.stride - l.window.padding + a;
                  const std::int64_t j = v * l.window.stride - l.window.padding + d;
                  if (i < 0 || j < 0 || i >= in.height || j >= in.width) continue;
                  const double value = x[n][at(in, c, i, j)];
                  most = std::max(most, value);
                  sum += !conv ? value
                               : value * w[static_cast<std::size_t>(
                                             ((o * in.channels + c) * l.window.height + a) * l.window.width + d)];
                }
            double& result = y[n][at(out, o, h, v)];
            if (conv) result = activated(l.activation, sum + b[static_cast<std::size_t>(o)]);
            if (l.kind == LayerKind::max_pool) result = most;
            if (l.kind == LayerKind::average_pool) result = sum / static_cast<double>(l.window.height * l.window.width);
          }
    }
    return y;
  }

  double loss(const std::vector<Values>& x, const std::vector<std::int32_t>& labels) const {
    const auto z = (*this)(x);
    double sum = 0;
    for (std::size_t n = 0; n < z.size(); ++n) {
      double total = 0;
      for (const double v : z[n]) total += std::exp(v);
      sum += std::log(total) - z[n][static_cast<std::size_t>(labels[n])];
    }
    return sum / static_cast<double>(z.size());
  }
};

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

Dataset glyphs(std::int64_t train, std::int64_t test) {
  return load_dataset("synthetic:glyphs:train=" + std::to_string(train) + ",test=" + std::to_string(test), {}, {});
}

bool same_weights(const Model& a, const Model& b) {
  for (std::size_t l = 0; l < a.layers().size(); ++l) {
    const auto equal = [](const Tensor& p, const Tensor& q) {
      return std::equal(p.flat().begin(), p.flat().end(), q.flat().begin());
    };
    const Layer &p = a.layers()[l], &q = b.layers()[l];
    if (!equal(p.weight, q.weight) || !equal(p.bias, q.bias) || !equal(p.running_mean, q.running_mean) ||
        !equal(p.running_var, q.running_var))
      return false;
  }
  return true;
}

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

TEST_CASE("every method initializes conv and batch-norm nets, the same for any number of threads", "[network]") {
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

TEST_CASE("LSUV gives a convolution unit variance over samples, channels and positions", "[network]") {
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

TEST_CASE("IBCI scores a convolution's candidates over all positions of all samples", "[network]") {
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
