// What a training on a device copies to and fro, and that it computes the same as calls which copy everything.
#include "kernels/residency.h"

#include <kindling/initialize.h>
#include <kindling/train.h>

#include <cstring>
#include <optional>
#include <thread>

#include "kernels/dense.h"
#include "kernels/jacobian.h"
#include "kernels/random.h"
#include "nn/batches.h"
#include "nn/trainer.h"
#include "support/catch.h"
#include "support/expect_error.h"
#include "support/opencl_copies.h"
#include "support/small_data.h"

using namespace kindling;
using namespace kindling::test;
using kernels::Residency;

namespace {

Model he_model(const char* text) {
  Model model = Model::parse(text);
  initialize_baseline(model, {.law = Law::he}, Context{.seed = 5});
  return model;
}

// train()'s loop without a residency.
void train_by_copies(Model& model, const Dataset& data, const TrainOptions& options, const Context& context) {
  const kernels::Execution exec = kernels::execution(context);
  Trainer trainer(model, options.batch, options.optimizer, context.seed);
  for (int epoch = 1; epoch <= options.epochs; ++epoch) {
    const auto order =
        random_permutation({context.seed, Purpose::shuffle, 0, static_cast<std::uint32_t>(epoch)}, data.train.count);
    for (std::int64_t first = 0; first < data.train.count; first += options.batch) {
      const std::int64_t rows = std::min(options.batch, data.train.count - first);
      const std::vector<std::int32_t> chosen(order.begin() + first, order.begin() + first + rows);
      gather_rows(exec, data, data.train, chosen, trainer.inputs(rows));
      gather_labels(data.train, chosen, trainer.labels(rows));
      (void)trainer.step(exec, model, rows);
    }
  }
}

std::int64_t parameter_bytes(const Model& model) {
  std::int64_t n = 0;
  for (const Layer& l : model.layers()) n += 4 * (l.weight.size() + l.bias.size());
  return n;
}

}  // namespace

TEST_CASE("training on a device moves batches and results alone", "[residency]") {
  if (opencl_target() == nullptr) return;
  const Dataset data = small_data(400);
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::momentum, OptimizerKind::adam}) {
    CAPTURE(to_string(kind));
    const TrainOptions options{.epochs = 3, .batch = 50, .optimizer = {.kind = kind, .learning_rate = 0.01}};
    const Context context{.seed = 5, .target = "opencl"};
    Model copied = he_model("20-37-33-4"), resident = he_model("20-37-33-4");
    train_by_copies(copied, data, options, context);
    copies.reset();
    (void)train(resident, data, options, context);
    for (std::size_t i = 0; i < resident.layers().size(); ++i) {
      const Layer &a = resident.layers()[i], &b = copied.layers()[i];
      REQUIRE(std::memcmp(a.weight.data(), b.weight.data(), 4 * static_cast<std::size_t>(a.weight.size())) == 0);
      REQUIRE(std::memcmp(a.bias.data(), b.bias.data(), 4 * static_cast<std::size_t>(a.bias.size())) == 0);
    }
    const std::int64_t steps = 3 * 8, evaluated = 4 * (data.validation.count + data.test.count);
    const std::int64_t optimizer_state = kind == OptimizerKind::adam ? 2 : kind == OptimizerKind::momentum ? 1 : 0;
    // Once: parameters, the optimiser's state, the training samples. A step: 50 row numbers and labels. An evaluation:
    // its samples and labels. The gradient of the loss and a few numbers of each kernel are Halide's own business.
    const std::int64_t once = (1 + optimizer_state) * parameter_bytes(resident) + 400 * 20 * 4;
    CHECK(copies.in <= once + steps * 50 * 8 + evaluated * (20 * 4 + 4) + 4096);
    CHECK(copies.in >= parameter_bytes(resident) + 400 * 20 * 4 + steps * 50 * 8);
    // Back: parameters once, losses and predictions of each step and evaluation.
    CHECK(copies.out <= parameter_bytes(resident) + (steps * 50 + evaluated) * 8 + 1024);
    CHECK(copies.out >= parameter_bytes(resident));
  }
}

