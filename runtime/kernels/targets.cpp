#include <dlfcn.h>
#include <kindling/targets.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string_view>

#include "HalideRuntime.h"
#include "kernels/dispatch.h"
#include "kernels/halide_hooks.h"

// Halide's runtime defines these without declaring them in a header; the OpenCL types are opaque pointers.
extern "C" {
int halide_acquire_cl_context(void* user_context, void** context, void** queue, bool create);
int halide_release_cl_context(void* user_context);
int halide_cuda_acquire_context(void* user_context, void** context, bool create);
int halide_cuda_release_context(void* user_context);
}

namespace kindling {
namespace {

// Trims the padding that drivers put around names.
std::string trimmed(std::string text) {
  text.resize(std::min(text.size(), text.find('\0')));
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string processor_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line;
  while (std::getline(cpuinfo, line)) {
    if (line.starts_with("model name") && line.find(':') != std::string::npos)
      return trimmed(line.substr(line.find(':') + 1));
  }
  return "";
}

// The drivers are asked through the libraries that Halide's runtime has opened by now, so that the program links none.
template <class Function>
Function driver_function(std::initializer_list<const char*> libraries, const char* name) {
  for (const char* library : libraries) {
    if (void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD)) {
      void* function = dlsym(handle, name);
      dlclose(handle);
      if (function != nullptr) return reinterpret_cast<Function>(function);
    }
  }
  return nullptr;
}

// The name of the device that Halide's OpenCL context stands for.
std::string opencl_device_name() {
  constexpr std::uint32_t context_devices = 0x1081;
  constexpr std::uint32_t device_name = 0x102B;
  using Query = std::int32_t (*)(void*, std::uint32_t, std::size_t, void*, std::size_t*);
  const auto libraries = {"libOpenCL.so", "libOpenCL.so.1"};
  const auto context_info = driver_function<Query>(libraries, "clGetContextInfo");
  const auto device_info = driver_function<Query>(libraries, "clGetDeviceInfo");
  if (context_info == nullptr || device_info == nullptr) return "";
  kernels::CallState state;
  void* context = nullptr;
  void* queue = nullptr;
  std::string name(256, '\0');
  if (halide_acquire_cl_context(&state, &context, &queue, true) != 0) return "";
  void* devices[16] = {};
  const bool known = context_info(context, context_devices, sizeof(devices), devices, nullptr) == 0 &&
                     devices[0] != nullptr &&
                     device_info(devices[0], device_name, name.size(), name.data(), nullptr) == 0;
  halide_release_cl_context(&state);
  return known ? trimmed(name) : "";
}

// The name of the device that Halide's CUDA context stands for.
std::string cuda_device_name() {
  const auto libraries = {"libcuda.so", "libcuda.so.1"};
  const auto push = driver_function<int (*)(void*)>(libraries, "cuCtxPushCurrent_v2");
  const auto pop = driver_function<int (*)(void**)>(libraries, "cuCtxPopCurrent_v2");
  const auto get_device = driver_function<int (*)(int*)>(libraries, "cuCtxGetDevice");
  const auto get_name = driver_function<int (*)(char*, int, int)>(libraries, "cuDeviceGetName");
  if (push == nullptr || pop == nullptr || get_device == nullptr || get_name == nullptr) return "";
  kernels::CallState state;
  void* context = nullptr;
  std::string name(256, '\0');
  if (halide_cuda_acquire_context(&state, &context, true) != 0) return "";
  bool known = false;
  if (push(context) == 0) {
    int device = 0;
    known = get_device(&device) == 0 && get_name(name.data(), static_cast<int>(name.size()), device) == 0;
    pop(&context);
  }
  halide_cuda_release_context(&state);
  return known ? trimmed(name) : "";
}

std::string device_name(const kernels::Target& target) {
  if (!target.runnable) return "";
  if (!target.gpu) return processor_name();
  if (target.halide_target.find("-opencl") != std::string::npos) return opencl_device_name();
  if (target.halide_target.find("-cuda") != std::string::npos) return cuda_device_name();
  return "";
}

}  // namespace

std::vector<TargetInfo> list_targets(const Context& context) {
  std::string why = "asked for by name";
  const kernels::Target& choice =
      context.target.empty() ? kernels::default_target(&why) : kernels::require_target(context.target);
  const auto kernel_count = static_cast<int>(kernels::kernel_names().size());
  std::vector<TargetInfo> list;
  for (const kernels::Target& target : kernels::targets()) {
    const bool chosen = target.index == choice.index;
    list.push_back({.name = target.name,
                    .halide_target = target.halide_target,
                    .gpu = target.gpu,
                    .kernels = kernel_count,
                    .runs_here = target.runnable,
                    .reason = target.reason,
                    .device = device_name(target),
                    .chosen = chosen,
                    .chosen_because = chosen ? why : ""});
  }
  return list;
}

std::string target_for_device(std::string_view device) { return kernels::device_target(device).name; }

std::string version() { return KINDLING_VERSION; }

}  // namespace kindling
