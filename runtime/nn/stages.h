// A network cut behind its layers with neurons, and the outputs of its first layers for any samples.
#pragma once

#include <kindling/dataset.h>
#include <kindling/model.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/dispatch.h"
#include "nn/forward_pass.h"

namespace kindling {

/// Layers [begin, end): one with neurons and the normalisation, pooling, flattening and dropout that follow it; what
/// stands before the first one with neurons belongs to it.
struct Stage {
  std::size_t begin = 0, end = 0;
  std::size_t neurons = 0;  ///< the layer with neurons
};
std::vector<Stage> stages(const Model& model);

/// Layers [begin, end) with their parameters as a model of their own, whose inputs have channels last.
Model clone_layers(const Model& model, std::size_t begin, std::size_t end);

/// Outputs of layers [0, end) in inference mode, channels last, for samples of one split. The layers are copied, so
/// that the model may change meanwhile. All outputs are kept where they fit into `cache_bytes`, else computed when
/// asked for.
class PrefixOutputs {
 public:
  PrefixOutputs(const kernels::Execution& exec, const Model& model, std::size_t end, const Dataset& data,
                const Samples& split, std::int64_t max_rows, double cache_bytes);

  [[nodiscard]] std::int64_t features() const { return features_; }
  [[nodiscard]] bool cached() const { return !cache_.empty(); }
  /// out (index.size() x features), at most max_rows rows.
  void gather(const kernels::Execution& exec, std::span<const std::int32_t> index, TensorView out);

 private:
  void compute(const kernels::Execution& exec, std::span<const std::int32_t> index, TensorView out);

  const Dataset& data_;
  const Samples& split_;
  Model prefix_;
  ImageShape input_;
  std::int64_t features_, max_rows_;
  std::unique_ptr<ForwardPass> pass_;
  Tensor samples_, reordered_, cache_;
  std::vector<float> zeros_, ones_;
  kernels::Residency residency_;
};

/// Labels as rows, written by the host of zeros with a one: out (index.size() x classes).
void gather_one_hot(const Samples& split, std::span<const std::int32_t> index, TensorView out);

}  // namespace kindling
