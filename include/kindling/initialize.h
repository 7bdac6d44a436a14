#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>
#include <kindling/model.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kindling {

/// The laws that random weights come from.
enum class Law {
  xavier,     ///< Glorot & Bengio (2010): variance gain^2 * 2 / (fan_in + fan_out)
  he,         ///< He et al. (2015): variance gain^2 / fan, gain by activation
  lecun,      ///< LeCun et al. (1998): variance 1 / fan_in
  orthogonal  ///< Saxe et al. (2014): orthonormal rows or columns times gain
};
enum class Distribution { normal, uniform };
enum class FanMode { fan_in, fan_out, average };
enum class BiasRule {
  zero,
  uniform  ///< U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for nn.Linear
};

struct BaselineOptions {
  Law law = Law::he;
  Distribution distribution = Distribution::normal;
  FanMode fan = FanMode::fan_in;  ///< he only
  double gain = 0;                ///< 0: he and orthogonal by the layer's activation, others 1
  BiasRule bias = BiasRule::zero;
};

/// What a method did to one layer.
struct LayerReport {
  std::string layer;         ///< "layers.0"
  std::string skipped;       ///< empty, or why the layer was left alone
  double weight_stddev = 0;  ///< root mean square of the weights set
  double weight_target = 0;  ///< the law's standard deviation
};

struct BaselineReport {
  std::vector<LayerReport> layers;
  double seconds = 0;
};

/// Standard deviation of the law for a layer; for orthogonal that of its entries.
double law_stddev(const BaselineOptions& options, std::int64_t fan_in, std::int64_t fan_out,
                  const Activation& activation);

/// Draws all weights and biases of the model from one law. Weights of layer l come from Stream{seed, weights, l}.
BaselineReport initialize_baseline(Model& model, const BaselineOptions& options, const Context& context);

/// Layer-sequential unit variance (Mishkin & Matas, ICLR 2016) on top of a base law.
struct LsuvOptions {
  BaselineOptions base{.law = Law::orthogonal};
  double target_variance = 1.0;
  double tolerance = 0.02;      ///< |variance - target| accepted
  int max_iterations = 10;      ///< rescalings of one layer
  std::int64_t samples = 2000;  ///< training samples for the variance, a random subset; 0: all
  bool last_layer = true;       ///< rescale the output layer too
};
struct LsuvLayerReport {
  std::string layer;
  std::string skipped;         ///< e.g. the output layer on request
  double variance_before = 0;  ///< of the pre-activations over samples and units
  double variance_after = 0;
  int iterations = 0;
  bool converged = false;
};
struct LsuvReport {
  std::vector<LsuvLayerReport> layers;
  double seconds = 0;
};
/// Throws Error{numerical} naming the layer when its output variance is 0 or not finite.
LsuvReport initialize_lsuv(Model& model, const Dataset& data, const LsuvOptions& options, const Context& context);

}  // namespace kindling
