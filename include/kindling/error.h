#pragma once

#include <stdexcept>
#include <string>

namespace kindling {

/// Why an operation failed. The numeric values are the exit codes of the `kindling` program.
enum class ErrorCode {
  usage = 2,         ///< an option or argument that makes no sense
  bad_input = 3,     ///< data, a model or a file whose content is wrong
  numerical = 4,     ///< a NaN, an infinity or a failure to converge
  file = 5,          ///< a file that cannot be read or written
  kernel = 6,        ///< a compiled kernel or a device reported a failure
  interrupted = 130  ///< stopped by the user
};

/// The only exception type that the library throws on purpose. The message says what was expected, what was
/// found, and where.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace kindling
