#include "kernels/device_log.h"

#include <algorithm>

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
