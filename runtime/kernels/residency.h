// Arrays that stay in the memory of a device while one kernel after another works on them.
//
// Without a Residency every call on a GPU row copies its operands to the device and its results back. A Residency lives
// as long as a run (a training, a layer's campaign) does and is told which arrays the run uses again; these are copied
// in when a kernel first needs them and out when the host asks or the run ends. It serves every kernel that its thread
// calls on its target. On a CPU row it does nothing.
#pragma once

#include <kindling/tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "kernels/dispatch.h"

namespace kindling::kernels {

struct CallState;

class Residency {
 public:
  /// Serves the thread that makes it. Others may live there at the same time; an array belongs to the one that was told
  /// of it first.
  explicit Residency(const Execution& execution);
  Residency(const Residency&) = delete;
  Residency& operator=(const Residency&) = delete;
  /// Like finish(), except that a failure goes unheard: a run that ends by an exception has one already.
  ~Residency();

  /// For comparisons: whether those that begin from now on keep anything. Returns what was set before.
  static bool set_enabled(bool enabled);

  /// From now on serves the thread that calls this, for objects that may pass from one to another.
  void enter();

  /// What an array holds when the run begins, and what becomes of it when it ends.
  enum class Role {
    input,    ///< begins with what the host has, and does not go back
    scratch,  ///< begins with anything, and does not go back
    result    ///< begins with what the host has, and goes back
  };
  /// The array is resident from its first use on; until it is given up its memory must stay, and host code must not
  /// read what kernels have written (fetch() first) nor write it (changed() afterwards). Arrays that are resident
  /// already stay as they are; an empty one is nothing. Kernels may be given any part of it; what begins in its middle
  /// is copied within the device where the device wants it aligned.
  template <class T>
  void keep(Role role, std::span<T> array) {
    keep(role, array.data(), static_cast<std::int64_t>(array.size_bytes()));
  }
  void keep(Role role, ConstTensorView array) {
    if (array.size() > 0) keep(role, array.data(), ((array.rows() - 1) * array.row_stride() + array.cols()) * 4);
  }
  void keep(Role role, const Tensor& array) { keep(role, array.flat()); }

  /// Gives one array up; what the device has of it is lost.
  void drop(const Tensor& array) { drop(array.data()); }

  /// Copies the results back and gives up all arrays. Throws Error{kernel} that names the device's complaint.
  void finish();

 private:
  friend class Loans;
  friend void zero(const Execution& execution, std::span<float> array);
  friend void fetch_array(const void* data, std::int64_t bytes);
  friend void array_changed(const void* data);

  // Its memory as bytes, so that views of any type and shape fit it.
  struct Array {
    std::byte* begin = nullptr;
    std::int64_t bytes = 0;
    Role role = Role::scratch;
    halide_dimension_t extent{};
    halide_buffer_t buffer{};
  };

  // Those that serve the calling thread, in the order in which they began.
  static std::vector<Residency*> of_this_thread();
  [[nodiscard]] Array* find(const void* data);
  [[nodiscard]] std::string_view target() const { return target_->name; }
  void keep(Role role, const void* data, std::int64_t bytes);
  void drop(const void* data);
  void to_host(Array& array) const;
  void to_host(Array& array, std::int64_t first, std::int64_t bytes) const;
  void to_device(CallState& state, Array& array) const;
  static void release(Array& array);

  std::thread::id thread_;
  const Target* target_ = nullptr;
  const halide_device_interface_t* device_ = nullptr;  // null on a CPU row
  std::deque<Array> arrays_;
};

void fetch_array(const void* data, std::int64_t bytes);
void array_changed(const void* data);

/// The host is going to read an array, or a part of one: its copy becomes that of the device, if this thread keeps the
/// array on one. Throws Error{kernel}.
template <class T>
void fetch(std::span<T> array) {
  fetch_array(static_cast<const void*>(array.data()), static_cast<std::int64_t>(array.size_bytes()));
}
inline void fetch(ConstTensorView array) {
  if (array.size() > 0) fetch_array(array.data(), ((array.rows() - 1) * array.row_stride() + array.cols()) * 4);
}
inline void fetch(const Tensor& array) { fetch(array.flat()); }
/// The host has written an array, or a part of one that it had fetched as a whole.
template <class T>
void changed(std::span<T> array) {
  array_changed(static_cast<const void*>(array.data()));
}
inline void changed(ConstTensorView array) { array_changed(array.data()); }
inline void changed(const Tensor& array) { array_changed(array.data()); }

/// Writes zeros, on the device where the array is resident.
void zero(const Execution& execution, std::span<float> array);
/// Copies a matrix, on the device on a GPU row.
void copy_rows(const Execution& execution, ConstTensorView from, TensorView to);

/// The resident arrays that one call works on, for Kernel.
class Loans {
 public:
  Loans(const Execution& execution, CallState& state) : execution_(execution), state_(state) {}
  Loans(const Loans&) = delete;
  Loans& operator=(const Loans&) = delete;
  /// Gives back what an exception has left.
  ~Loans() { (void)give_back(false); }

  /// Points the buffer to the device's copy, where it lies in a resident array. Throws Error{kernel}.
  void take(Buffer& buffer);
  /// After the call: all buffers point to the host again. Returns Halide's status.
  int give_back(bool succeeded);
  [[nodiscard]] bool holds(const Buffer& buffer) const;

 private:
  struct Loan {
    Buffer* buffer = nullptr;
    Residency* owner = nullptr;
    Residency::Array* array = nullptr;
    std::int64_t first = 0, bytes = 0;  // of the array
    halide_dimension_t extent{};        // of both:
    halide_buffer_t window{}, copy{};   // a part of the array on the device, and a copy of it
    bool written = false;
  };
  void borrow_part(Loan& loan, bool needed);
  [[noreturn]] void fail(const Loan& loan, const char* what) const;

  const Execution& execution_;
  CallState& state_;
  std::deque<Loan> loans_;
};

}  // namespace kindling::kernels