TEST_CASE("a convolutional network trains alike with resident arrays", "[residency]") {
  if (opencl_target() == nullptr) return;
  const Dataset data = small_data(60, 2 * 6 * 6);
  const TrainOptions options{
      .epochs = 2, .batch = 20, .optimizer = {.kind = OptimizerKind::adam, .learning_rate = 0.01}};
  const Context context{.seed = 5, .target = "opencl"};
  const char* text = "2x6x6:conv5,bn,relu,pool2,conv3,relu,dropout0.2,flatten,7,relu,4";
  Model copied = he_model(text), resident = he_model(text);
  train_by_copies(copied, data, options, context);
  (void)train(resident, data, options, context);
  for (std::size_t i = 0; i < resident.layers().size(); ++i) {
    const Layer &a = resident.layers()[i], &b = copied.layers()[i];
    CAPTURE(a.name);
    for (const auto& [p, q] : {std::pair{&a.weight, &b.weight}, {&a.bias, &b.bias}, {&a.running_mean, &b.running_mean}})
      REQUIRE((p->empty() || std::memcmp(p->data(), q->data(), 4 * static_cast<std::size_t>(p->size())) == 0));
  }
}

TEST_CASE("host and device see each other's writing", "[residency]") {
  if (opencl_target() == nullptr) return;
  kernels::Execution exec{opencl_target(), 1};
  Tensor x({6, 3}), w({2, 3}), y({6, 2});
  std::vector<float> bias(2, 1.0F);
  for (float& v : x.flat()) v = 2;
  for (float& v : w.flat()) v = 1;
  {
    Residency residency(exec);
    residency.keep(Residency::Role::input, ConstTensorView(x));
    residency.keep(Residency::Role::result, ConstTensorView(y));
    const auto forward = [&](std::int64_t first, std::int64_t rows) {
      kernels::dense_forward(exec, x.view().rows(first, rows), w, bias, Activation{ActivationKind::identity},
                             y.view().rows(first, rows));
    };
    forward(0, 6);
    CHECK(y.data()[0] == 0);  // not here yet
    kernels::fetch(ConstTensorView(y));
    CHECK(y.data()[0] == 7);
    x.flat()[0] = 5;
    kernels::changed(x.flat());
    forward(0, 2);
    // Rows that are not the first ones are copied, and what the device had of the others stays.
    x.flat()[9] = 0;
    kernels::changed(x.flat());
    forward(3, 1);
  }
  CHECK(y.data()[0] == 10);
  CHECK(y.data()[4] == 7);
  CHECK(y.data()[6] == 5);
}

