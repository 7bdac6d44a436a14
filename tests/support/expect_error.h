// "This must throw kindling::Error with that code, and say these things."
#pragma once

#include <kindling/error.h>

#include <initializer_list>
#include <string>

#include "support/catch.h"

namespace kindling::test {

template <class F>
void expect_error(ErrorCode code, std::initializer_list<std::string> parts, F&& action) {
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
}

}  // namespace kindling::test
