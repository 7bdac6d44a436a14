#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>
#include <kindling/initialize.h>
#include <kindling/model.h>

#include <cstdint>
#include <string>
#include <vector>

namespace kindling {

/// Expected spectral norm of J = diag(f'(u)) W per unit of standard deviation, for a dense layer whose weights
/// (fan_out x fan_in) are independent with mean 0, for wide layers:
/// - identity and tanh at u near 0 (f' = 1): sqrt(fan_out) + sqrt(fan_in) (Skorski, "Revisiting Initialization of
///   Neural Networks", eq. 7); sigmoid: a quarter of it;
/// - relu and leaky_relu, half of whose units are active: the upper edge of the singular values of a random matrix with
///   two row scales (Silverstein & Choi 1995); for relu sqrt(fan_out / 2) + sqrt(fan_in).
/// Throws Error{usage} unless fan_in and fan_out are positive.
double jacobian_norm_factor(std::int64_t fan_in, std::int64_t fan_out, const Activation& activation);

/// Jacobian-norm initialization (Skorski, corollary 1): every layer is scaled so that the spectral norm of its Jacobian
/// dz_(k+1) / dz_k = diag(f'(u)) W is `norm`.
struct JacobianOptions {
  /// false: standard deviation norm / jacobian_norm_factor(), from the widths alone; dense layers only.
  /// true: measured on data and corrected, layer by layer on the activations of the layers before; any activation,
  /// dense and convolution layers.
  bool simulate = false;
  double norm = 1.0;
  std::int64_t samples = 200;  ///< simulate: training samples over which the norm is averaged, a random subset; 0: all
  double tolerance = 0.01;     ///< simulate: |mean norm - norm| <= tolerance * norm is accepted
  int max_iterations = 10;     ///< simulate: rescalings of one layer; one is enough where f is piecewise linear
  Distribution distribution = Distribution::normal;
  BiasRule bias = BiasRule::zero;
};

struct JacobianLayerReport {
  std::string layer;
  std::string skipped;       ///< why the layer was left alone
  double weight_stddev = 0;  ///< root mean square of the weights set
  /// Spectral norm of the Jacobian, measured by power iteration and averaged: with `simulate` over the samples, before
  /// and after the rescalings; without over eight random inputs near 0, where the closed form is stated, and only
  /// after.
  double norm_before = 0, norm_after = 0;
  double norm_least = 0, norm_greatest = 0;  ///< over the same samples, after
  int iterations = 0;                        ///< rescalings
  bool converged = true;                     ///< norm_after is within the tolerance; without `simulate` always true
};
struct JacobianReport {
  bool simulated = false;
  std::vector<JacobianLayerReport> layers;
  double seconds = 0;
};

/// Weights of layer l are drawn from Stream{seed, weights, l}, as those of initialize_baseline. `data` may be null
/// without `simulate`. A layer with batch-norm behind it is scaled as the linear map that it is; batch-norm undoes the
/// factor, and with `simulate` its statistics are taken from the data. Throws Error{usage} for options that make no
/// sense, for simulation without data and, without simulation, for a convolution; Error{numerical} that names the layer
/// whose Jacobian is 0 or not finite.
JacobianReport initialize_jacobian(Model& model, const Dataset* data, const JacobianOptions& options,
                                   const Context& context);

}  // namespace kindling
