// From C arguments to the wrappers' and from exceptions to status codes.
#pragma once

#include <fmt/format.h>
#include <kindling/activation.h>
#include <kindling/error.h>
#include <kindling/kernels/random.h>
#include <kindling/random.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <exception>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>

#include "kernels/dispatch.h"

namespace kindling::kernels::c_api {

/// Keeps the message for kindling_last_error().
kindling_status failed(kindling_status status, std::string_view message) noexcept;

/// Where a context says to run; NULL: the default.
Execution execution_of(const kindling_context* context);

inline Stream stream_of(const kindling_stream& s) {
  return {.seed = s.seed, .purpose = Purpose{s.purpose}, .unit = s.unit, .step = s.step};
}

/// Turns the arguments of one function into views; what is malformed becomes Error{usage} with function and argument.
class Arguments {
 public:
  explicit Arguments(std::string_view function) : function_(function) {}

  /// kindling_matrix and its kin.
  template <class M>
  auto matrix(std::string_view name, const M& m) const {
    using T = std::remove_pointer_t<decltype(m.data)>;
    check(name, m.data != nullptr, m.rows, m.cols);
    return BasicTensorView<T>(m.data, m.rows, m.cols, m.row_stride == 0 ? m.cols : m.row_stride);
  }
  /// kindling_vector and its kin.
  template <class V>
  auto vector(std::string_view name, const V& v) const {
    using T = std::remove_pointer_t<decltype(v.data)>;
    check(name, v.data != nullptr, v.size, 1);
    return std::span<T>(v.data, static_cast<std::size_t>(v.size));
  }
  [[nodiscard]] Activation activation(const kindling_activation& a) const;
  /// A pointer that a result goes to.
  template <class T>
  T& result(std::string_view name, T* pointer) const {
    if (pointer == nullptr) refuse(name, "is NULL");
    return *pointer;
  }

 private:
  void check(std::string_view name, bool has_memory, std::int64_t rows, std::int64_t cols) const;
  [[noreturn]] void refuse(std::string_view name, std::string_view what) const;

  std::string_view function_;
};

/// Runs `body(arguments)`; no exception leaves.
template <class Body>
kindling_status guarded(const char* function, const Body& body) noexcept {
  try {
    body(Arguments(function));
    return KINDLING_OK;
  } catch (const Error& error) {
    const bool kernel = error.code() == ErrorCode::kernel;
    return failed(kernel ? KINDLING_KERNEL : KINDLING_USAGE, error.what());
  } catch (const std::bad_alloc&) {
    return failed(KINDLING_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return failed(KINDLING_INTERNAL, error.what());
  } catch (...) {
    return failed(KINDLING_INTERNAL, "an exception of unknown type");
  }
}

/// Runs `body(execution, arguments)` where the context says.
template <class Body>
kindling_status run(const char* function, const kindling_context* context, const Body& body) noexcept {
  return guarded(function, [&](const Arguments& arguments) { body(execution_of(context), arguments); });
}

}  // namespace kindling::kernels::c_api
