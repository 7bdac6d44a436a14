// Threads for the kernels' parallel loops.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "HalideRuntime.h"

namespace kindling::kernels {

/// Workers that split a loop with the thread that calls it. A loop is cut into as many runs of neighbouring tasks as
/// threads; each thread has a run of its own, the same one in every loop, so that what one kernel left in a core's
/// cache the next one finds there, and then helps with the others'. A worker that has nothing to do watches for the
/// next loop for a moment before it sleeps: waking it would take longer than many kernels run.
///
/// Several threads may run loops at once, and a task may run a loop itself.
class WorkerPool {
 public:
  /// The process's pool, whose threads are started as they are asked for.
  static WorkerPool& shared();
  WorkerPool() = default;
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  ~WorkerPool();

  /// task(user_context, i, closure) for first <= i < first + count, on at most `threads` threads, this one among them.
  /// Returns 0, or what one of the tasks returned that failed; after that no more are begun.
  int run(void* user_context, halide_task_t task, int first, int count, std::uint8_t* closure, int threads);

 private:
  static constexpr int most_threads = 256;
  struct alignas(64) Run {
    std::atomic<int> next{0};
    int end = 0;
  };
  struct alignas(64) Loop {
    std::atomic<int> taken{0};      // by a caller; RISC-V compilers have no exchange of bytes
    std::atomic<bool> open{false};  // to workers
    std::atomic<int> inside{0};     // workers that may look at what follows
    std::atomic<int> status{0};
    void* user_context = nullptr;
    halide_task_t task = nullptr;
    std::uint8_t* closure = nullptr;
    int runs_used = 0;
    std::array<Run, most_threads> runs;
  };

  static void work(Loop& loop, int own);
  Loop* free_loop();
  void start_workers(int count);
  void serve(int worker);
  void await_call(std::uint32_t seen) const;

  std::array<Loop, 4> loops_;
  std::atomic<std::uint32_t> calls_{0};  // changes with every loop that opens
  std::atomic<bool> stop_{false};
  std::atomic<int> started_{0};
  std::mutex starting_;
  std::vector<std::thread> workers_;
};

}  // namespace kindling::kernels
