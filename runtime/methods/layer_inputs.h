// The inputs of one layer of a partly initialised network, for a whole data set, batch by batch.
#pragma once

#include <kindling/dataset.h>
#include <kindling/model.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/residency.h"
#include "nn/forward_pass.h"

namespace kindling {

/// Streams a training split (or a subset of it) through the frozen layers. Memory is O(batch * widths) and, where they
/// fit into `cache_bytes`, the outputs of the last frozen layer (N x d floats); beyond that they are computed again.
class LayerInputs {
 public:
  /// `rows`: sample numbers to visit, in that order; empty: all of data.train. On a device data and outputs stay there.
  LayerInputs(const kernels::Execution& exec, const Dataset& data, std::vector<std::int32_t> rows, std::int64_t batch,
              double cache_bytes);

  [[nodiscard]] std::int64_t count() const { return count_; }

  using Visitor = std::function<void(ConstTensorView x, std::span<const std::int32_t> labels)>;
  /// Calls `visit` with the inputs of layer `layer`, batch after batch in a fixed order. They are for kernels, not for
  /// the host.
  void for_each(const kernels::Execution& exec, const Model& model, std::size_t layer, const Context& context,
                const Visitor& visit);

  /// Layer `layer` has its final weights, which must stay where they are: keeps its outputs if they fit. Returns
  /// whether they are kept.
  bool freeze(const kernels::Execution& exec, const Model& model, std::size_t layer, const Context& context);

 private:
  static constexpr std::size_t nothing = ~std::size_t{0};
  // Inputs of `layer` for rows [first, first + rows), in the cache or in a scratch tensor.
  ConstTensorView inputs(const kernels::Execution& exec, const Model& model, std::size_t layer, std::int64_t first,
                         std::int64_t rows);

  const Dataset& data_;
  std::vector<std::int32_t> rows_;
  std::vector<std::int32_t> labels_;
  std::int64_t count_;
  std::int64_t batch_;
  double cache_bytes_;
  std::size_t cached_layer_ = nothing;  // whose outputs cache_ holds
  Tensor cache_;
  Tensor samples_;                   // a batch as it comes
  std::optional<ForwardPass> pass_;  // from the samples or the cache to the layer asked for
  kernels::Residency residency_;
};

/// Rows of one pass through `model` by the moment kernels: several of their groups, so that threads share them; fewer
/// for images, whose activations are wide.
std::int64_t moment_rows(const Model& model);

/// `count` distinct sample numbers of the training split, ascending; all when count is 0 or not smaller than the split.
std::vector<std::int32_t> sample_subset(const Dataset& data, std::int64_t count, const Context& context);

}  // namespace kindling
