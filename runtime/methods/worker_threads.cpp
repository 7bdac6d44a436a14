#include "methods/worker_threads.h"

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kernels/device_log.h"

namespace kindling {

void run_on_threads(std::size_t threads, const std::function<void()>& work) {
  std::int64_t to_device = 0, to_host = 0;
  std::vector<std::string> steps;
  std::mutex mutex;
  {
    std::vector<std::jthread> workers;
    for (std::size_t i = 1; i < threads; ++i) {
      workers.emplace_back([&] {
        const kernels::DeviceLog log;
        work();
        const std::lock_guard lock(mutex);
        to_device += log.bytes_to_device;
        to_host += log.bytes_to_host;
        steps.insert(steps.end(), log.host_steps.begin(), log.host_steps.end());
      });
    }
    work();
  }
  kernels::count_to_device(to_device);
  kernels::count_to_host(to_host);
  std::sort(steps.begin(), steps.end());  // the threads add theirs in any order
  for (const std::string& step : steps) kernels::on_host(step);
}

}  // namespace kindling
