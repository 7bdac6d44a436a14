#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>
#include <kindling/initialize.h>
#include <kindling/model.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace kindling {

/// How expectations within a sample are estimated (Gretton et al., JMLR 2012, eq. 5 and 3).
enum class MmdStatistic {
  v,  ///< over all pairs: never negative, biased
  u   ///< over pairs of different samples: unbiased, can be negative
};

/// The hinge of L_sd.
enum class SoftmaxHinge {
  automatic,  ///< printed for d = 2, share for d >= 3
  printed,    ///< the paper's eq. 19: mean distance to the vertex over all inputs. Cannot close for d >= 3.
  share       ///< mean distance over the floor(B / d) inputs nearest to the vertex (at least 1). Reaches zero when
              ///< every class has its share of inputs near its vertex; there Theorem 2's bound holds for that share.
};

enum class RateSchedule { constant, linear, cosine };  ///< of the learning rate over all steps, down to 0

/// Initialization learned from unlabelled inputs by maximum mean discrepancy ("Unsupervised learning of
/// initialization in deep neural networks via maximum mean discrepancy", arXiv 2302.04369): theta0 minimises
/// uniformity * L_uni + lambda * L_sd + xi * L_iod (eq. 27). What the paper gives are its values; the rest are ours.
struct MmdOptions {
  BaselineOptions law{.law = Law::xavier};  ///< where theta0 starts
  std::int64_t perturbations = 16;          ///< S, at least 2
  std::int64_t batch = 50;                  ///< B inputs a step
  std::int64_t steps = 1200;                ///< at most; 1200 batches of 50 are one pass over MNIST
  double learning_rate = 3e-4;              ///< of Adam (0.9, 0.999)
  RateSchedule schedule = RateSchedule::constant;
  double scale_squared = 0.5;  ///< s^2: perturbations have variance s^2 / n_in (weights) and s^2 / n_out (biases)
  double uniformity = 1;       ///< weight of L_uni, 1 in the paper; 0 for ablations
  double lambda = 0.4;         ///< weight of L_sd
  double xi = 1;               ///< weight of L_iod
  MmdStatistic statistic = MmdStatistic::v;
  std::optional<double> bandwidth;  ///< gamma; empty: the median heuristic for each input at each step
  SoftmaxHinge hinge = SoftmaxHinge::automatic;
  bool span = true;            ///< draw the first layer's perturbation in the span of the batch (same law, less work)
  std::int64_t window = 50;    ///< steps averaged for the curve, for the choice of the best theta0 and for early stop
  std::int64_t patience = 10;  ///< windows without improvement before stopping; 0: never
  std::string checkpoint;      ///< safetensors file to resume from, written after every window; empty: none
};

/// The three losses, without their weights, and their weighted sum.
struct MmdTerms {
  double uniformity = 0;  ///< L_uni, eq. 15
  double softmax = 0;     ///< L_sd, eq. 19
  double detachment = 0;  ///< L_iod, eq. 26
  double total = 0;       ///< eq. 27
};

/// Gradient with respect to one layer's parameters; empty where it has none.
struct MmdLayerGradient {
  Tensor weight, bias;
};

/// The losses of a model on a batch x (B x inputs, standardised, B = x.rows(); options.batch is not used) with the
/// perturbations and simplex draws of `step`, and, if asked for, the gradient of the total, an entry a layer.
///
/// Conventions: the bandwidth of the median heuristic is constant in the gradient. L_sd: the class of the largest mean
/// distance, the lowest on ties; at the hinge and at distance 0 the gradient is 0; nearest inputs are chosen by
/// distance, then by number. L_iod: the layer of the largest (1 - norm)^2, the lowest on ties; norm 0 has gradient 0;
/// batch-norm is an affine map with the batch's statistics at theta0, constant in Jacobian and gradient. Derivatives of
/// piecewise-linear activations at their kinks are those of the negative side.
///
/// Throws Error{usage} for options out of range, Error{bad_input} for an x that is not finite, Error{numerical} when
/// logits or norms are not finite.
MmdTerms mmd_losses(const Model& model, ConstTensorView x, const MmdOptions& options, std::uint32_t step,
                    const Context& context, std::vector<MmdLayerGradient>* gradient = nullptr);

/// Averages over one window of steps.
struct MmdRecord {
  std::int64_t step = 0;  ///< the window's last
  MmdTerms terms;         ///< for random-label: total only, the mean cross entropy
};

struct MmdReport {
  std::vector<MmdRecord> curve;
  std::int64_t steps = 0;      ///< done
  std::int64_t best_step = 0;  ///< theta0 is the one at the end of this window
  MmdTerms best;
  std::string stopped;                                   ///< "all steps done" or "no improvement in ... windows"
  bool resumed = false;                                  ///< went on from a checkpoint
  std::vector<std::pair<std::string, double>> movement;  ///< layer, |W - W_start| / |W_start|
  double seconds = 0;                                    ///< of this call
};

/// Learns theta0 on the inputs of data.train; labels are not looked at, and the model's d >= 2 outputs need not match
/// data.classes. The last activation must be identity. Batches are a function of context.seed. Batch-norm's running
/// statistics are taken over the data at the end. Memory O(S B widths).
///
/// The model changes only at the end: after an error it is as it was, and a checkpoint holds what there was before.
/// Throws Error{usage} for options out of range, for models of one output, for a checkpoint made under other settings;
/// Error{bad_input} naming sample and feature for inputs that are not finite; Error{numerical} naming the step when
/// the loss is no longer finite; Error{interrupted}.
MmdReport initialize_mmd(Model& model, const Dataset& data, const MmdOptions& options, const Context& context);

/// Pre-training on labels drawn anew for every mini-batch (the paper's baseline R.label, after Pondenkandath et al.
/// 2018): cross entropy over the model's outputs by Adam, the parameters of the lowest mean pre-training loss kept.
struct RandomLabelOptions {
  BaselineOptions law{.law = Law::xavier};
  std::int64_t batch = 50;
  std::int64_t steps = 1200;
  double learning_rate = 1e-3;
  std::int64_t window = 50;
  std::int64_t patience = 10;
};
/// As initialize_mmd.
MmdReport initialize_random_label(Model& model, const Dataset& data, const RandomLabelOptions& options,
                                  const Context& context);

/// Random weights that share simple statistics with theta0 as initialize_mmd finds it under the same options and seed:
/// every layer's weights and biases are normal draws with the mean and the Euclidean norm of theta0's, exactly. With
/// `match_jacobian` weights are then scaled, layer by layer, until the mean row norms ||J_(l:L)|| over 500 inputs
/// match theta0's too (dense layers only); their norms then differ by what the report says.
struct MmdControlReport {
  MmdReport learned;
  std::vector<std::pair<std::string, double>> weight_scale;  ///< layer, factor that matched the Jacobians, else 1
  double jacobian_mismatch = 0;                              ///< greatest relative difference left
};
MmdControlReport initialize_mmd_control(Model& model, const Dataset& data, const MmdOptions& options,
                                        bool match_jacobian, const Context& context);

}  // namespace kindling
