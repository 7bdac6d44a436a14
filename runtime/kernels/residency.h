// Arrays that stay in the memory of a device while one kernel after another works on them.
//
// Without a Residency every call on a GPU row copies its operands to the device and its results back. A Residency lives
// as long as a run (a training, an evaluation) does and is told which arrays the run uses again; these are copied in
// when a kernel first needs them and out when the host asks or the run ends. On a CPU row it does nothing.
#pragma once

#include <kindling/tensor.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string_view>

#include "kernels/dispatch.h"

namespace kindling::kernels {

struct CallState;

class Residency {
 public:
  /// Kernels that get `execution` from now on find this object; one that `execution` had before is asked next. Both
  /// must outlive it.
  explicit Residency(Execution& execution);
  Residency(const Residency&) = delete;
  Residency& operator=(const Residency&) = delete;
  /// Like finish(), except that a failure goes unheard: a run that ends by an exception has one already.
  ~Residency();

  /// What an array holds when the run begins, and what becomes of it when it ends.
  enum class Role {
    input,    ///< begins with what the host has, and does not go back
    scratch,  ///< begins with anything, and does not go back
    result    ///< begins with what the host has, and goes back
  };
  /// The array is resident from its first use on; until it is given up, host code must not read what kernels have
  /// written (fetch() first) nor write it (changed() afterwards). Arrays that are resident already stay as they are; an
  /// empty one is nothing. A view of the array's first rows shares its memory; any other part of it is copied at each
  /// call.
  template <class T>
  void keep(Role role, std::span<T> array) {
    keep(role, array.data(), static_cast<std::int64_t>(array.size_bytes()));
  }
  void keep(Role role, ConstTensorView array) {
    if (array.size() > 0) keep(role, array.data(), ((array.rows() - 1) * array.row_stride() + array.cols()) * 4);
  }

  /// The host's copy of the array becomes that of the device. Throws Error{kernel}.
  template <class T>
  void fetch(std::span<T> array) {
    fetch(static_cast<const void*>(array.data()));
  }
  void fetch(ConstTensorView array) { fetch(static_cast<const void*>(array.data())); }
  /// The host has written the array, which it had fetched.
  template <class T>
  void changed(std::span<T> array) {
    changed(static_cast<const void*>(array.data()));
  }

  /// Copies the results back and gives up all arrays. Throws Error{kernel} that names the device's complaint.
  void finish();

  // For Kernel: before and after a call.
  void attach(CallState& state, Buffer& buffer);
  // False for a buffer that is not resident; `status` is Halide's.
  bool detach(CallState& state, Buffer& buffer, bool succeeded, int& status);

 private:
  // Its memory as bytes, so that views of any type and shape fit it.
  struct Array {
    std::byte* begin = nullptr;
    std::int64_t bytes = 0;
    Role role = Role::scratch;
    halide_dimension_t extent{};
    halide_buffer_t buffer{};
  };

  [[nodiscard]] std::string_view target() const { return execution_->target->name; }
  void keep(Role role, const void* data, std::int64_t bytes);
  void fetch(const void* data);
  void changed(const void* data);
  Array* find(const void* data);
  void to_host(Array& array);
  void to_device(CallState& state, Array& array);
  void release(Array& array);

  Execution* execution_;
  const halide_device_interface_t* device_ = nullptr;  // null on a CPU row
  Residency* outer_ = nullptr;
  std::deque<Array> arrays_;
};

}  // namespace kindling::kernels
