// Inference: a batch through some of a model's layers.
#pragma once

#include <kindling/model.h>

#include <array>
#include <cstdint>

#include "kernels/dispatch.h"
#include "kernels/residency.h"

namespace kindling {

/// Whether inference hands the layer's input on as it is: dropout.
inline bool passes_through(const Layer& layer) { return layer.kind == LayerKind::dropout; }

/// Whether samples, which come in the order C, H, W, are reordered before the first layer.
bool reorders_input(const Model& model);

/// One layer in inference mode; x (N x inputs) and y (N x outputs) with channels last. A layer that passes_through is
/// copied.
void layer_forward(const kernels::Execution& exec, const Layer& layer, ConstTensorView x, TensorView y);

/// Rows a pass that keep the widest activations of `model` within some megabytes, at most `most`, at least 1.
std::int64_t pass_rows(const Model& model, std::int64_t most);

/// A layer's, or all of a model's, parameters stay on the device, where they are only read.
void keep_parameters(kernels::Residency& residency, const Layer& layer);
void keep_parameters(kernels::Residency& residency, const Model& model);

/// The host is going to read the model's parameters.
void fetch_parameters(const Model& model);

/// Two buffers of the widest layer's outputs, between which a batch goes to and fro.
class ForwardPass {
 public:
  ForwardPass(const Model& model, std::int64_t max_rows);

  /// Keeps the buffers on the device: the host must not read what run() returns.
  void keep_on(kernels::Residency& residency) const;

  /// The input of layer `end` (outputs of the last layer for end = number of layers) for samples x (rows x inputs(), in
  /// the order C, H, W), rows at most max_rows. Valid until the next call; x itself where nothing was to be done.
  ConstTensorView run(const kernels::Execution& exec, const Model& model, ConstTensorView x, std::size_t end);
  /// The same from the input `x` of layer `begin` on.
  ConstTensorView run_from(const kernels::Execution& exec, const Model& model, std::size_t begin, ConstTensorView x,
                           std::size_t end);
  /// At most max_rows samples through all layers into y, which may be resident.
  void run_into(const kernels::Execution& exec, const Model& model, ConstTensorView x, TensorView y);
  /// Any number of samples through all layers into y.
  void run_all(const kernels::Execution& exec, const Model& model, ConstTensorView x, TensorView y);

 private:
  TensorView next_buffer(std::int64_t rows, std::int64_t features);

  std::int64_t max_rows_;
  std::array<Tensor, 2> buffers_;
  std::size_t used_ = 0;
};

}  // namespace kindling
