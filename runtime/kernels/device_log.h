// What a run on a device copies and what it leaves to the host, for its report.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kindling::kernels {

/// Collects from its thread while it lives, as do those that began before it.
class DeviceLog {
 public:
  DeviceLog();
  DeviceLog(const DeviceLog&) = delete;
  DeviceLog& operator=(const DeviceLog&) = delete;
  ~DeviceLog();

  std::int64_t bytes_to_device = 0, bytes_to_host = 0;  ///< operands and results of kernels
  std::vector<std::string> host_steps;                  ///< each once, in the order of their first time

 private:
  DeviceLog* outer_;
};

/// The host does a part of the work, in words for a report: "QR factorization of every batch". Said where it is done.
void on_host(std::string_view step);
void count_to_device(std::int64_t bytes);
void count_to_host(std::int64_t bytes);

}  // namespace kindling::kernels
