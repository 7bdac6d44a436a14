#pragma once

#include <kindling/error.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace kindling {

/// A float32 array with a name, row-major.
struct NamedTensor {
  std::string name;                 ///< a PyTorch state-dict name: "layers.0.weight"
  std::vector<std::int64_t> shape;  ///< {} for a scalar
  std::vector<float> data;

  bool operator==(const NamedTensor&) const = default;
};

/// What a weights file holds: arrays, sorted by name, and notes about them.
struct Weights {
  std::vector<NamedTensor> tensors;
  std::map<std::string, std::string> metadata;

  /// The tensor of that name, or nullptr.
  [[nodiscard]] const NamedTensor* find(const std::string& name) const;
};

// Writers. The file appears complete or not at all (a temporary name in the same folder, flushed, then renamed), and
// its bytes are a function of the arguments alone: tensors are sorted by name, nothing is stamped with a time. They
// throw Error{usage} for names that are empty, given twice or not UTF-8, and shapes that do not fit their data;
// Error{file} when the file cannot be written.

/// safetensors, all tensors F32, readable by every safetensors library.
void write_safetensors(const std::filesystem::path& path, const Weights& weights);
/// A numpy archive of uncompressed float32 arrays. The metadata stand as a JSON object in the archive's comment
/// (at most 65,535 bytes, else Error{usage}), so that every member is an array.
void write_npz(const std::filesystem::path& path, const Weights& weights);
/// By the file name's extension: ".safetensors" or ".npz"; Error{usage} for any other.
void write_weights(const std::filesystem::path& path, const Weights& weights);

// Readers. Every element type that the formats share with numpy (integers, float16, bfloat16, float32, float64) is
// converted to float32. They throw Error{file} when the file cannot be read and Error{bad_input} when its content is
// wrong in any way: nothing is skipped or repaired.

Weights read_safetensors(const std::filesystem::path& path);
Weights read_npz(const std::filesystem::path& path);
/// By content: a zip archive is read as `.npz`, anything else as safetensors.
Weights read_weights(const std::filesystem::path& path);

}  // namespace kindling
