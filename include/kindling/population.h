#pragma once

#include <kindling/context.h>

#include <cstdint>
#include <vector>

// Signal propagation in ReLU networks of infinite width whose rows hold one Beta(2, 1) entry (RAI and RAAI). No
// Gaussian closure is exact there: a unit is s' = relu(sigma_w sqrt(Q) z + S u) with Q = E s^2 - kappa (E s)^2, z
// standard normal, u ~ Beta(2, 1) and S the activation of one unit of the layer before, whose whole law matters. That
// law is carried by a population of draws, which is exact up to their number. Source: appendices C and E of
// "Initializing ReLU networks in an expressive subspace of weights", without their approximations.
namespace kindling {

struct PopulationOptions {
  double weight_variance = 0.36;     ///< sigma_w^2 > 0
  double k = 0;                      ///< above -1; kappa = k / (1 + k)
  bool beta_entry = true;            ///< false: all entries of a row are normal
  std::int64_t particles = 1 << 18;  ///< draws that stand for the law, at least 1000
  int warm_up = 60;                  ///< layers before anything is averaged
  int layers = 60;                   ///< layers averaged over
};

/// Growth a layer once the law's shape has settled; by homogeneity the length itself does not matter.
struct PopulationGrowth {
  double length = 0;        ///< factor of E h^2 a layer: the length diverges where it exceeds 1
  double perturbation = 0;  ///< factor of the mean square of a small perturbation that is uncorrelated with the signal
  double relative = 0;      ///< perturbation / length: the slope of the correlation map at c = 1
  double dead = 0;          ///< share of units with h <= 0
  double length_error = 0;  ///< standard errors of the first two, from the scatter over layers
  double perturbation_error = 0;
};
/// Throws Error{usage} naming the option that is out of range, Error{interrupted}.
PopulationGrowth population_growth(const PopulationOptions& options, const Context& context);

/// Two signals of length 1 and correlation `correlation` at the input, N(0, I) each; entry l is about layer l + 1, for
/// options.layers layers (options.warm_up is not used). With `width` N > 0 the bias is one more entry of each row, so
/// that terms of order 1 / N appear: they are what a length that would vanish ends in. With 0 the width is infinite.
struct PopulationTrace {
  std::vector<double> length;       ///< of the first signal's pre-activations, E h^2
  std::vector<double> correlation;  ///< E h1 h2 / sqrt(E h1^2 E h2^2)
  std::vector<double> dead;         ///< share of units with h <= 0 for the first signal
};
PopulationTrace population_trace(const PopulationOptions& options, double correlation, std::int64_t width,
                                 const Context& context);

/// sigma_w^2 at which `length` (or `perturbation`) of population_growth is 1, by bracketing between 0.1 and 4 under the
/// same draws throughout. Throws Error{numerical} when there is no such value.
double population_length_boundary(const PopulationOptions& options, const Context& context);
double population_perturbation_boundary(const PopulationOptions& options, const Context& context);

/// What the paper's approximations (appendices C.1 to E) give for the same quantities: the special unit's S is replaced
/// by the root mean square or by the mean of the layer.
enum class SpecialUnit { root_mean_square, mean };
struct AsymmetricApproximation {
  double length_as_printed = 0;  ///< eq. 10 and 12 as they stand: sigma^2 E f'^2 + sigma E f f'
  double length = 0;             ///< the derivative that they mean: E (sigma z + u) f f' at unit length
  double perturbation = 0;       ///< eq. 11: sigma_w^2 E f'^2
};
/// In the mean approximation the mean is that of the fixed shape. Throws Error{usage} as population_growth.
AsymmetricApproximation asymmetric_approximation(SpecialUnit special, double weight_variance, double k);
/// sigma_w^2 at which one of the three numbers is 1. Throws Error{numerical} when there is none between 0.01 and 20.
double approximate_boundary(SpecialUnit special, double AsymmetricApproximation::*number, double k);

}  // namespace kindling
