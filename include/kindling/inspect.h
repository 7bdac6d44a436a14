#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>
#include <kindling/mean_field.h>
#include <kindling/model.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kindling {

/// What a layer does with samples that went through the network.
struct LayerActivity {
  std::int64_t samples = 0;
  std::int64_t dead = 0;          ///< units (a convolution's channels) with f' = 0 on every sample; ReLU only
  double mean_slope = 0;          ///< mean f' over samples and units: the active share for ReLU; small means saturation
  double output_mean_square = 0;  ///< of the activations, over samples and units
};

/// One dense or convolution layer. A convolution is looked at as the matrix of its receptive fields.
struct LayerInspection {
  std::string layer, kind;
  std::int64_t units = 0, fan_in = 0;
  double weight_mean = 0;
  double weight_variance =
      0;                     ///< sigma_w^2: variance of a row's weights times fan_in (of the mean square for fan-in 1)
  double bias_variance = 0;  ///< sigma_b^2: mean square of the biases
  /// Correlation of a row's weights, in the law N(0, sigma_w^2 / N (I - k / (1 + k) 11^T / N)): from the mean square of
  /// row sums, sigma_w^2 / (1 + k). Negative k: entries of a row pull together, or share a mean. With its standard
  /// error. NaN for a fan-in of 1.
  double k = 0, k_error = 0;
  std::vector<double> singular_values;    ///< largest first, at most five; one where both sides exceed 1024
  double independent_norm = 0;            ///< what the largest would be about for independent weights of that variance
  double stable_rank = 0;                 ///< sum of squared singular values over the largest squared
  std::optional<LayerActivity> activity;  ///< with data
  /// Place of an endless network of such layers (this law, this layer's activation) on the phase diagram; none for an
  /// output layer without activation and where batch-norm follows. k counts where it is three errors away from 0.
  std::optional<PhasePoint> phase;
  std::vector<std::string> findings;  ///< sentences; none where nothing is wrong
};

struct Inspection {
  std::vector<LayerInspection> layers;
  /// How deep a signal tells two inputs apart: the least correlation_depth over the layers with a phase, in layers.
  double signal_depth = 0;
  std::size_t depth = 0;              ///< layers with a phase
  std::vector<std::string> findings;  ///< of the network as a whole
};

/// Looks at every layer's weights and, for `x` (N x inputs, or no rows), at its activations. Throws Error{numerical}
/// that names a parameter which is NaN or infinite, Error{usage} for an x that does not fit.
Inspection inspect(const Model& model, ConstTensorView x, const Context& context);

/// The first `count` training samples as a network gets them, standardised: count x features. Throws Error{usage} for a
/// count outside 0 .. data.train.count.
Tensor training_inputs(const Dataset& data, std::int64_t count, const Context& context);

/// What layer `layer` of model.layers() gets for the samples x (N x inputs): N x features, in inference mode; for
/// `layer` = their number the network's outputs. Throws Error{usage} for a layer that there is not and an x that does
/// not fit.
Tensor layer_inputs(const Model& model, std::size_t layer, ConstTensorView x, const Context& context);

}  // namespace kindling
