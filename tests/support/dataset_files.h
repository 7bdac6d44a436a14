// Small data sets on disk, and a short way to load them.
#pragma once

#include <kindling/dataset.h>
#include <kindling/weights_file.h>

#include <string>
#include <vector>

#include "support/file_bytes.h"
#include "support/temp_dir.h"

namespace kindling::test {

using Labels = std::vector<std::int32_t>;

inline Dataset load(const std::string& spec, const DatasetOptions& options = {}, std::uint64_t seed = 0) {
  Context context;
  context.seed = seed;
  return load_dataset(spec, options, context);
}

/// A folder of IDX files with `n` samples of three bytes, sample i being (i, 2 i mod 251, 7) of class labels[i].
inline void write_idx_folder(const TempDir& dir, const Labels& labels) {
  std::string pixels;
  std::string marks;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    pixels += {static_cast<char>(i), static_cast<char>(2 * i % 251), '\7'};
    marks += static_cast<char>(labels[i]);
  }
  const auto n = static_cast<std::uint32_t>(labels.size());
  for (const char* split : {"train", "t10k"}) {
    dir.write(std::string(split) + "-images-idx3-ubyte", idx_bytes(8, {n, 1, 3}, pixels));
    dir.write(std::string(split) + "-labels-idx1-ubyte", idx_bytes(8, {n}, marks));
  }
}

/// An .npz or .safetensors file with float samples, one row of `features` each.
struct Arrays {
  std::int64_t features = 2;
  std::vector<float> x = {0, 1, 2, 3, 4, 5, 6, 7};
  std::vector<float> y = {0, 1, 0, 1};
  std::vector<float> x_test = {1, 1, 2, 2};
  std::vector<float> y_test = {1, 0};
};
inline std::string write_arrays(const TempDir& dir, const Arrays& a, const std::string& name = "data.npz") {
  Weights w;
  const auto matrix = [&](const char* key, const std::vector<float>& v) {
    w.tensors.push_back({key, {static_cast<std::int64_t>(v.size()) / a.features, a.features}, v});
  };
  const auto vector = [&](const char* key, const std::vector<float>& v) {
    w.tensors.push_back({key, {static_cast<std::int64_t>(v.size())}, v});
  };
  matrix("x", a.x);
  vector("y", a.y);
  if (!a.x_test.empty()) matrix("x_test", a.x_test);
  if (!a.y_test.empty()) vector("y_test", a.y_test);
  write_weights(dir / name, w);
  return (dir / name).string();
}

inline Labels cycle(int n, int classes) {
  Labels labels;
  for (int i = 0; i < n; ++i) labels.push_back(i % classes);
  return labels;
}

}  // namespace kindling::test
