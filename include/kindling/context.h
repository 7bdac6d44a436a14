#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

namespace kindling {

/// One report of how far a long operation has come.
struct Progress {
  std::string stage;       ///< what is being done, e.g. "ibci layer 2/3"
  std::int64_t done = 0;   ///< steps finished
  std::int64_t total = 0;  ///< steps in all, 0 when unknown
  std::string detail;      ///< e.g. "loss 0.231, test error 2.4 %"
};

/// What every operation of the library needs to know about its surroundings.
struct Context {
  std::uint64_t seed = 0;  ///< all random numbers are a pure function of it
  int threads = 0;         ///< 0: KINDLING_THREADS, else one per available core; results do not depend on it
  std::string target;      ///< hardware target by name; empty: KINDLING_TARGET, else the best that runs here
  std::function<void(const Progress&)> progress;  ///< may be empty
  std::stop_token stop;                           ///< operations end with Error{interrupted} soon after a stop request

  void report(const Progress& p) const {
    if (progress) progress(p);
  }
  /// Throws Error{interrupted} when a stop was requested.
  void check_stop() const;
};

}  // namespace kindling
