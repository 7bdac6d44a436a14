#include "kernels/device_log.h"

#include <algorithm>
#include <mutex>
#include <thread>

namespace kindling::kernels {
namespace {

thread_local DeviceLog* innermost = nullptr;

}  // namespace

DeviceLog::DeviceLog() : outer_(innermost) { innermost = this; }

DeviceLog::~DeviceLog() {
  innermost = outer_;
  if (outer_ == nullptr) return;
  outer_->bytes_to_device += bytes_to_device;
  outer_->bytes_to_host += bytes_to_host;
  for (const std::string& step : host_steps) on_host(step);
}

void run_on_threads(std::size_t threads, const std::function<void()>& work) {
  std::int64_t to_device = 0, to_host = 0;
  std::vector<std::string> steps;
  std::mutex mutex;
  {
    std::vector<std::jthread> workers;
    for (std::size_t i = 1; i < threads; ++i) {
      workers.emplace_back([&] {
        const DeviceLog log;
        work();
        const std::lock_guard lock(mutex);
        to_device += log.bytes_to_device;
        to_host += log.bytes_to_host;
        steps.insert(steps.end(), log.host_steps.begin(), log.host_steps.end());
      });
    }
    work();
  }
  count_to_device(to_device);
  count_to_host(to_host);
  std::sort(steps.begin(), steps.end());  // the threads add theirs in any order
  for (const std::string& step : steps) on_host(step);
}

void on_host(std::string_view step) {
  if (innermost == nullptr) return;
  std::vector<std::string>& steps = innermost->host_steps;
  if (std::find(steps.begin(), steps.end(), step) == steps.end()) steps.emplace_back(step);
}

void count_to_device(std::int64_t bytes) {
  if (innermost != nullptr) innermost->bytes_to_device += bytes;
}

void count_to_host(std::int64_t bytes) {
  if (innermost != nullptr) innermost->bytes_to_host += bytes;
}

}  // namespace kindling::kernels
