// The kernels' threads, without kernels: every task once, on its own thread's run, from several callers and from tasks.
#include "kernels/worker_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "support/catch.h"

using kindling::kernels::WorkerPool;

namespace {

struct Counted {
  explicit Counted(int size) : times(static_cast<std::size_t>(size)) {}
  std::vector<std::atomic<int>> times;
  std::atomic<int> failing{-1};
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::chrono::microseconds pause{0};
};

constexpr int first = 5;

int count_task(void* context, int i, std::uint8_t* /*closure*/) {
  auto& counted = *static_cast<Counted*>(context);
  if (counted.pause.count() > 0) std::this_thread::sleep_for(counted.pause);
  ++counted.times[static_cast<std::size_t>(i - first)];
  const std::lock_guard lock(counted.mutex);
  counted.threads.insert(std::this_thread::get_id());
  return i - first == counted.failing ? 17 : 0;
}

int run(WorkerPool& pool, Counted& counted, int threads) {
  return pool.run(&counted, count_task, first, static_cast<int>(counted.times.size()), nullptr, threads);
}

bool each_once(const Counted& counted) {
  return std::all_of(counted.times.begin(), counted.times.end(), [](const auto& n) { return n == 1; });
}

}  // namespace

TEST_CASE("every task runs once, whatever the number of tasks and threads", "[worker_pool]") {
  WorkerPool pool;
  for (const int size : {1, 2, 3, 7, 64, 1000}) {
    for (const int threads : {1, 2, 3, 8, 1000}) {
      CAPTURE(size, threads);
      Counted counted(size);
      CHECK(run(pool, counted, threads) == 0);
      CHECK(each_once(counted));
    }
  }
}

TEST_CASE("workers take part, as many as asked for", "[worker_pool]") {
  WorkerPool pool;
  for (const int threads : {4, 2, 3}) {
    Counted counted(12);
    counted.pause = std::chrono::milliseconds(20);  // long enough for a worker to wake up
    run(pool, counted, threads);
    CHECK(counted.threads.size() == static_cast<std::size_t>(threads));
    // After a while workers sleep; the next loop wakes them.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

TEST_CASE("a failing task ends the loop with its status", "[worker_pool]") {
  WorkerPool pool;
  for (const int threads : {1, 2}) {
    Counted counted(100'000);
    counted.failing = 10;
    CHECK(run(pool, counted, threads) == 17);
    CHECK_FALSE(each_once(counted));
    counted.failing = -1;
    Counted next(50);
    CHECK(run(pool, next, threads) == 0);
    CHECK(each_once(next));
  }
}

TEST_CASE("many callers at once, more than there are places", "[worker_pool]") {
  WorkerPool pool;
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 7; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        Counted counted(1 + i % 9);
        if (run(pool, counted, 3) != 0 || !each_once(counted)) ++wrong;
      }
    });
  }
  for (std::thread& c : callers) c.join();
  CHECK(wrong == 0);
}

TEST_CASE("a task may run a loop itself", "[worker_pool]") {
  struct Nested {
    WorkerPool pool;
    std::atomic<int> wrong{0};
  } nested;
  const auto outer = [](void* context, int /*i*/, std::uint8_t* /*closure*/) {
    auto& n = *static_cast<Nested*>(context);
    Counted inner(10);
    if (run(n.pool, inner, 4) != 0 || !each_once(inner)) ++n.wrong;
    return 0;
  };
  for (int i = 0; i < 100; ++i) CHECK(nested.pool.run(&nested, outer, 0, 6, nullptr, 3) == 0);
  CHECK(nested.wrong == 0);
}
