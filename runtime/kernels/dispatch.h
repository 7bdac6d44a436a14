// Calls of compiled kernels. Nothing outside runtime/kernels includes Halide.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "HalideRuntime.h"
#include "kernels/buffer.h"
#include "kernels/target.h"

namespace kindling::kernels {

/// Names of all compiled kernels, sorted.
std::vector<std::string> kernel_names();

/// One kernel, all its variants. Before anything is computed every argument is checked: kind, type and rank against the
/// kernel's metadata (Error{kernel}); scalars are finite, extents and strides fit the kernels' 32-bit indices, buffers
/// with elements have memory, and no output overlaps another argument (Error{usage} with kernel and argument). A Halide
/// error becomes Error{kernel} that names kernel and target.
class Kernel {
 public:
  /// Throws Error{kernel} when no kernel of that name was compiled.
  explicit Kernel(std::string_view name);

  /// Arguments in the order of the generator: Buffers by in(), out(), inout(); scalars as int32_t, uint32_t or float.
  template <class... Args>
  void operator()(const Execution& execution, Args&&... args) const {
    std::array<Slot, sizeof...(Args)> slots{slot(args)...};
    call(execution, slots);
  }

 private:
  struct Slot {
    void* pointer;
    Buffer* buffer;  // null for a scalar
    halide_type_t type;
  };
  static Slot slot(Buffer& b) { return {b.raw(), &b, {}}; }
  template <class T>
  requires(std::is_same_v<T, std::int32_t> || std::is_same_v<T, std::uint32_t> || std::is_same_v<T, float>) static Slot
      slot(const T& scalar) {
    return {const_cast<T*>(&scalar), nullptr, halide_type_of<T>()};
  }
  void call(const Execution& execution, std::span<Slot> slots) const;
  static void check_value(std::string_view kernel, const halide_filter_argument_t& expected, const Slot& slot);
  static void check_overlap(std::string_view kernel, const halide_filter_metadata_t& metadata, std::span<Slot> slots);

  const void* row_;  // the kernel's row of the generated table
};

}  // namespace kindling::kernels
