// The table of compiled kernels and the choice among their variants. Nothing outside runtime/kernels includes Halide.
#pragma once

#include <kindling/context.h>
#include <kindling/tensor.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "HalideRuntime.h"

namespace kindling::kernels {

/// A row of cmake/targets.cmake as this process sees it.
struct Target {
  std::string name;           ///< "avx2"
  std::string halide_target;  ///< "x86-64-linux-avx-avx2-..."
  bool gpu = false;
  bool runnable = false;  ///< can run on this machine, now
  std::string reason;     ///< why it can or cannot
  int index = 0;          ///< position in targets()
};

/// All compiled targets, in the order of preference of cmake/targets.cmake (last CPU row that runs is the default).
/// Probed once per process.
const std::vector<Target>& targets();
/// By name; throws Error{usage} for an unknown one and for one that cannot run here, with the reason.
const Target& require_target(std::string_view name);
/// The row for a kind of device: "cpu", the best CPU row that runs here, whatever KINDLING_TARGET says, or "opencl" or
/// "cuda", the row whose kernels such a device runs. Throws Error{usage} for another name, for a build without such a
/// row, and, with what is missing, where it cannot run.
const Target& device_target(std::string_view device);
/// KINDLING_TARGET if set, else the best CPU target that runs here. `why`, if given, gets the reason of the choice.
const Target& default_target(std::string* why = nullptr);
/// Names of all compiled kernels, sorted.
std::vector<std::string> kernel_names();
/// Halide's interface to the device of a GPU row; null for a CPU row.
const halide_device_interface_t* device_of(const Target& target);

/// Where and with how many threads kernels run.
struct Execution {
  const Target* target = nullptr;
  int threads = 1;
};
/// Resolves a Context: its target or the default; its thread count, or KINDLING_THREADS if set, or the number
/// of available cores. Throws Error{usage} for a target or a thread count that makes no sense.
Execution execution(const Context& context);

/// A Halide buffer over memory that the caller keeps alive during the call.
class Buffer {
 public:
  /// out_in_place: an output that may be one of the inputs, element for element. No other output overlaps anything.
  enum class Use { in, out, inout, out_in_place };
  template <class T>
  Buffer(Use use, T* data, std::initializer_list<std::int64_t> extents, std::initializer_list<std::int64_t> strides)
      : Buffer(use, const_cast<void*>(static_cast<const void*>(data)), halide_type_of<std::remove_const_t<T>>(),
               sizeof(T), extents, strides) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  halide_buffer_t* raw() { return &buffer_; }
  [[nodiscard]] Use use() const { return use_; }
  /// What keeps a kernel from taking this buffer; empty when nothing does.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  Buffer(Use use, void* data, halide_type_t type, std::size_t element_size, std::initializer_list<std::int64_t> extents,
         std::initializer_list<std::int64_t> strides);
  halide_buffer_t buffer_{};
  std::array<halide_dimension_t, 5> dims_{};
  Use use_;
  std::string problem_;
};

// Buffers in Halide's order: dimension 0 is the contiguous one, so a row-major (N x K) view becomes (K, N).
template <class T>
Buffer in(const BasicTensorView<T>& v) {
  if (v.rank() <= 1) return Buffer(Buffer::Use::in, v.data(), {v.size()}, {1});
  return Buffer(Buffer::Use::in, v.data(), {v.cols(), v.rows()}, {1, v.row_stride()});
}
template <class T>
Buffer in(std::span<T> v) {
  return Buffer(Buffer::Use::in, v.data(), {static_cast<std::int64_t>(v.size())}, {1});
}
inline Buffer out(const TensorView& v) {
  if (v.rank() <= 1) return Buffer(Buffer::Use::out, v.data(), {v.size()}, {1});
  return Buffer(Buffer::Use::out, v.data(), {v.cols(), v.rows()}, {1, v.row_stride()});
}
template <class T>
Buffer out(std::span<T> v) {
  return Buffer(Buffer::Use::out, v.data(), {static_cast<std::int64_t>(v.size())}, {1});
}
inline Buffer inout(const TensorView& v) {
  if (v.rank() <= 1) return Buffer(Buffer::Use::inout, v.data(), {v.size()}, {1});
  return Buffer(Buffer::Use::inout, v.data(), {v.cols(), v.rows()}, {1, v.row_stride()});
}
inline Buffer inout(std::span<float> v) {
  return Buffer(Buffer::Use::inout, v.data(), {static_cast<std::int64_t>(v.size())}, {1});
}

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
