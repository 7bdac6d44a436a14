// "This must throw kindling::Error with that code, and say these things."
#pragma once

#include <kindling/error.h>

#include <initializer_list>
#include <string>

#include "support/catch.h"

namespace kindling::test {

template <class F>
void expect_error([[maybe_unused]] ErrorCode code, [[maybe_unused]] std::initializer_list<std::string> parts,
                  [[maybe_unused]] F&& action) {
#if !defined(__wasm__)  // see catch.h
  try {
    action();
  } catch (const Error& error) {
    INFO("message: " << error.what());
    CHECK(static_cast<int>(error.code()) == static_cast<int>(code));
    for (const std::string& part : parts) {
      INFO("expected in the message: " << part);
      CHECK(std::string(error.what()).find(part) != std::string::npos);
    }
    return;
  }
  FAIL_CHECK("no kindling::Error was thrown");
#endif
}

}  // namespace kindling::test