TEST_CASE("kernels work on any part of a resident array", "[residency]") {
  const kernels::Target* target = opencl_target();
  if (target == nullptr) return;
  const kernels::Execution exec{target, 1};
  // Rows of 37 are not aligned, rows of 128 are.
  for (const std::int64_t width : {37, 128}) {
    CAPTURE(width);
    Tensor x({9, width}), y({9, width});
    for (std::int64_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(i);
    const std::vector<float> twice(9, 2.0F);
    copies.reset();
    Residency residency(exec);
    residency.keep(Residency::Role::input, x);
    residency.keep(Residency::Role::result, y);
    // Rows from the middle, then every second row of the others, in place of and beside what is there.
    kernels::scale_rows(exec, x.view().rows(3, 4), std::span(twice).first(4), y.view().rows(5, 4));
    const ConstTensorView even(x.data(), 2, width, 2 * width);
    const TensorView odd(y.data() + width, 2, width, 2 * width);
    kernels::scale_rows(exec, even, std::span(twice).first(2), odd);
    kernels::scale_rows(exec, y.view().rows(6, 1), std::span(twice).first(1), y.view().rows(6, 1));
    CHECK(copies.out == 0);
    CHECK(copies.in == 2 * x.size() * 4 + 7 * 4);
    residency.finish();
    const auto row = [&](std::int64_t r) { return y.view()(r, width - 1); };
    const auto source = [&](std::int64_t r) { return x.view()(r, width - 1); };
    for (const std::int64_t r : {5, 7, 8}) CHECK(row(r) == 2 * source(r - 2));
    CHECK(row(6) == 4 * source(4));
    CHECK(row(1) == 2 * source(0));
    CHECK(row(3) == 2 * source(2));
    for (const std::int64_t r : {0, 2, 4}) CHECK(row(r) == 0);
  }
}

TEST_CASE("zeros and copies stay where the arrays are", "[residency]") {
  const kernels::Target* target = opencl_target();
  if (target == nullptr) return;
  const kernels::Execution exec{target, 1};
  Tensor x({5, 7}), y({5, 7});
  for (float& v : x.flat()) v = 3;
  for (float& v : y.flat()) v = 4;
  Residency residency(exec);
  for (const Tensor* t : {&x, &y}) residency.keep(Residency::Role::result, *t);
  kernels::copy_rows(exec, x.view().rows(0, 3), y.view().rows(1, 3));
  kernels::zero(exec, x.flat());
  copies.reset();
  residency.finish();
  CHECK(copies.in == 0);
  CHECK(copies.out == 2 * 35 * 4);
  for (const float v : x.flat()) CHECK(v == 0);
  CHECK(y.view()(0, 6) == 4);
  CHECK(y.view()(1, 0) == 3);
  CHECK(y.view()(3, 6) == 3);
  CHECK(y.view()(4, 0) == 4);
  // Without a residency, likewise.
  kernels::zero(exec, y.flat());
  CHECK(y.view()(1, 0) == 0);
}

TEST_CASE("a residency serves the thread that uses it", "[residency]") {
  const kernels::Target* target = opencl_target();
  if (target == nullptr) return;
  const kernels::Execution exec{target, 1};
  Tensor y({6});
  Residency residency(exec);
  residency.keep(Residency::Role::result, y);
  kernels::philox_uniform(exec, {}, 1, 2, y.flat());
  std::thread([&] {
    kernels::fetch(y);
    CHECK(y.data()[0] == 0);  // another thread's
    residency.enter();
    kernels::fetch(y);
    CHECK(y.data()[0] > 1);
  }).join();
}

TEST_CASE("a fault of the device is an error that names it, and no end", "[residency]") {
  const kernels::Target* target = opencl_target();
  if (target == nullptr) return;
  const kernels::Execution exec{target, 1};
  // A size that nothing else has, so that no memory is left over from it.
  const std::int64_t rows = 41, width = 1013;
  Tensor x({rows, width}), y({rows, width});
  for (float& v : x.flat()) v = 2;
  const std::vector<float> twice(static_cast<std::size_t>(rows), 2.0F);
  const auto scaled = [&] { kernels::scale_rows(exec, x, twice, y); };
  struct Restored {
    ~Restored() { copies.no_memory = copies.lost = false; }
  } restored;
  for (const bool kept : {false, true}) {
    CAPTURE(kept);
    std::optional<Residency> residency;
    if (kept) {
      residency.emplace(exec);
      residency->keep(Residency::Role::input, x);
      residency->keep(Residency::Role::result, y);
    }
    copies.no_memory = true;
    expect_error(ErrorCode::kernel, {"scale_rows", "opencl", "ALLOCATION_FAILURE"}, scaled);
    copies.no_memory = false;
    scaled();
    copies.lost = true;
    expect_error(ErrorCode::kernel, {"scale_rows", "opencl", "CL_OUT_OF_RESOURCES"}, scaled);
    if (kept) expect_error(ErrorCode::kernel, {"opencl", "OUT_OF_RESOURCES"}, [&] { kernels::fetch(y); });
    copies.lost = false;
    scaled();
    if (kept) residency->finish();
    CHECK(y.data()[0] == 4);
    CHECK(y.data()[rows * width - 1] == 4);
    for (float& v : y.flat()) v = 0;
  }
  // A whole training ends by the error; nothing aborts.
  const Dataset data = small_data(100);
  Model model = he_model("20-9-4");
  copies.lost = true;
  expect_error(ErrorCode::kernel, {"opencl", "CL_OUT_OF_RESOURCES"},
               [&] { (void)train(model, data, {.epochs = 1}, {.target = "opencl"}); });
}

TEST_CASE("on a CPU row nothing is kept", "[residency]") {
  kernels::Execution exec{&kernels::default_target(), 1};
  if (exec.target->gpu) return;
  Tensor y({2});
  Residency residency(exec);
  residency.keep(Residency::Role::result, ConstTensorView(y));
  kernels::fetch(ConstTensorView(y));
  residency.finish();
}
