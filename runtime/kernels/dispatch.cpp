#include "kernels/dispatch.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cmath>

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
