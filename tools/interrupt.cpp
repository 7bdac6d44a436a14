#include "tools/interrupt.h"

#include <kindling/error.h>
#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <thread>

namespace kindling::tools {

// A stop request takes locks and so may not be made in a signal handler: the signals are blocked in every thread, and
// one thread waits for them.
std::stop_token stop_on_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  bool any = false;
  for (const int signal : {SIGINT, SIGTERM}) {
    // What the parent ignores (nohup, a background job) stays ignored.
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) {
      sigaddset(&signals, signal);
      any = true;
    }
  }
  std::stop_source source;
  if (!any) return source.get_token();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals, source]() mutable {
    int signal = 0;
    if (sigwait(&signals, &signal) == 0) source.request_stop();
    if (sigwait(&signals, &signal) == 0) _exit(static_cast<int>(ErrorCode::interrupted));
  }).detach();
  return source.get_token();
}

}  // namespace kindling::tools
