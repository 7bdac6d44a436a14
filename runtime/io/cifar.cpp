#include "io/cifar.h"

#include <fmt/format.h>
#include <kindling/error.h>

#include <vector>

#include "io/byte_source.h"

namespace kindling::io {
namespace {

constexpr std::int64_t pixels = std::int64_t{3} * 32 * 32;
constexpr std::int64_t record_bytes = pixels + 1;

void append_batch(const std::filesystem::path& path, Samples& split) {
  const auto source = open_file(path);
  const auto bytes = static_cast<std::int64_t>(source->size().value_or(0));
  if (bytes == 0)
    throw Error(ErrorCode::bad_input, fmt::format("'{}': zero samples, the file is empty", path.string()));
  if (bytes % record_bytes != 0) {
    throw Error(
        ErrorCode::bad_input,
        fmt::format(
            "'{}': a multiple of {} bytes (a label and {} pixels) expected, found {} bytes, {} too many for {} records",
            path.string(), record_bytes, pixels, bytes, bytes % record_bytes, bytes / record_bytes));
  }
  std::vector<std::byte> record(record_bytes);
  for (std::int64_t i = 0; i < bytes / record_bytes; ++i) {
    if (const std::size_t got = source->read(record); got < record.size()) {
      throw Error(ErrorCode::bad_input, fmt::format("'{}': record {} of {} bytes expected, found {} bytes",
                                                    path.string(), i, record_bytes, got));
    }
    const int label = std::to_integer<int>(record[0]);
    if (label > 9) {
      throw Error(ErrorCode::bad_input,
                  fmt::format("'{}': label {} is {}; CIFAR-10 has the classes 0 to 9", path.string(), i, label));
    }
    split.labels.push_back(label);
    const auto* first = reinterpret_cast<const std::uint8_t*>(record.data() + 1);
    split.bytes.insert(split.bytes.end(), first, first + pixels);
  }
  split.count += bytes / record_bytes;
}

void reserve(const std::vector<std::filesystem::path>& batches, Samples& split) {
  split.features = pixels;
  split.sample_shape = {3, 32, 32};
  std::uint64_t bytes = 0;
  for (const auto& path : batches) bytes += open_file(path)->most();
  split.bytes.reserve(bytes);
}

}  // namespace

bool read_cifar_folder(const std::filesystem::path& folder, Samples& train, Samples& test, std::string& looked_for) {
  looked_for = "data_batch_1.bin .. data_batch_5.bin, test_batch.bin";
  std::vector<std::filesystem::path> batches;
  for (int i = 1; i <= 5; ++i) {
    const std::filesystem::path path = folder / fmt::format("data_batch_{}.bin", i);
    if (std::filesystem::exists(path)) batches.push_back(path);
  }
  const std::filesystem::path test_path = folder / "test_batch.bin";
  const bool has_test = std::filesystem::exists(test_path);
  if (batches.empty() && !has_test) return false;
  if (batches.empty() || !has_test) {
    throw Error(ErrorCode::file, fmt::format("'{}': CIFAR-10 batches are missing: {}", folder.string(),
                                             batches.empty() ? "data_batch_1.bin .. data_batch_5.bin (at least one)"
                                                             : "test_batch.bin"));
  }
  reserve(batches, train);
  for (const auto& path : batches) append_batch(path, train);
  reserve({test_path}, test);
  append_batch(test_path, test);
  return true;
}

}  // namespace kindling::io
