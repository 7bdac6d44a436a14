#pragma once

#include <kindling/context.h>
#include <kindling/model.h>

#include <optional>
#include <string>
#include <vector>

// Weights whose entries depend on each other along a row, after "Initializing ReLU networks in an expressive subspace
// of weights" (ICLR 2022 submission), called the paper below.
namespace kindling {

/// The law of one neuron's weights. Without a Beta entry a row of N entries is normal with mean 0 and covariance
/// (weight_variance / fan_in) (I - k / (1 + k) 11^T / N), the paper's eq. 1. For a convolution a row is the receptive
/// field of one output channel.
struct CorrelatedOptions {
  double k = 100;              ///< above -1: 0 makes entries independent, k > 0 anti-correlates them, k < 0 correlates
  double weight_variance = 2;  ///< sigma_w^2 > 0; entries have variance sigma_w^2 / fan_in (1 - k / (1 + k) / N)
  double bias_variance = 0;    ///< sigma_b^2 >= 0 of independent normal biases; 0 where bias_entry is set
  bool bias_entry = false;     ///< the bias is one more entry of the row, N = fan_in + 1, as in appendix G
  bool beta_entry = false;     ///< one entry of each row, chosen at random, is a Beta(2, 1) draw instead
  bool keep_length = false;    ///< weight_variance is set so that lengths stay where biases are 0, by the activation
                               ///< that the layer's inputs went through (2 / (1 - k / (1 + k) / pi) after ReLU, 1 for
                               ///< the first layer); not with a Beta entry
};

/// Anti-correlated initialization: k 100, variance 2, biases 0 (section 2).
CorrelatedOptions aci_options();
/// Random asymmetric initialization: k 0, variance 0.36, biases and Beta entries (section 3).
CorrelatedOptions rai_options();
/// Random asymmetric anti-correlated initialization: k 100, variance 0.9, biases and Beta entries (appendix G).
CorrelatedOptions raai_options();

/// What was drawn for one layer.
struct CorrelatedLayerReport {
  std::string layer;
  std::string skipped;         ///< why the layer was left alone
  std::string note;            ///< what a reader should know, e.g. of a fan-in of 1
  double weight_variance = 0;  ///< sigma_w^2 of the layer, before `length_factor`
  double weight_stddev = 0;    ///< root mean square of the weights set
  double law_stddev = 0;       ///< the law's, Beta entries included
  double correlation = 0;      ///< mean correlation of two entries of a row as drawn; NaN for a fan-in of 1
  double law_correlation = 0;  ///< -kappa / (N - kappa), kappa = k / (1 + k), between normal entries
  double bias_stddev = 0;      ///< root mean square of the biases
  double length_factor = 1;    ///< what weights and biases were multiplied with to match the other law's lengths
};
struct CorrelatedReport {
  std::vector<CorrelatedLayerReport> layers;
  double seconds = 0;
};

/// Draws every layer, the output layer included; rows of layer l come from Stream{seed, weights, l}, independent biases
/// from Stream{seed, biases, l}. With `match` all weights and biases of a layer are then scaled, front to back, so that
/// its pre-activations have the mean square that the law `match` gives them under the same seed, on inputs N(0, I): the
/// same scale in every layer, and nothing else of that law. Throws Error{usage} naming the option for k <= -1, a
/// variance that is negative (weight_variance: not positive) or not finite, a bias_variance beside bias_entry, and
/// keep_length beside beta_entry; Error{numerical} naming the layer when its outputs are all 0 or not finite and cannot
/// be matched.
CorrelatedReport initialize_correlated(Model& model, const CorrelatedOptions& options,
                                       const std::optional<CorrelatedOptions>& match, const Context& context);

}  // namespace kindling
