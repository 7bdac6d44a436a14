// Counts what is copied to and from an OpenCL device, and feigns its faults, at the functions that the Halide runtime
// loads.
#pragma once

#include <atomic>
#include <cstdint>
#include <iostream>
#include <string_view>
#include <type_traits>

#include "HalideRuntime.h"
#include "kernels/dispatch.h"

namespace kindling::test {

struct OpenClCopies {
  std::atomic<std::int64_t> in{0}, out{0};
  bool no_memory = false;  // every allocation fails
  bool lost = false;       // every launch and every copy fails

  void reset() { in = out = 0; }

  using Transfer = std::int32_t (*)(void*, void*, std::uint32_t, std::size_t, std::size_t, void*, std::uint32_t,
                                    const void*, void*);
  using Create = void* (*)(void*, std::uint64_t, std::size_t, void*, std::int32_t*);
  using Launch = std::int32_t (*)(void*, void*, std::uint32_t, const std::size_t*, const std::size_t*,
                                  const std::size_t*, std::uint32_t, const void*, void*);
  static constexpr std::int32_t allocation_failure = -4, out_of_resources = -5;

  Transfer real_write = nullptr, real_read = nullptr;
  Create real_create = nullptr;
  Launch real_launch = nullptr;
  halide_get_library_symbol_t real_symbol = nullptr;
};
inline OpenClCopies copies;

// Stands for clEnqueueWriteBuffer and clEnqueueReadBuffer.
template <auto count, auto real>
std::int32_t counted_transfer(void* queue, void* memory, std::uint32_t blocking, std::size_t offset, std::size_t bytes,
                              void* data, std::uint32_t waits, const void* wait_list, void* event) {
  copies.*count += static_cast<std::int64_t>(bytes);
  if (copies.lost) return OpenClCopies::out_of_resources;
  return (copies.*real)(queue, memory, blocking, offset, bytes, data, waits, wait_list, event);
}
inline void* failing_create(void* context, std::uint64_t flags, std::size_t bytes, void* host, std::int32_t* error) {
  if (!copies.no_memory) return copies.real_create(context, flags, bytes, host, error);
  *error = OpenClCopies::allocation_failure;
  return nullptr;
}
inline std::int32_t failing_launch(void* queue, void* kernel, std::uint32_t dimensions, const std::size_t* offset,
                                   const std::size_t* global, const std::size_t* local, std::uint32_t waits,
                                   const void* wait_list, void* event) {
  if (copies.lost) return OpenClCopies::out_of_resources;
  return copies.real_launch(queue, kernel, dimensions, offset, global, local, waits, wait_list, event);
}
inline void* counting_symbol(void* library, const char* name) {
  void* symbol = copies.real_symbol(library, name);
  const auto replace = [&](std::string_view replaced, auto& real, auto* stand_in) {
    if (symbol == nullptr || name != replaced) return false;
    real = reinterpret_cast<std::remove_reference_t<decltype(real)>>(symbol);
    symbol = reinterpret_cast<void*>(stand_in);
    return true;
  };
  using C = OpenClCopies;
  replace("clEnqueueWriteBuffer", copies.real_write, &counted_transfer<&C::in, &C::real_write>) ||
      replace("clEnqueueReadBuffer", copies.real_read, &counted_transfer<&C::out, &C::real_read>) ||
      replace("clCreateBuffer", copies.real_create, &failing_create) ||
      replace("clEnqueueNDRangeKernel", copies.real_launch, &failing_launch);
  return symbol;
}
// Before anything asks the runtime for a device.
inline const bool copies_are_counted = [] {
  copies.real_symbol = halide_set_custom_get_library_symbol(counting_symbol);
  return true;
}();

/// The OpenCL row, or, with a word about it, null where it cannot run.
inline const kernels::Target* opencl_target() {
  for (const kernels::Target& t : kernels::targets())
    if (t.name == "opencl" && t.runnable && copies_are_counted) return &t;
  std::cout << "skipped: no OpenCL device\n";
  return nullptr;
}

}  // namespace kindling::test
