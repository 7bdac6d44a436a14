#include <kindling/dataset.h>
#include <kindling/initialize.h>
#include <kindling/inspect.h>
#include <kindling/model.h>
#include <kindling/weights_file.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/temp_dir.h"
#include "tools/program.h"

using namespace kindling;
using namespace kindling::test;

namespace {

std::string saved(const TempDir& folder, const Model& model, const std::string& name = "w.safetensors") {
  const std::string path = (folder / name).string();
  save_weights(model, path);
  return path;
}

Model he(const std::string& text) {
  Model model = Model::parse(text);
  initialize_baseline(model, {}, {.seed = 1});
  return model;
}

nlohmann::json inspected(const std::vector<std::string>& arguments) {
  std::vector<std::string> all{"inspect", "--json", "--quiet"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const Outcome run = run_program(all);
  INFO(run.error);
  REQUIRE(run.status == 0);
  return nlohmann::json::parse(run.out);
}

}  // namespace

TEST_CASE("inspect reads the law, the spectrum and the phase off a file", "[inspect]") {
  const TempDir folder;
  const std::string file = saved(folder, he("256-300-200-10"));
  const auto json = inspected({file});
  CHECK(json.at("model") == "256-300-200-10");
  REQUIRE(json.at("layers").size() == 3);
  const auto& first = json.at("layers").at(0);
  // 76,800 weights: their variance is good to sqrt(2 / 76800) = 0.5 %, four errors allowed.
  CHECK(first.at("weight_variance").get<double>() == Approx(2).epsilon(0.02));
  CHECK(std::abs(first.at("k").get<double>()) < 4 * first.at("k_error").get<double>());
  CHECK(first.at("k_error").get<double>() == Approx(std::sqrt(2 / 300.0)).epsilon(0.4));
  CHECK(first.at("bias_variance") == 0);
  REQUIRE(first.at("singular_values").size() == 5);
  // Largest singular value of independent weights: sigma (sqrt(m) + sqrt(n)), less by some percent.
  const double norm = first.at("singular_values").at(0), expected = std::sqrt(2 / 256.0) * (std::sqrt(300.) + 16);
  CHECK(norm < expected * 1.02);
  CHECK(norm > expected * 0.95);
  CHECK(first.at("independent_norm").get<double>() == Approx(expected).epsilon(0.02));
  CHECK(first.at("activity").is_null());
  CHECK(first.at("phase").at("phase") == "critical");  // ReLU without biases, whatever the variance
  CHECK(json.at("layers").at(2).at("phase").is_null());
  CHECK(json.at("findings").empty());
  CHECK(run_program({"inspect", file}).out.find("Nothing stands out.") != std::string::npos);
}

TEST_CASE("inspect with data counts dead units and says so", "[inspect]") {
  const TempDir folder;
  Model model = he("256-30-20-10");
  for (const std::int64_t unit : {3, 7}) model.layers()[0].bias.data()[unit] = -1e4F;
  const std::string file = saved(folder, model, "w.npz");
  const auto json = inspected({file, "--model", "256-30-20-10", "--data", glyphs, "--samples", "300"});
  const auto& activity = json.at("layers").at(0).at("activity");
  CHECK(activity.at("samples") == 300);
  CHECK(activity.at("dead") == 2);
  CHECK(activity.at("mean_slope").get<double>() < 28.0 / 30);
  CHECK(json.dump().find("2 of 30 units are 0 on all 300 samples") != std::string::npos);
  const std::string text = run_program({"inspect", file, "--data", glyphs}).out;
  CHECK(text.find("layers.0: 2 of 30 units are 0 on all 500 samples") != std::string::npos);

  Model images = he("1x16x16:conv4,bn,relu,conv3,relu,flatten,10");
  std::fill(images.layers()[2].bias.flat().begin(), images.layers()[2].bias.flat().end(), -1e4F);
  const auto conv = inspected({saved(folder, images), "--data", glyphs});
  CHECK(conv.at("layers").at(0).at("phase").is_null());
  CHECK(conv.at("layers").at(1).at("activity").at("dead") == 3);
}

TEST_CASE("inspect --features writes what the last layer gets", "[inspect]") {
  const TempDir folder;
  const std::string spec = "synthetic:glyphs:train=100,test=10,seed=1";
  const Model model = he("256-20-10");
  const std::string file = saved(folder, model), out = (folder / "features.npz").string();
  REQUIRE(run_program({"inspect", file, "--data", spec, "--samples", "70", "--features", out}).status == 0);
  const Weights arrays = read_weights(out);
  const NamedTensor &x = *arrays.find("x"), &y = *arrays.find("y");
  REQUIRE(x.shape == std::vector<std::int64_t>{70, 20});
  REQUIRE(y.shape == std::vector<std::int64_t>{70});
  const Dataset data = load_dataset(spec, {}, Context{});
  const Tensor inputs = training_inputs(data, 70, Context{});
  const ConstTensorView w = model.layers().front().weight;
  double worst = 0, largest = 0;
  for (std::size_t n = 0; n < 70; ++n) {
    CHECK(y.data[n] == static_cast<float>(data.train.labels[n]));
    for (std::size_t m = 0; m < 20; ++m) {
      double sum = 0, sizes = 0;
      for (std::int64_t k = 0; k < 256; ++k) {
        const double product = double(w(std::int64_t(m), k)) * inputs.view()(std::int64_t(n), k);
        sum += product;
        sizes += std::abs(product);
      }
      // A sum of 256 products in float32, in any order.
      worst = std::max(worst, std::abs(std::max(sum, 0.0) - x.data[n * 20 + m]) / (256 * 6e-8 * sizes));
      largest = std::max(largest, sum);
    }
  }
  CHECK(largest > 1);
  CHECK(worst < 1);
  const auto of_layer = [&](const std::string& layer) {
    return run_program(
        {"inspect", file, "--data", spec, "--samples", "70", "--features", out, "--features-layer", layer});
  };
  REQUIRE(of_layer("2").status == 0);
  CHECK(read_weights(out).find("x")->shape == std::vector<std::int64_t>{70, 10});
  REQUIRE(of_layer("1").status == 0);
  CHECK(read_weights(out).find("x")->data == x.data);
  check_failure(of_layer("3"), 2, {"--features-layer", "1 to 2", "found 3"});
  check_failure(run_program({"inspect", file, "--features-layer", "1"}), 2, {"--features-layer", "--features"});
  check_failure(run_program({"inspect", file, "--features", out}), 2, {"--features", "--data"});
  const std::string text = (folder / "features.txt").string();
  check_failure(run_program({"inspect", file, "--data", spec, "--features", text}), 2, {"features.txt"});
}

TEST_CASE("inspect tells what is wrong in a sentence", "[inspect]") {
  const TempDir folder;
  const auto said = [&](const Model& model, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{"inspect", saved(folder, model), "--quiet"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome run = run_program(arguments);
    REQUIRE(run.status == 0);
    return run.out;
  };
  const auto has = [](const std::string& text, const std::string& part) {
    CAPTURE(text, part);
    CHECK(text.find(part) != std::string::npos);
  };
  has(said(Model::parse("256-30-10")), "layers.0: every weight is 0");
  Model same = he("256-30-10");
  std::copy_n(same.layers()[0].weight.data(), 256, same.layers()[0].weight.data() + 5 * 256);
  has(said(same), "layers.0: 1 of 30 units have the weights of another one");
  const std::string deep = "256-64-64-64-64-64-64-64-64-64-64-10";
  const auto scaled = [&](const std::string& text, float factor) {
    Model model = he(text);
    for (Layer& l : model.layers())
      for (float& w : l.weight.flat()) w *= factor;
    return model;
  };
  has(said(scaled(deep, 3)), "signals explode");
  has(said(scaled(deep, 0.3F)), "signals fade");
  has(said(scaled(deep + ":tanh", 3)), "chaotic");
  has(said(scaled(deep + ":tanh", 20), {"--data", glyphs}), "saturated");
  has(said(scaled(deep + ":tanh", 0.2F)), "ordered");
  Model directed = he("256-30-10");
  for (float& w : directed.layers()[0].weight.flat()) w += 0.2F;
  has(said(directed), "one direction dominates");
}

TEST_CASE("inspect --curvature", "[inspect]") {
  const TempDir folder;
  const std::string file = saved(folder, he("256-20-12-10"));
  const auto json = inspected({file, "--curvature", "--data", glyphs, "--samples", "200"});
  const auto& curvature = json.at("curvature");
  REQUIRE(curvature.at("layers").size() == 3);
  double greatest = 0;
  for (const auto& layer : curvature.at("layers")) {
    const double top = layer.at("hessian").at("largest");
    greatest = std::max(greatest, top);
    CHECK(layer.at("hessian").at("converged").get<bool>());
    CHECK(layer.at("guaranteed_step").get<double>() == Approx(1 / top));
    CHECK(layer.at("stability_limit").get<double>() == Approx(2 / top));
    CHECK(layer.at("bound").get<double>() > top);
    CHECK(layer.at("jacobian_norm").get<double>() > 0.5);
  }
  CHECK(curvature.at("whole").at("largest").get<double>() >= greatest * 0.99);
  const std::string text = run_program({"inspect", file, "--curvature", "--data", glyphs, "--samples", "50", "--loss",
                                        "squared_error", "--steps", "2", "--quiet"})
                               .out;
  for (const char* part : {"λ max", "Theorem 1", "2/λ", "all parameters together", "had not settled"}) {
    CHECK(text.find(part) != std::string::npos);
  }
}

TEST_CASE("inspect refuses odd input", "[inspect]") {
  const TempDir folder;
  Model model = he("256-20-10");
  const std::string file = saved(folder, model);
  check_failure(run_program({"inspect", (folder / "none.npz").string()}), 5, {"none.npz"});
  check_failure(run_program({"inspect", file, "--model", "256-21-10"}), 3, {"layers.0", "21"});
  check_failure(run_program({"inspect", file, "--model", "256-20-10-10"}), 3, {"6 tensors", "holds 4"});
  check_failure(run_program({"inspect", file, "--curvature"}), 2, {"--curvature", "--data"});
  check_failure(run_program({"inspect", file, "--samples", "10"}), 2, {"--samples", "--data"});
  check_failure(run_program({"inspect", file, "--data", glyphs, "--samples", "0"}), 2, {"--samples", "0"});
  check_failure(run_program({"inspect", file, "--loss", "squared_error"}), 2, {"--loss", "--curvature"});
  check_failure(run_program({"inspect", file, "--curvature", "--data", glyphs, "--loss", "hinge"}), 2, {"hinge"});
  check_failure(run_program({"inspect", file, "--curvature", "--data", glyphs, "--steps", "0"}), 2, {"--steps", "0"});
  check_failure(run_program({"inspect", file, "--data", (folder / "no").string()}), 5, {"no"});
  // Ten classes, nine outputs; other inputs than the data's.
  check_failure(run_program({"inspect", saved(folder, he("256-20-9"), "nine.npz"), "--data", glyphs}), 3, {"9", "10"});
  check_failure(run_program({"inspect", saved(folder, he("255-10"), "few.npz"), "--data", glyphs}), 3, {"255", "256"});
  model.layers()[1].weight.data()[5] = std::numeric_limits<float>::quiet_NaN();
  check_failure(run_program({"inspect", saved(folder, model)}), 4, {"layers.1.weight"});
  folder.write("broken.safetensors", "not a file of weights");
  check_failure(run_program({"inspect", (folder / "broken.safetensors").string()}), 3, {"broken.safetensors"});
  Weights nameless = read_weights(file);
  nameless.metadata.clear();
  write_weights(folder / "nameless.npz", nameless);
  check_failure(run_program({"inspect", (folder / "nameless.npz").string()}), 2, {"nameless.npz", "--model"});
  const std::string normed = saved(folder, he("1x16x16:conv4,bn,relu,flatten,10"), "bn.npz");
  check_failure(run_program({"inspect", normed, "--curvature", "--data", glyphs}), 2, {"layers.1", "batch-norm"});
}
