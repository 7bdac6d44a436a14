#pragma once

#include <kindling/activation.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Mean-field theory of signal propagation in infinitely wide layers whose weights may be correlated along a row (Poole
// et al. 2016; "Initializing ReLU networks in an expressive subspace of weights", ICLR 2022 submission, called the
// paper below). Everything is computed in float64 from the law and the activation; nothing is sampled.
//
// A layer maps activations s to pre-activations h = W s + b. Of two inputs a and b: length q = mean_j h_j(a)^2, overlap
// q12 = mean_j h_j(a) h_j(b), correlation c = q12 / sqrt(q1 q2). kappa = k / (1 + k).
namespace kindling {

/// An activation as theory needs it.
struct Nonlinearity {
  std::string name;
  std::function<double(double)> value;  ///< f(u)
  std::function<double(double)> slope;  ///< f'(u), any value at a kink; empty where there is none
  std::vector<double> kinks;            ///< where f or f' is not smooth; integrals are split there
  /// Slopes for u < 0 and u > 0 of a piecewise-linear f with f(0) = 0, for which closed forms are used.
  struct Slopes {
    double negative = 0, positive = 1;
  };
  std::optional<Slopes> linear;
};

/// The activation of a layer.
Nonlinearity nonlinearity(const Activation& activation);
/// identity, relu, leaky_relu[:slope], tanh, sigmoid, erf, hard_tanh, gelu (the exact one), silu, elu, selu, softplus.
/// Throws Error{usage} listing them.
Nonlinearity parse_nonlinearity(std::string_view text);

/// Law of a layer's weights and biases: rows N(0, (weight_variance / N)(I - kappa 11^T / N)), biases N(0,
/// bias_variance).
struct MeanFieldLaw {
  double weight_variance = 2;  ///< sigma_w^2 >= 0
  double bias_variance = 0;    ///< sigma_b^2 >= 0
  double k = 0;                ///< above -1
};
// Every function below throws Error{usage} naming the number for k <= -1, a negative or non-finite variance, a negative
// or non-finite length, and a correlation outside [-1, 1].

/// E f(h) and E f(h)^2 for h ~ N(0, q).
struct GaussianMoments {
  double mean = 0, square = 0;
};
GaussianMoments gaussian_moments(const Nonlinearity& f, double q);
/// E f(h1) f(h2) for h normal with variances q1, q2 and correlation c. Piecewise-linear f in closed form (the paper's
/// eq. 7 for ReLU), others by Gauss-Legendre panels that are split at kinks: about 1e-12 relative.
double gaussian_overlap(const Nonlinearity& f, double q1, double q2, double c);
/// E f'(h1) f'(h2). Throws Error{usage} naming f when it has no slope.
double gaussian_slope_overlap(const Nonlinearity& f, double q1, double q2, double c);

/// q' = sigma_w^2 (E f^2 - kappa (E f)^2) + sigma_b^2 (the paper's eq. 5).
double length_map(const Nonlinearity& f, const MeanFieldLaw& law, double q);
/// q12' = sigma_w^2 (E f f - kappa E f E f) + sigma_b^2 (eq. 6).
double overlap_map(const Nonlinearity& f, const MeanFieldLaw& law, double q1, double q2, double c);
/// c' of two inputs of equal length q.
double correlation_map(const Nonlinearity& f, const MeanFieldLaw& law, double q, double c);
/// dq12' / dq12 = sigma_w^2 E f' f' (Price's theorem), whatever kappa; at c = 1 the mean squared factor by which a
/// small perturbation grows in a layer. Throws as gaussian_slope_overlap.
double overlap_slope(const Nonlinearity& f, const MeanFieldLaw& law, double q, double c);
/// dc' / dc at equal and momentarily constant lengths: overlap_slope q / q'. At a fixed point of the length the two
/// slopes agree; without biases this one tells whether c = 1 is stable although q grows or shrinks.
double correlation_slope(const Nonlinearity& f, const MeanFieldLaw& law, double q, double c);

/// How an iteration ended.
enum class FixedPointKind {
  finite,        ///< a fixed point was reached
  vanishing,     ///< the length falls below every bound: the fixed point is 0
  diverging,     ///< the length grows beyond every bound
  not_converged  ///< neither within the iterations allowed: `value` is where it stood, `residual` how far it still
                 ///< moved
};
std::string to_string(FixedPointKind kind);
struct FixedPoint {
  FixedPointKind kind = FixedPointKind::not_converged;
  double value = 0;     ///< 0 when vanishing, infinite when diverging
  double slope = 0;     ///< of the map there; NaN when diverging
  double residual = 0;  ///< |map(value) - value|
  int iterations = 0;
};
struct FixedPointOptions {
  double start = 1;          ///< initial length
  double tolerance = 1e-12;  ///< relative for lengths, absolute for correlations
  int max_iterations = 10000;
};
/// The length that q = start runs into, by iteration; of a piecewise-linear f in closed form. Throws Error{usage} for
/// options out of range.
FixedPoint length_fixed_point(const Nonlinearity& f, const MeanFieldLaw& law, const FixedPointOptions& options = {});
/// The stable fixed point of correlation_map in [0, 1] at length q, which every start in [0, 1) runs into: 1 where the
/// slope there is at most 1 (within 1e-9), else the other one, by bracketing. `slope` is correlation_slope there.
FixedPoint correlation_fixed_point(const Nonlinearity& f, const MeanFieldLaw& law, double q,
                                   const FixedPointOptions& options = {});

/// Layers after which a deviation that shrinks (or grows) by `slope` a layer has changed by a factor e: 1 / |ln slope|;
/// infinite at slope 1, 0 at slope 0. Throws Error{usage} for a negative or NaN slope.
double depth_scale(double slope);

enum class Phase { ordered, critical, chaotic };
std::string to_string(Phase phase);
/// Where a law stands.
struct PhasePoint {
  FixedPoint length;
  double probe_length = 1;  ///< the length at which the rest is taken: the fixed point; where that is 0 or infinite,
                            ///< 1 for piecewise-linear f, else 1e-16 or 1e16
  FixedPoint correlation;
  double chi = 0;                ///< overlap_slope at c = 1: small perturbations grow where it exceeds 1
  double correlation_slope = 0;  ///< at c = 1; equals chi where the length is a finite fixed point
  /// Whether c = 1 is stable: by chi, but by correlation_slope where f is piecewise linear or the length diverges;
  /// critical within 1e-9 of 1.
  Phase phase = Phase::ordered;
  double length_depth = 0;       ///< depth_scale of the length's slope; NaN when it diverges and f is not linear
  double correlation_depth = 0;  ///< depth_scale of correlation.slope: how deep two signals stay apart (or together)
};
/// Throws Error{usage} as the functions above; an iteration that did not converge is told by its kind.
PhasePoint phase_point(const Nonlinearity& f, const MeanFieldLaw& law, const FixedPointOptions& options = {});

/// sigma_w^2 above which the length diverges: 1 / ((a^2 + b^2) / 2 - kappa (a - b)^2 / 2 pi) for f(u) ~ a u at infinity
/// and b u at minus infinity (2 / (1 - kappa / pi) for ReLU, the paper's g_k); infinite where a = b = 0.
double length_boundary(const Nonlinearity& f, double k);
/// Least sigma_w^2 in [low, high] and below length_boundary with chi = 1 at the fixed length under this bias variance;
/// nothing where chi stays on one side. Without biases the stability of a piecewise-linear f does not depend on
/// sigma_w^2: nothing. Throws Error{usage} for an empty range and for an f without slope.
std::optional<double> order_chaos_boundary(const Nonlinearity& f, double bias_variance, double k, double low = 1e-2,
                                           double high = 100);
/// sigma_w^2 with length_map(q) = q where biases are 0. Throws Error{usage} where E f^2 - kappa (E f)^2 is 0.
double length_keeping_variance(const Nonlinearity& f, double k, double q = 1);

}  // namespace kindling
