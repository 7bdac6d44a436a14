// A few sleeping threads that share the rows of an elementwise pass, for peers that have no loop of their own. OpenMP
// would leave its workers spinning, which slows the BLAS library's own threads down.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace kindling::bench {

class RowWorkers {
 public:
  RowWorkers() = default;
  RowWorkers(const RowWorkers&) = delete;
  RowWorkers& operator=(const RowWorkers&) = delete;
  ~RowWorkers() { stop(); }

  void set_threads(int threads) {
    if (threads == threads_) return;
    stop();
    threads_ = threads;
    for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t, seen = round_.load()] { serve(t, seen); });
  }

  /// body(first row, last row) over rows x cols elements; in the calling thread alone where waking others costs more.
  void run(std::int64_t rows, std::int64_t cols, const std::function<void(std::int64_t, std::int64_t)>& body) {
    if (threads_ == 1 || rows * cols < worth_waking) return body(0, rows);
    body_ = &body;
    rows_ = rows;
    pending_ = threads_ - 1;
    ++round_;
    round_.notify_all();
    part(0);
    for (int left = pending_; left > 0; left = pending_) pending_.wait(left);
  }

 private:
  // 128 Ki elements are some 40 us of work for one core, a wake-up about 10.
  static constexpr std::int64_t worth_waking = 128 * 1024;

  void part(int t) const { (*body_)(rows_ * t / threads_, rows_ * (t + 1) / threads_); }
  void serve(int t, std::uint32_t seen) {
    for (;;) {
      round_.wait(seen);
      seen = round_.load();
      if (quit_) return;
      part(t);
      --pending_;
      pending_.notify_one();
    }
  }
  void stop() {
    quit_ = true;
    ++round_;
    round_.notify_all();
    workers_.clear();  // joins
    quit_ = false;
    threads_ = 1;
  }

  int threads_ = 1;
  std::int64_t rows_ = 0;
  const std::function<void(std::int64_t, std::int64_t)>* body_ = nullptr;
  std::atomic<std::uint32_t> round_{0};
  std::atomic<int> pending_{0};
  std::atomic<bool> quit_{false};
  std::vector<std::jthread> workers_;
};

}  // namespace kindling::bench
