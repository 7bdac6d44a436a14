// What a run on a device copies to and fro, counted at the OpenCL functions that the Halide runtime loads, and that it
// computes the same as calls which copy everything.
#include "kernels/residency.h"

#include <kindling/initialize.h>
#include <kindling/train.h>

#include <atomic>
#include <cstring>
#include <iostream>
#include <string_view>

#include "HalideRuntime.h"
#include "kernels/dense.h"
#include "nn/batches.h"
#include "nn/trainer.h"
#include "support/catch.h"
#include "support/expect_error.h"
#include "support/small_data.h"

using namespace kindling;
using namespace kindling::test;
using kernels::Residency;

namespace {

std::atomic<std::int64_t> bytes_in{0}, bytes_out{0};

using Transfer = std::int32_t (*)(void*, void*, std::uint32_t, std::size_t, std::size_t, void*, std::uint32_t,
                                  const void*, void*);
Transfer real_write = nullptr, real_read = nullptr;
halide_get_library_symbol_t real_symbol = nullptr;

std::int32_t counted_write(void* queue, void* memory, std::uint32_t blocking, std::size_t offset, std::size_t bytes,
                           void* data, std::uint32_t waits, const void* wait_list, void* event) {
  bytes_in += static_cast<std::int64_t>(bytes);
  return real_write(queue, memory, blocking, offset, bytes, data, waits, wait_list, event);
}
std::int32_t counted_read(void* queue, void* memory, std::uint32_t blocking, std::size_t offset, std::size_t bytes,
                          void* data, std::uint32_t waits, const void* wait_list, void* event) {
  bytes_out += static_cast<std::int64_t>(bytes);
  return real_read(queue, memory, blocking, offset, bytes, data, waits, wait_list, event);
}
void* counting_symbol(void* library, const char* name) {
  void* symbol = real_symbol(library, name);
  if (symbol != nullptr && std::string_view(name) == "clEnqueueWriteBuffer") {
    real_write = reinterpret_cast<Transfer>(symbol);
    return reinterpret_cast<void*>(counted_write);
  }
  if (symbol != nullptr && std::string_view(name) == "clEnqueueReadBuffer") {
    real_read = reinterpret_cast<Transfer>(symbol);
    return reinterpret_cast<void*>(counted_read);
  }
  return symbol;
}
// Before anything asks the runtime for a device.
[[maybe_unused]] const bool counting = [] {
  real_symbol = halide_set_custom_get_library_symbol(counting_symbol);
  return true;
}();

const kernels::Target* opencl() {
  for (const kernels::Target& t : kernels::targets())
    if (t.name == "opencl" && t.runnable) return &t;
  std::cout << "skipped: no OpenCL device\n";
  return nullptr;
}

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
  if (opencl() == nullptr) return;
  const Dataset data = small_data(400);
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::momentum, OptimizerKind::adam}) {
    CAPTURE(to_string(kind));
    const TrainOptions options{.epochs = 3, .batch = 50, .optimizer = {.kind = kind, .learning_rate = 0.01}};
    const Context context{.seed = 5, .target = "opencl"};
    Model copied = he_model("20-37-33-4"), resident = he_model("20-37-33-4");
    train_by_copies(copied, data, options, context);
    bytes_in = bytes_out = 0;
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
    CHECK(bytes_in <= once + steps * 50 * 8 + evaluated * (20 * 4 + 4) + 4096);
    CHECK(bytes_in >= parameter_bytes(resident) + 400 * 20 * 4 + steps * 50 * 8);
    // Back: parameters once, losses and predictions of each step and evaluation.
    CHECK(bytes_out <= parameter_bytes(resident) + (steps * 50 + evaluated) * 8 + 1024);
    CHECK(bytes_out >= parameter_bytes(resident));
  }
}

TEST_CASE("a convolutional network trains alike with resident arrays", "[residency]") {
  if (opencl() == nullptr) return;
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
  if (opencl() == nullptr) return;
  kernels::Execution exec{opencl(), 1};
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
    residency.fetch(ConstTensorView(y));
    CHECK(y.data()[0] == 7);
    x.flat()[0] = 5;
    residency.changed(x.flat());
    forward(0, 2);
    // Rows that are not the first ones are copied, and what the device had of the others stays.
    x.flat()[9] = 0;
    residency.changed(x.flat());
    forward(3, 1);
  }
  CHECK(exec.residency == nullptr);
  CHECK(y.data()[0] == 10);
  CHECK(y.data()[4] == 7);
  CHECK(y.data()[6] == 5);
}

TEST_CASE("on a CPU row nothing is kept", "[residency]") {
  kernels::Execution exec{&kernels::default_target(), 1};
  if (exec.target->gpu) return;
  Tensor y({2});
  Residency residency(exec);
  residency.keep(Residency::Role::result, ConstTensorView(y));
  CHECK(exec.residency == nullptr);
  residency.fetch(ConstTensorView(y));
  residency.finish();
}
