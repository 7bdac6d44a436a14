#include "kernels/target.h"

#include <fmt/format.h>
#if !defined(__wasm__)
#include <sched.h>
#endif

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "HalideRuntimeCuda.h"
#include "HalideRuntimeOpenCL.h"
#include "kernels/buffer.h"
#include "kernels/cpu_features.h"
#include "kernels/halide_hooks.h"
#include "kernels/kernel_table.h"

namespace kindling::kernels {
namespace {

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

Execution execution(const Context& context) {
  if (context.threads < 0) {
    throw Error(ErrorCode::usage, fmt::format("threads: expected 0 or more, found {}", context.threads));
  }
  return {context.target.empty() ? &default_target() : &require_target(context.target),
          context.threads == 0 ? default_threads() : context.threads};
}

}  // namespace kindling::kernels
