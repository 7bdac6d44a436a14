#include "methods/bench_data.h"

#include <malloc.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace kindling::bench {
namespace {

constexpr std::int64_t samples = 60'000;
constexpr std::int64_t features = 784;

std::string mnist_folder() {
  const char* folder = std::getenv("KINDLING_DATA");
  return folder == nullptr || *folder == '\0' ? "" : std::string(folder) + "/mnist";
}

Dataset random_bytes() {
  Dataset data;
  data.name = "random";
  data.classes = 10;
  data.train = {
      .count = samples, .features = features, .sample_shape = {1, 28, 28}, .bytes = {}, .floats = {}, .labels = {}};
  data.train.bytes.resize(static_cast<std::size_t>(samples * features));
  std::uint64_t state = 1;
  for (std::uint8_t& b : data.train.bytes) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    b = static_cast<std::uint8_t>(state >> 56U);
  }
  for (std::int64_t i = 0; i < samples; ++i)
    data.train.labels.push_back(static_cast<std::int32_t>((i * 7 + i / 13) % data.classes));
  data.mean.assign(features, 0.5F);
  data.inverse_std.assign(features, 3.4641F);  // of uniform numbers
  return data;
}

double status_mib(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::stod(line.substr(field.size() + 1)) / 1024;
  }
  throw std::runtime_error("/proc/self/status has no " + field);
}

}  // namespace

std::string bench_dataset_name() { return mnist_folder().empty() ? "random60000" : "mnist60000"; }

std::shared_ptr<const Dataset> bench_dataset() {
  static std::weak_ptr<const Dataset> current;
  std::shared_ptr<const Dataset> data = current.lock();
  if (!data) {
    const std::string folder = mnist_folder();
    data = std::make_shared<const Dataset>(folder.empty() ? random_bytes() : load_dataset(folder, {}, {}));
    if (data->train.count != samples || data->train.features != features || !data->train.eight_bit()) {
      throw std::runtime_error("'" + folder + "': expected 60000 samples of 784 bytes, found " +
                               std::to_string(data->train.count) + " of " + std::to_string(data->train.features) +
                               (data->train.eight_bit() ? " bytes" : " floats"));
    }
    current = data;
  }
  return data;
}

std::shared_ptr<const Dataset> first_samples(std::int64_t count) {
  const auto all = bench_dataset();
  auto part = std::make_shared<Dataset>();
  part->name = all->name;
  part->classes = all->classes;
  part->mean = all->mean;
  part->inverse_std = all->inverse_std;
  const Samples& from = all->train;
  part->train = {.count = count,
                 .features = from.features,
                 .sample_shape = from.sample_shape,
                 .bytes = {},
                 .floats = {},
                 .labels = {}};
  part->train.bytes.assign(from.bytes.begin(), from.bytes.begin() + count * from.features);
  part->train.labels.assign(from.labels.begin(), from.labels.begin() + count);
  return part;
}

void PeakMemory::start() {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // resets the high-water mark
  before_ = status_mib("VmRSS");
}

double PeakMemory::rise() const { return status_mib("VmHWM") - before_; }

}  // namespace kindling::bench
