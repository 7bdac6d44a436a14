#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>
#include <kindling/model.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace kindling {

/// The network T(x, y) behind a neural estimate of mutual information, and how it is trained. x and y are concatenated;
/// hidden layers with leaky ReLU; one linear output (appendix C of the layer-wise information bottleneck). What the
/// paper leaves open follows TensorFlow, which its authors used: slope 0.2, Glorot's uniform law, zero biases.
struct CriticOptions {
  std::vector<std::int64_t> hidden{1500, 1500};
  float leaky_slope = 0.2F;
  double learning_rate = 1e-4;  ///< Adam
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  /// Rate of MINE's moving average of exp T in the gradient, in (0, 1]; 1: each batch's own mean (Belghazi et al. 2018,
  /// section 3.2). Values are corrected nowhere.
  double average_rate = 1;
  /// A batch whose value is NaN, infinite or beyond this many nats means that the critic diverged.
  double divergence_limit = 1e4;
  int restarts = 0;             ///< times to begin anew after that, before Error{numerical}
  double restart_factor = 0.1;  ///< of the learning rate at each restart
};

/// Where the pairs drawn from the product of the marginals come from.
enum class ProductPairs {
  second_batch,  ///< y of a second batch, independent of the first (appendix A)
  permutation    ///< y of the same batch, permuted in one cycle, so that no pair stays together
};
/// "second-batch" or "permutation". Throws Error{usage}.
ProductPairs parse_product_pairs(std::string_view text);
std::string to_string(ProductPairs product);

struct InformationOptions {
  CriticOptions critic;
  std::int64_t batch = 500;     ///< joint pairs an update, at least 2, with as many product pairs
  std::int64_t updates = 5000;  ///< of the critic, at most
  /// Training ends early when the mean value of `window` updates exceeds the best such mean before by less than
  /// this many nats; 0: never.
  double tolerance = 0;
  std::int64_t window = 200;
  ProductPairs product = ProductPairs::second_batch;
  std::int64_t evaluation_pairs = 100'000;  ///< joint pairs, and as many product pairs, of the final value
  double held_out = 0.2;                    ///< share of given samples that are kept for the final value, in (0, 1)
};

/// A point of the critic's training.
struct InformationTrace {
  std::int64_t update = 0;  ///< updates so far
  double nats = 0;          ///< mean value of the batches since the last point
};

/// A lower bound on I(X; Y) in nats, by the Donsker-Varadhan representation.
struct InformationEstimate {
  double nats = 0;            ///< on pairs that the critic was never trained on
  double standard_error = 0;  ///< of that number by the delta method, for the critic as it is
  double training_nats = 0;   ///< mean over the last `window` batches trained on; too high where pairs are few
  std::int64_t updates = 0;
  bool converged = false;  ///< stopped by the tolerance
  int restarts = 0;
  double learning_rate = 0;             ///< of the last start
  std::int64_t evaluation_pairs = 0;    ///< behind nats
  std::vector<InformationTrace> trace;  ///< a point every `window` updates
  double seconds = 0;
};

/// A source of pairs without end. draw(number, x, y) fills x (N x x_features) and y (N x y_features) with N independent
/// pairs; the same number gives the same pairs, different numbers independent ones.
struct PairSampler {
  std::int64_t x_features = 0;
  std::int64_t y_features = 0;
  std::function<void(std::uint32_t number, TensorView x, TensorView y)> draw;
};

/// X and Y with `dimensions` standard normal entries each, entry k of one correlated with entry k of the other so that
/// I(X; Y) = nats: correlation sqrt(1 - exp(-2 nats / dimensions)). Throws Error{usage} unless dimensions >= 1 and nats
/// is finite and not negative.
PairSampler correlated_gaussians(std::int64_t dimensions, double nats, const Context& context);
/// X of `input_deviation`, Y = a X + b + noise of `noise_deviation`, all scalar and Gaussian.
struct GaussianChannel {
  double a = 1, b = 0, input_deviation = 1, noise_deviation = 1;
};
PairSampler gaussian_channel(const GaussianChannel& channel, const Context& context);
/// Its information, 1/2 ln(1 + a^2 input^2 / noise^2) (eq. 4).
double channel_information(const GaussianChannel& channel);

/// MINE: trains a critic on pairs from the sampler and evaluates it on fresh ones. Throws Error{usage} for options out
/// of range (a batch of one among them: it has no product pairs to speak of), Error{numerical} with update, value and
/// learning rate when the critic diverges and no restart is left, Error{interrupted}.
InformationEstimate estimate_information(const PairSampler& pairs, const InformationOptions& options,
                                         const Context& context);

/// The same from samples: row i of x (N x a) belongs to row i of y (N x b). A random share `held_out` of the rows is
/// kept for the final value. Throws Error{bad_input} also for NaN or infinite numbers and fewer than 2 rows on either
/// side of the split.
InformationEstimate estimate_information(ConstTensorView x, ConstTensorView y, const InformationOptions& options,
                                         const Context& context);

/// How I(X; L + noise) is estimated.
enum class InputEstimator {
  mine,    ///< the critic sees X itself
  aa_mine  ///< the critic sees the layer's own outputs for X, by a copy of layers 1..i (section 4)
};
/// "mine" or "aa-mine". Throws Error{usage}.
InputEstimator parse_input_estimator(std::string_view text);
std::string to_string(InputEstimator estimator);

struct LayerInformationOptions {
  InformationOptions estimate;
  InputEstimator input_estimator = InputEstimator::aa_mine;
  double noise_variance = 2;  ///< of the white Gaussian noise on the layer's outputs; 0: none
  bool input = true;          ///< estimate I(X; L + noise)
  bool target = true;         ///< estimate I(Y; L), at most ln C
};
struct LayerInformation {
  std::string layer;  ///< "layers.0": the one with neurons
  InformationEstimate input;
  InformationEstimate target;
};
/// Information of the outputs of one layer with the inputs and with the labels; critics are trained on the training
/// split and evaluated on the test split (the validation split where there is no test split). `index` counts the layers
/// with neurons; a layer's outputs are taken after the normalisation, pooling and flattening that follow it, in
/// inference mode. Throws as estimate_information does, Error{usage} for an index that is too large and a negative
/// variance, Error{bad_input} for a split whose samples all have one label (the information with it is 0 and nothing
/// can be learned) and for data without samples to evaluate on.
LayerInformation estimate_layer_information(const Model& model, std::size_t index, const Dataset& data,
                                            const LayerInformationOptions& options, const Context& context);

}  // namespace kindling
