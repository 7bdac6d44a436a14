// Threads that work off a list of runs together.
#pragma once

#include <cstddef>
#include <functional>

namespace kindling {

/// Runs `work`, which must not throw, on `threads` threads, this one among them. What all of them do on a device or
/// leave to the host reaches this thread's DeviceLog.
void run_on_threads(std::size_t threads, const std::function<void()>& work);

}  // namespace kindling
