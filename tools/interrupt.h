#pragma once

#include <stop_token>

namespace kindling::tools {

/// From now on the first SIGINT or SIGTERM requests a stop of the token, and the second ends the process at once with
/// exit code 130. To be called once, before any other thread is started.
std::stop_token stop_on_signals();

}  // namespace kindling::tools
