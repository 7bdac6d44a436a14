// Whole runs on a device: what they copy, counted at the OpenCL functions, and that they compute the same bits as runs
// that copy every operand of every kernel there and back.
#include <kindling/curvature.h>
#include <kindling/information.h>
#include <kindling/inspect.h>
#include <kindling/methods.h>
#include <kindling/propagation.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "kernels/residency.h"
#include "support/catch.h"
#include "support/opencl_copies.h"
#include "support/small_data.h"

using namespace kindling;
using namespace kindling::test;

namespace {

const Context context{.seed = 5, .target = "opencl"};

std::vector<double> parameters_of(const Model& model) {
  std::vector<double> all;
  for (const Layer& l : model.layers())
    for (const Tensor* t : {&l.weight, &l.bias, &l.running_mean, &l.running_var})
      all.insert(all.end(), t->flat().begin(), t->flat().end());
  return all;
}

std::int64_t parameter_bytes(const Model& model) {
  std::int64_t n = 0;
  for (const Layer& l : model.layers()) n += 4 * (l.weight.size() + l.bias.size());
  return n;
}

struct Copies {
  std::int64_t in, out;
};

// Runs twice, without and with residencies; the numbers it returns must agree to the bit.
template <class Run>
Copies counted(const Run& run) {
  kernels::Residency::set_enabled(false);
  copies.reset();
  const std::vector<double> plain = run();
  const std::int64_t plain_in = copies.in, plain_out = copies.out;
  kernels::Residency::set_enabled(true);
  copies.reset();
  const std::vector<double> resident = run();
  const Copies result{copies.in, copies.out};
  CAPTURE(plain_in, plain_out, result.in, result.out);
  REQUIRE(plain.size() == resident.size());
  for (std::size_t i = 0; i < plain.size(); ++i) {
    CAPTURE(i, plain[i], resident[i]);
    REQUIRE(std::memcmp(&plain[i], &resident[i], sizeof(double)) == 0);
  }
  // Something is kept, and the count sees it.
  CHECK(result.in < plain_in);
  CHECK(result.out <= plain_out);
  CHECK(result.in > 0);
  return result;
}

constexpr const char* dense = "20-37-33-4";
constexpr const char* image = "2x6x6:conv5,bn,relu,pool2,conv3,relu,flatten,7,relu,4";
constexpr const char* normed = "20:37,bn,relu,dropout0.2,33,bn,relu,4";

Copies initialized(const char* method, const char* text, const Dataset& data) {
  CAPTURE(method, text);
  const MethodSpec spec = MethodSpec::parse(method);
  return counted([&] {
    Model model = Model::parse(text);
    (void)initialize(model, spec, &data, context);
    return parameters_of(model);
  });
}

const Dataset& data_of(const char* text) {
  static const Dataset vectors = small_data(400), images = small_data(120, 72);
  return std::string_view(text) == image ? images : vectors;
}

}  // namespace

// Beside the data once, and the parameters a few times (drawn and taken in again, at the ends of windows, with the
// optimiser's moments), what a step may copy: numbers that depend on batch and classes, or on candidates, not on the
// network's widths.
TEST_CASE("a method's data goes in once, and its parameters come out", "[device_runs]") {
  if (opencl_target() == nullptr) return;
  // A pass over the data: labels, at every position of a convolution; moments.
  const std::int64_t labels = 400 * 4, positions = 120 * 36 * 4;
  // A choice of the campaign: numbers of its at most 128 active candidates; what came of them.
  const std::int64_t choice = 128 * 14;
  // A step of MMD: S x B x d probabilities, gradients and distances below thresholds; the batch and its factors.
  const std::int64_t outputs = 16 * 10 * 4 * 4, mmd_in = 4 * outputs, mmd_out = 18 * outputs;
  const std::string mmd = "mmd:steps=12,window=4,batch=10";
  const std::string bottleneck = "bottleneck:iterations=3,critic=16/16,batch=20,critic_updates=2,warmup=2,post=3";
  const std::string random_label = "random-label:steps=12,window=4,batch=10";
  struct Row {
    const char* text;
    std::string method;
    std::int64_t steps, in, out;
  };
  const std::vector<Row> rows{
      {dense, "lsuv:base=xavier", 12, labels, 512},
      {image, "lsuv:base=xavier", 4, positions, 2048},
      {dense, "ibci:k=3", 74, choice, choice},
      {dense, "ibci:k=3,cache_mb=0", 74, choice, choice},
      {image, "ibci:k=3", 4, positions, 4096},
      {normed, "ibci:k=3", 74, choice, choice},
      {dense, "ibci:variant=program,k=3", 74, choice, choice},
      {dense, "ibci-control:k=3", 74, choice, choice},
      // A power iteration: a norm and a factor a sample.
      {dense, "jacobian", 300, 8 * 4, 8 * 4},
      {dense, "jacobian:simulate=true", 640, 200 * 4, 2 * 200 * 4},
      {image, "jacobian:simulate=true", 400, 120 * 4, 2 * 120 * 4},
      {dense, "aci:match=raai", 0, 0, 0},
      {dense, "raai", 0, 0, 0},
      {dense, mmd, 12, mmd_in, mmd_out},
      {dense, mmd + ",span=false", 12, mmd_in, mmd_out},
      {"20-37-33-4:tanh", mmd, 12, mmd_in, mmd_out},
      // Batch-norm's numbers of every copy and channel, and the folded network.
      {normed, mmd, 12, mmd_in + 16 * 70 * 4 * 20 + 2 * 4 * 2237, mmd_out + 16 * 70 * 4 * 14 + 4 * 2237},
      {image, mmd, 12, mmd_in + 10 * 2 * 1080 + 16 * 20 * 4 * 20, mmd_out + 16 * 20 * 4 * 14},
      {dense, "mmd-control:steps=12,window=4,batch=10,match=jacobian", 12 + 8, 6 * outputs, mmd_out},
      {dense, random_label, 12, 10 * 8, 10 * (8 + 20 * 4)},
      {image, random_label, 12, 10 * 8 + 20 * 4 * 8, 10 * (8 + 72 * 4) + 20 * 4 * 8},
      // An update of a critic: one-hot labels and rows in, scores of the bound out.
      {dense, bottleneck, 3 * (2 + 3 * 3), 3 * 20 * 4 * 8, 6 * 512},
      {dense, bottleneck + ",cache_mb=0,estimator=mine", 3 * (2 + 3 * 3), 3 * 20 * 4 * 8, 6 * 512},
      {image, bottleneck + ",conv_beta=0.001", 4 * (2 + 3 * 3), 3 * 20 * 4 * 8, 6 * 512}};
  for (const Row& row : rows) {
    const Dataset& data = data_of(row.text);
    const Copies found = initialized(row.method.c_str(), row.text, data);
    const std::int64_t parameters = parameter_bytes(Model::parse(row.text));
    CAPTURE(row.text, row.method, parameters, data.train.floats.size() * 4);
    CHECK(found.in <=
          static_cast<std::int64_t>(data.train.floats.size()) * 4 + 4 * parameters + row.steps * row.in + 8192);
    CHECK(found.out <= 5 * parameters + row.steps * row.out + 16384);
  }
}

