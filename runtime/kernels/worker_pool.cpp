#include "kernels/worker_pool.h"

#include <algorithm>
#include <chrono>
#include <system_error>

namespace kindling::kernels {
namespace {

// Measured on training steps, between whose kernels some microseconds of serial work lie.
constexpr std::chrono::microseconds watch_time{100};

// Some hundred cycles in which the core's other hardware thread has it to itself.
void pause_briefly() {
  for (int i = 0; i < 8; ++i) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
}

}  // namespace

WorkerPool& WorkerPool::shared() {
  static WorkerPool pool;
  return pool;
}

WorkerPool::~WorkerPool() {
  stop_ = true;
  ++calls_;
  calls_.notify_all();
  for (std::thread& t : workers_) t.join();
}

int WorkerPool::run(void* user_context, halide_task_t task, int first, int count, std::uint8_t* closure, int threads) {
  const int runs = std::min({threads, count, most_threads});
  Loop* loop = runs > 1 && !stop_ ? free_loop() : nullptr;
  if (loop == nullptr) {
    int status = 0;
    for (int i = first; i < first + count && status == 0; ++i) status = halide_do_task(user_context, task, i, closure);
    return status;
  }
  start_workers(runs - 1);
  loop->user_context = user_context;
  loop->task = task;
  loop->closure = closure;
  loop->status = 0;
  loop->runs_used = runs;
  for (int r = 0; r < runs; ++r) {
    const auto edge = [&](int at) { return first + static_cast<int>(std::int64_t{count} * at / runs); };
    loop->runs[static_cast<std::size_t>(r)].next = edge(r);
    loop->runs[static_cast<std::size_t>(r)].end = edge(r + 1);
  }
  loop->open = true;
  ++calls_;
  calls_.notify_all();
  work(*loop, 0);
  // A worker counts itself in before it looks whether the loop is open, and both are in one order for all threads: who
  // is not counted here will not come in.
  loop->open = false;
  for (int waited = 1; loop->inside != 0; ++waited) {
    pause_briefly();
    if (waited % 64 == 0) std::this_thread::yield();  // there may be fewer cores than threads
  }
  const int status = loop->status;
  loop->taken = 0;
  return status;
}

WorkerPool::Loop* WorkerPool::free_loop() {
  for (Loop& loop : loops_)
    if (loop.taken.exchange(1) == 0) return &loop;
  return nullptr;
}

void WorkerPool::start_workers(int count) {
  if (started_ >= count) return;
  const std::lock_guard lock(starting_);
  try {
    while (started_ < count) {
      workers_.emplace_back([this, worker = started_ + 1] { serve(worker); });
      ++started_;
    }
  } catch (const std::system_error&) {
    // The system has no more threads: those that are there do it all.
  }
}

void WorkerPool::work(Loop& loop, int own) {
  for (int r = 0; r < loop.runs_used; ++r) {
    Run& run = loop.runs[static_cast<std::size_t>((own + r) % loop.runs_used)];
    while (loop.status == 0 && run.next.load(std::memory_order_relaxed) < run.end) {
      const int i = run.next.fetch_add(1, std::memory_order_relaxed);
      if (i >= run.end) break;
      const int status = halide_do_task(loop.user_context, loop.task, i, loop.closure);
      int none = 0;
      if (status != 0) loop.status.compare_exchange_strong(none, status);
    }
  }
}

void WorkerPool::serve(int worker) {
  while (!stop_) {
    const std::uint32_t seen = calls_;
    for (Loop& loop : loops_) {
      if (!loop.open) continue;
      ++loop.inside;
      if (loop.open && worker < loop.runs_used) work(loop, worker);
      --loop.inside;
    }
    await_call(seen);
  }
}

void WorkerPool::await_call(std::uint32_t seen) const {
  const auto end = std::chrono::steady_clock::now() + watch_time;
  do {
    for (int i = 0; i < 16; ++i) {
      if (calls_ != seen) return;
      pause_briefly();
    }
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < end);
  calls_.wait(seen);
}

}  // namespace kindling::kernels
