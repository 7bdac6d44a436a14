// Class moments of a layer's activations over a data set, by the moment kernels, and the criteria made of them.
#pragma once

#include <kindling/activation.h>
#include <kindling/model.h>

#include <string>
#include <vector>

#include "kernels/dense.h"
#include "methods/layer_inputs.h"

namespace kindling {

/// Rows of one pass: several groups, so that threads share them, in a few megabytes.
inline constexpr std::int64_t moment_batch_rows = 4 * kernels::moment_group_rows;

/// Per feature (M of them) scatter of z over samples and classes; formulas with equation numbers in docs/ibci.md.
struct LayerScatter {
  std::vector<double> total;              ///< (1/m) sum (z - mean)^2
  std::vector<double> between;            ///< (1/C) sum_c (mu_c - mean of class means)^2
  std::vector<double> within;             ///< (1/C) sum_c (1/m_c) sum_{i in c} (z_i - mu_c)^2
  std::vector<double> mean;               ///< over samples
  std::vector<double> class_mean;         ///< C x M
  std::vector<std::int64_t> class_count;  ///< C, samples of each class
};

/// Scatter of act(X W^T + b), where X are the inputs of layer `layer`; the activations are never stored. In a
/// convolution every output position of every sample is a sample of its own, X its receptive field: `weight` has one
/// receptive field a row, and fields are written out for some samples at a time only.
LayerScatter layer_scatter(const kernels::Execution& exec, const Model& model, std::size_t layer,
                           ConstTensorView weight, std::span<const float> bias, const Activation& activation,
                           int classes, LayerInputs& inputs, const Context& context);

/// Takes the running statistics of batch-norm layer `layer` from its inputs over all samples.
void calibrate_batch_norm(const kernels::Execution& exec, Model& model, std::size_t layer, LayerInputs& inputs,
                          const Context& context);

/// The reason why a layer without neurons is left alone, for reports.
std::string skipped_reason(const Layer& layer);

}  // namespace kindling