TEST_CASE("information", "[device_runs]") {
  if (opencl_target() == nullptr) return;
  const Dataset& data = data_of(dense);
  LayerInformationOptions options;
  options.estimate.critic.hidden = {16, 16};
  options.estimate.batch = 20;
  options.estimate.updates = 20;
  options.estimate.evaluation_pairs = 100;
  const Copies found = counted([&] {
    Model model = Model::parse(dense);
    (void)initialize(model, MethodSpec::parse("he"), nullptr, context);
    const LayerInformation information = estimate_layer_information(model, 1, data, options, context);
    return std::vector<double>{information.input.nats, information.target.nats};
  });
  // Two estimates, each with both splits; an update: rows, labels, noise's few numbers.
  const auto all = static_cast<std::int64_t>(data.train.floats.size() + data.test.floats.size()) * 4;
  CHECK(found.in <= 2 * all + 4 * parameter_bytes(Model::parse(dense)) + 2 * 20 * 3 * 20 * 4 * 4 + 16384);
  CHECK(found.out <= parameter_bytes(Model::parse(dense)) + 2 * 20 * 3 * 20 * 4 * 8 + 16384);
}

TEST_CASE("propagation", "[device_runs]") {
  if (opencl_target() == nullptr) return;
  PropagationOptions options{.law = {.k = 2, .bias_variance = 0.1},
                             .activation = {ActivationKind::relu},
                             .layers = {1, 3, 6},
                             .width = 65,
                             .inputs = 24,
                             .networks = 1};
  options.law.bias_entry = false;
  const Copies copied = counted([&] {
    const Propagation found = simulate_propagation(options, context);
    std::vector<double> numbers;
    for (const PropagationRow& row : found.rows) numbers.insert(numbers.end(), {row.length, row.correlation});
    return numbers;
  });
  // Biases of a layer in, lengths and overlaps of the signals out: no signals and no weights.
  CHECK(copied.in <= 6 * (65 + 3 * 24) * 4 + 1024);
  CHECK(copied.out <= 6 * (65 + 3 * 24) * 4 + 1024);
}

TEST_CASE("curvature and inspection", "[device_runs]") {
  if (opencl_target() == nullptr) return;
  const std::string text =
      GENERATE(as<std::string>{}, dense, "20-37-33-4:tanh", "2x6x6:conv5,relu,pool2,conv3,relu,flatten,7,relu,4");
  const Dataset data = small_data(64, Model::parse(text).inputs());
  CAPTURE(text);
  const Copies copied = counted([&] {
    Model model = Model::parse(text);
    (void)initialize(model, MethodSpec::parse("he"), nullptr, context);
    const ConstTensorView x(data.train.floats.data(), {data.train.count, data.train.features});
    const CurvatureReport report =
        curvature_report(model, x, {.labels = data.train.labels}, {.lanczos = {.max_steps = 12}}, context);
    std::vector<double> numbers{report.loss, report.gradient_norm, report.whole.largest};
    for (const LayerCurvature& l : report.layers) {
      numbers.insert(numbers.end(), {l.hessian.largest, l.hessian.smallest, l.gauss_newton_norm, l.jacobian_norm,
                                     l.bound, l.bound_at_layer, l.factorization_error});
    }
    for (const LayerInspection& l : inspect(model, x, context).layers) {
      numbers.insert(numbers.end(), l.singular_values.begin(), l.singular_values.end());
      numbers.insert(numbers.end(), {l.activity->mean_slope, l.activity->output_mean_square});
    }
    return numbers;
  });
  // Samples and parameters a few times; a Lanczos step: a few numbers; a power iteration: two numbers a sample; the
  // slopes and activities of inspection: rows of ones.
  const std::int64_t parameters = parameter_bytes(Model::parse(text));
  std::int64_t widths = 0;
  const Model parsed = Model::parse(text);
  for (const Layer& l : parsed.layers()) widths += l.output.features();
  CHECK(copied.in <= 4 * 64 * (data.train.features + 2 * widths) * 4 + 6 * parameters + 4 * 200 * 64 * 4);
  CHECK(copied.out <= 6 * parameters + 4 * 200 * 2 * 64 * 4 + 64 * widths * 8);
}
