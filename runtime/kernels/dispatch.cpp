#include "kernels/dispatch.h"

#include <fmt/format.h>
#if !defined(__wasm__)
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>

#include "HalideRuntimeCuda.h"
#include "HalideRuntimeOpenCL.h"
#include "kernels/cpu_features.h"
#include "kernels/device_log.h"
#include "kernels/halide_hooks.h"
#include "kernels/kernel_calls.h"
#include "kernels/kernel_table.h"
#include "kernels/overlap.h"
#include "kernels/residency.h"

namespace kindling::kernels {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t most_arguments = 32;  // of a kernel, its user context included
thread_local KernelTimes* kernel_times = nullptr;

#if defined(__wasm__)
const halide_device_interface_t* device_interface(std::string_view) { return nullptr; }
#else
const halide_device_interface_t* device_interface(std::string_view feature) {
  if (feature == "opencl") return halide_opencl_device_interface();
  if (feature == "cuda") return halide_cuda_device_interface();
  return nullptr;
}
#endif

// A device is there when it gives memory; the runtime opens the driver at run time, so its absence is an error code.
bool probe_device(const halide_device_interface_t* device, std::string& reason) {
  CallState state;
  float probe[16] = {};
  Buffer buffer(Buffer::Use::in, static_cast<float*>(probe), {16}, {1});
  if (halide_device_malloc(&state, buffer.raw(), device) != 0) {
    reason = state.error.empty() ? "the device gave no memory" : state.error;
    return false;
  }
  halide_device_free(&state, buffer.raw());
  return true;
}

Target probe(const TargetRow& row, int index) {
  Target target{std::string(row.name), std::string(row.halide_target), row.gpu, true, "", index};
  std::string_view rest = row.requires_features;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    const std::string_view feature = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    std::string why;
    const auto* device = device_interface(feature);
    const bool there = device != nullptr ? probe_device(device, why) : cpu_has(feature);
    if (!there) {
      target.runnable = false;
      target.reason = device != nullptr ? fmt::format("no {} device: {}", feature, why)
                                        : fmt::format("this processor has no {}", feature);
      return target;
    }
  }
  target.reason = row.gpu ? "a device answered" : fmt::format("this processor has {}", row.requires_features);
  return target;
}

int available_cores() {
#if !defined(__wasm__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// KINDLING_THREADS if set, else the cores.
int default_threads() {
  static const int cores = available_cores();
  const char* text = std::getenv("KINDLING_THREADS");
  if (text == nullptr || *text == '\0') return cores;
  int threads = 0;
  const char* end = text + std::strlen(text);
  const auto [rest, status] = std::from_chars(text, end, threads);
  if (status != std::errc() || rest != end || threads < 1) {
    throw Error(ErrorCode::usage, fmt::format("KINDLING_THREADS: expected a number of threads, found '{}'", text));
  }
  return threads;
}

const KernelRow* find_row(std::string_view kernel) {
  for (const KernelRow& row : kernel_rows())
    if (row.name == kernel) return &row;
  return nullptr;
}

// Calls so far, a counter per row of the table.
std::atomic<std::int64_t>& calls_of(const KernelRow& row) {
  static std::vector<std::atomic<std::int64_t>> calls(kernel_rows().size());
  return calls[static_cast<std::size_t>(&row - kernel_rows().data())];
}

// Copies results to the host and gives device memory back, whatever the kernel's fate was.
int settle(CallState& state, Buffer& buffer, bool succeeded) {
  halide_buffer_t* raw = buffer.raw();
  int status = 0;
  if (succeeded && raw->device_dirty()) {
    status = halide_copy_to_host(&state, raw);
    count_to_host(static_cast<std::int64_t>(raw->size_in_bytes()));
  }
  if (raw->device != 0) halide_device_free(&state, raw);
  return status;
}

// Operands that are resident stay on the device, others are copied there and back.
template <class Call>
int call_on_device(const Execution& execution, CallState& state, std::span<Buffer* const> buffers, const Call& call) {
  Loans loans(execution, state);
  for (Buffer* buffer : buffers) {
    loans.take(*buffer);
    if (!loans.holds(*buffer) && buffer->raw()->host_dirty())
      count_to_device(static_cast<std::int64_t>(buffer->raw()->size_in_bytes()));
  }
  int status = call();
  const bool succeeded = status == 0;
  for (Buffer* buffer : buffers) {
    if (loans.holds(*buffer)) continue;
    const int settled = settle(state, *buffer, succeeded && buffer->use() != Buffer::Use::in);
    if (status == 0) status = settled;
  }
  const int given_back = loans.give_back(succeeded);
  return status == 0 ? given_back : status;
}

}  // namespace

const std::vector<Target>& targets() {
  static const std::vector<Target> all = [] {
    install_halide_hooks();
    std::vector<Target> found;
    for (const TargetRow& row : target_rows()) found.push_back(probe(row, static_cast<int>(found.size())));
    return found;
  }();
  return all;
}

