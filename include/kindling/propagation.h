#pragma once

#include <kindling/activation.h>
#include <kindling/context.h>
#include <kindling/correlated.h>

#include <cstdint>
#include <string>
#include <vector>

// How signals fare in random networks of finite width, beside what theory says: figures 2 to 5 of "Initializing ReLU
// networks in an expressive subspace of weights".
namespace kindling {

struct PropagationOptions {
  CorrelatedOptions law;                    ///< of every layer; its weight_variance is taken from the list below
  Activation activation;                    ///< of every layer
  std::vector<double> weight_variances{2};  ///< sigma_w^2 of the grid, different from each other
  std::vector<int> layers{1, 2, 8, 32, 128, 256, 512};  ///< where signals are looked at, ascending from 1 on
  std::int64_t width = 2048;                            ///< N of inputs and all layers, at least 2
  std::int64_t inputs = 1024;                           ///< M signals N(0, I), at least 2
  double input_correlation = 0;  ///< of signals 2 i and 2 i + 1, the pairs whose correlation is followed
  int networks = 3;              ///< random networks a grid value
  std::string results;           ///< file that keeps every finished network; empty: none
};

/// Pre-activations of one layer over the signals of one network.
struct LayerSignal {
  int layer = 0;
  double length = 0;              ///< mean over signals of q = mean_j h_j^2
  double length_stddev = 0;       ///< over signals
  double correlation = 0;         ///< mean over pairs of q12 / sqrt(q1 q2); NaN where a length is 0
  double correlation_stddev = 0;  ///< over pairs
};
struct PropagationRun {
  double weight_variance = 0;
  int network = 0;
  std::vector<LayerSignal> layers;
  double seconds = 0;           ///< of the whole network, sampling and moments included
  double sampling_seconds = 0;  ///< drawing weights
  double flops = 0;             ///< multiply-adds count two
  bool resumed = false;
};

/// One grid value and layer, over the networks.
struct PropagationRow {
  double weight_variance = 0;
  int layer = 0;
  double length = 0, length_stddev = 0;  ///< mean and standard deviation over networks
  double correlation = 0, correlation_stddev = 0;
  double theory_length = 0,
         theory_correlation = 0;  ///< at this depth, by mean-field maps (normal rows with independent
                                  ///< biases) or by a population (others, ReLU only; else NaN)
  int networks = 0;
};
struct Propagation {
  std::vector<PropagationRun> runs;
  std::vector<PropagationRow> rows;  ///< by grid value, then layer
  std::vector<std::string> notes;
};

/// Sends the signals through every network of the grid on the kernels. Two matrices of activations and one of weights
/// are stored, whatever the depth; lengths beyond float32's range are carried in a factor, for piecewise-linear
/// activations. Weights of layer l of network n come from Stream{seed, weights, l, n}, the same for every grid value.
/// A network found in the results file with equal options and seed is not repeated.
///
/// Throws Error{usage} naming the option that is out of range (a width or number of inputs below 2, k <= -1, a negative
/// variance, an empty or unordered list), Error{bad_input} for a results file with foreign content, Error{file},
/// Error{numerical} naming grid value and layer when a signal is no longer finite, Error{interrupted}.
Propagation simulate_propagation(const PropagationOptions& options, const Context& context);

}  // namespace kindling