const Target& require_target(std::string_view name) {
  std::string known;
  for (const Target& target : targets()) {
    if (target.name == name) {
      if (!target.runnable) {
        throw Error(ErrorCode::usage, fmt::format("target '{}' cannot run here: {}", name, target.reason));
      }
      return target;
    }
    known += (known.empty() ? "" : ", ") + target.name;
  }
  throw Error(ErrorCode::usage, fmt::format("unknown target '{}': compiled are {}", name, known));
}

namespace {

const Target* best_cpu_target() {
  const Target* best = nullptr;
  for (const Target& target : targets()) {
    if (target.runnable && !target.gpu) best = &target;
  }
  return best;
}

}  // namespace

const Target& device_target(std::string_view device) {
  if (device == "cpu") {
    if (const Target* best = best_cpu_target()) return *best;
    throw Error(ErrorCode::usage, "device 'cpu': no compiled target runs on this processor");
  }
  const halide_device_interface_t* wanted = device_interface(device);
  if (wanted == nullptr) {
    throw Error(ErrorCode::usage, fmt::format("unknown device '{}': expected cpu, opencl or cuda", device));
  }
  std::string known;
  for (const Target& target : targets()) {
    known += (known.empty() ? "" : ", ") + target.name;
    if (device_of(target) != wanted) continue;
    if (target.runnable) return target;
    throw Error(ErrorCode::usage,
                fmt::format("device '{}' cannot be used here: no driver or no device was found ({}); target '{}' needs "
                            "it, and kindling targets lists what runs",
                            device, target.reason, target.name));
  }
  throw Error(ErrorCode::usage,
              fmt::format("device '{}': this build has no target for it, compiled are {}", device, known));
}

const Target& default_target(std::string* why) {
  if (const char* name = std::getenv("KINDLING_TARGET"); name != nullptr && *name != '\0') {
    if (why != nullptr) *why = "KINDLING_TARGET names it";
    return require_target(name);
  }
  const Target* best = best_cpu_target();
  if (best == nullptr) {
    throw Error(ErrorCode::usage,
                "no compiled target runs on this processor; name a device target with KINDLING_TARGET");
  }
  if (why != nullptr) *why = "the last CPU row that this processor can run";
  return *best;
}

const halide_device_interface_t* device_of(const Target& target) {
  if (!target.gpu) return nullptr;
  std::string_view features = target_rows()[static_cast<std::size_t>(target.index)].requires_features;
  return device_interface(features.substr(0, features.find(' ')));
}

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (const KernelRow& row : kernel_rows()) names.emplace_back(row.name);
  return names;
}

KernelTimes::KernelTimes() : outer_(kernel_times) { kernel_times = this; }
KernelTimes::~KernelTimes() { kernel_times = outer_; }

std::int64_t kernel_calls(std::string_view kernel) {
  const KernelRow* row = find_row(kernel);
  return row == nullptr ? 0 : calls_of(*row).load(std::memory_order_relaxed);
}

Execution execution(const Context& context) {
  if (context.threads < 0) {
    throw Error(ErrorCode::usage, fmt::format("threads: expected 0 or more, found {}", context.threads));
  }
  return {context.target.empty() ? &default_target() : &require_target(context.target),
          context.threads == 0 ? default_threads() : context.threads};
}

Buffer::Buffer(Use use, void* data, halide_type_t type, std::size_t element_size,
               std::initializer_list<std::int64_t> extents, std::initializer_list<std::int64_t> strides)
    : use_(use) {
  // A null host pointer would turn the call into a bounds query; an empty buffer is never read.
  alignas(64) static float nothing[16] = {};
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  const bool empty = std::find(extents.begin(), extents.end(), 0) != extents.end();
  std::size_t i = 0;
  std::int64_t last = 0;
  for (const std::int64_t extent : extents) {
    const std::int64_t stride = strides.begin()[i];
    if (extent < 0 || extent > most || stride < 0 || stride > most) {
      problem_ = fmt::format("extents and strides lie in 0..2^31-1, found extent {} and stride {} in dimension {}",
                             extent, stride, i);
      return;
    }
    if (extent > 0) last += std::min((extent - 1) * stride, std::int64_t{1} << 50);
    dims_[i] = halide_dimension_t(0, static_cast<std::int32_t>(extent), static_cast<std::int32_t>(stride));
    ++i;
  }
  const std::int64_t bytes = (last + 1) * static_cast<std::int64_t>(element_size);
  if (!empty && bytes > most) {
    problem_ = fmt::format("a buffer spans less than 2^31 bytes, found {}; use smaller batches", bytes);
  } else if (!empty && data == nullptr) {
    problem_ = "it has elements but no memory";
  }
  buffer_.host = static_cast<std::uint8_t*>(data != nullptr ? data : static_cast<void*>(nothing));
  buffer_.type = type;
  buffer_.dimensions = static_cast<std::int32_t>(i);
  buffer_.dim = dims_.data();
  if (use == Use::in || use == Use::inout) buffer_.set_host_dirty();
}

void Kernel::check_value(std::string_view kernel, const halide_filter_argument_t& expected, const Slot& slot) {
  const auto refuse = [&](std::string_view what) {
    throw Error(ErrorCode::usage, fmt::format("{}: argument '{}': {}", kernel, expected.name, what));
  };
  if (slot.buffer != nullptr && !slot.buffer->problem().empty()) refuse(slot.buffer->problem());
  if (slot.buffer == nullptr && slot.type == halide_type_of<float>()) {
    const float value = *static_cast<const float*>(slot.pointer);
    if (!std::isfinite(value)) refuse(fmt::format("expected a finite number, found {}", value));
  }
}

void Kernel::check_overlap(std::string_view kernel, const halide_filter_metadata_t& metadata, std::span<Slot> slots) {
  std::array<MemoryRange, most_arguments> ranges;
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (slots[i].buffer != nullptr) ranges[i] = MemoryRange(*slots[i].buffer->raw());
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].buffer == nullptr || slots[i].buffer->use() == Buffer::Use::in) continue;
    for (std::size_t j = 0; j < slots.size(); ++j) {
      if (slots[j].buffer == nullptr || j == i || apart(ranges[i], ranges[j])) continue;
      const bool input = slots[j].buffer->use() == Buffer::Use::in;
      if (!input && j < i) continue;  // this pair has been seen
      const Memory output(*slots[i].buffer->raw()), other(*slots[j].buffer->raw());
      if (input && slots[i].buffer->use() == Buffer::Use::out_in_place && output == other) continue;
      if (overlap(output, other)) {
        throw Error(ErrorCode::usage, fmt::format("{}: argument '{}' overlaps '{}', which it must not", kernel,
                                                  metadata.arguments[i + 1].name, metadata.arguments[j + 1].name));
      }
    }
  }
}

Kernel::Kernel(std::string_view name) : row_(find_row(name)) {
  if (row_ == nullptr)
    throw Error(ErrorCode::kernel, fmt::format("no kernel '{}' was compiled into this program", name));
}

void Kernel::call(const Execution& execution, std::span<Slot> slots) const {
  const auto& row = *static_cast<const KernelRow*>(row_);
  if (execution.target == nullptr)
    throw Error(ErrorCode::usage, fmt::format("kernel {}: no target was chosen", row.name));
  const KernelVariant& variant = row.variants[execution.target->index];
  const halide_filter_metadata_t& metadata = *variant.metadata();
  const auto fail = [&](std::string_view what) {
    throw Error(ErrorCode::kernel, fmt::format("kernel {} on {}: {}", row.name, execution.target->name, what));
  };
  // The first argument is the user context.
  if (metadata.num_arguments != static_cast<int>(slots.size()) + 1) {
    fail(fmt::format("expected {} arguments, found {}", metadata.num_arguments - 1, slots.size()));
  }
  CallState state;
  state.threads = execution.threads;
  void* user_context = &state;
  std::array<void*, most_arguments> arguments;
  if (slots.size() + 1 > arguments.size()) fail("too many arguments");
  arguments[0] = static_cast<void*>(&user_context);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const halide_filter_argument_t& expected = metadata.arguments[i + 1];
    check_value(row.name, expected, slots[i]);
    const bool scalar = expected.kind == halide_argument_kind_input_scalar;
    if (scalar != (slots[i].buffer == nullptr) || (scalar && !(expected.type == slots[i].type)) ||
        (!scalar && expected.dimensions != slots[i].buffer->raw()->dimensions)) {
      fail(fmt::format("argument {} ('{}') has the wrong kind, type or rank", i, expected.name));
    }
    arguments[i + 1] = slots[i].pointer;
  }
  check_overlap(row.name, metadata, slots);
  calls_of(row).fetch_add(1, std::memory_order_relaxed);
  int status = 0;
  const auto start = kernel_times == nullptr ? Clock::time_point{} : Clock::now();
  if (!execution.target->gpu) {
    status = variant.call(arguments.data());
  } else {
    std::vector<Buffer*> buffers;
    for (const Slot& slot : slots)
      if (slot.buffer != nullptr) buffers.push_back(slot.buffer);
    try {
      status = call_on_device(execution, state, buffers, [&] { return variant.call(arguments.data()); });
    } catch (const Error& error) {
      fail(error.what());
    }
  }
  if (kernel_times != nullptr)
    kernel_times->seconds[std::string(row.name)] += std::chrono::duration<double>(Clock::now() - start).count();
  if (status != 0) fail(state.error.empty() ? fmt::format("status {}", status) : state.error);
}

}  // namespace kindling::kernels
