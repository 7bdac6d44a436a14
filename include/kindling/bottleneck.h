#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>
#include <kindling/information.h>
#include <kindling/model.h>

#include <cstdint>
#include <string>
#include <vector>

namespace kindling {

/// The two information terms of the bottleneck and the critics that estimate them; defaults are those of appendix C of
/// the layer-wise information bottleneck, and documented choices where it is silent (batch, convergence, slope, laws).
struct InformationTermOptions {
  CriticOptions critic;
  InputEstimator input_estimator = InputEstimator::aa_mine;
  /// Whether the gradient of I(X; L + noise) also goes through the copy of the layers inside the critic.
  bool gradient_through_copy = false;
  ProductPairs product = ProductPairs::second_batch;
  double noise_variance = 2;         ///< of the noise on L in I(X; L + noise)
  std::int64_t batch = 100;          ///< joint pairs, at least 2, with as many product pairs
  std::int64_t critic_updates = 10;  ///< of each critic for every step of the network
  /// Before the network's first step the critics are trained until the mean value of `warmup_window` updates exceeds
  /// the best such mean before by less than `warmup_tolerance` nats, or for `warmup` updates.
  std::int64_t warmup = 2000;
  double warmup_tolerance = 0.01;
  std::int64_t warmup_window = 100;
};

/// Where a long training is kept, so that it can be killed at any moment and go on to the same weights, bit for bit.
struct CheckpointOptions {
  std::string path;     ///< a .safetensors file; empty: none
  double seconds = 60;  ///< at least between two writings; it is also written on a stop request and at the end
};

/// A point of the information plane during bottleneck training.
struct BottleneckPoint {
  std::string layer;
  std::int64_t iteration = 0;  ///< of this layer; 0: after the critics' warm-up
  double target_nats = 0;      ///< I(Y; L), mean over the critic's updates since the last point; NaN without the term
  double input_nats = 0;       ///< I(X; L + noise) likewise
};

/// A linear layer over the standardised outputs, trained at the end by cross entropy and multiplied into the last
/// layer, which therefore is dense without activation: information does not say which output stands for which class
/// (section 5).
struct PostTrainingOptions {
  std::int64_t iterations = 5000;  ///< 0: none is trained
  double learning_rate = 1e-3;     ///< Adam
};

struct BottleneckOptions {
  InformationTermOptions terms;
  double beta = 1e-3;              ///< weight of I(X; L + noise) for dense layers; 0: I(Y; L) alone
  double conv_beta = 0;            ///< the same for convolutions
  std::int64_t iterations = 5000;  ///< of each layer
  double learning_rate = 1e-3;     ///< of the network, Adam
  PostTrainingOptions post;
  std::int64_t trace_every = 100;  ///< iterations between two points of the report's trace
  double cache_mb = 300;           ///< frozen outputs are kept in memory up to this size, recomputed beyond
  CheckpointOptions checkpoint;
};

struct BottleneckLayerReport {
  std::string layer;
  double beta = 0;
  std::int64_t warmup_updates = 0;
  std::int64_t iterations = 0;
  double target_nats = 0;  ///< at the last point of the trace
  double input_nats = 0;
  int restarts = 0;     ///< of both critics
  bool cached = false;  ///< whether the frozen outputs below were kept
  double weight_mean = 0;
  double weight_stddev = 0;
};
struct BottleneckReport {
  std::vector<BottleneckLayerReport> layers;
  std::vector<BottleneckPoint> trace;
  double post_loss = 0;  ///< mean cross entropy of the last 100 steps of the linear layer; NaN without it
  bool resumed = false;
  double seconds = 0;  ///< of this process
};

/// Trains the model from its present weights, layer by layer, to maximise I(Y; L_i) - beta I(X; L_i + noise) (eq. 5 and
/// 7): critics to convergence, then iterations of critic_updates steps of each critic and one step of the layer;
/// freeze; next. A layer is one with neurons and what follows it (normalisation, pooling) up to the next. Then the
/// outputs are post-trained.
///
/// Samples of a batch are drawn with replacement; the partner in a product pair is never the sample itself. Critics see
/// the layer in inference mode, its own step runs in training mode (batch statistics, dropout).
///
/// Throws Error{usage} for options out of range (a negative beta would reward what it is to suppress), Error{bad_input}
/// for data that does not fit, labels of one class, and a checkpoint of another training; Error{numerical} for a critic
/// that diverges with no restart left; Error{interrupted}, after the checkpoint was written.
BottleneckReport train_bottleneck(Model& model, const Dataset& data, const BottleneckOptions& options,
                                  const Context& context);

/// End-to-end training by alpha CE - beta I(Y; Z) + gamma I(X; Z + noise), Z the logits (appendix B, eq. 8).
struct RegularizedOptions {
  InformationTermOptions terms;
  double alpha = 1, beta = 1, gamma = 1e-3;
  std::int64_t steps = 5000;
  double learning_rate = 1e-3;        ///< Adam
  double weight_decay = 0;            ///< of the network
  PostTrainingOptions post;           ///< with alpha = 0 alone: otherwise the outputs are in the order of the labels
  double cache_mb = 300;              ///< memory for the outputs in post-training
  std::int64_t evaluate_every = 500;  ///< steps between two evaluations; 0: at the end alone
  CheckpointOptions checkpoint;
};
struct RegularizedPoint {
  std::int64_t step = 0;
  double loss = 0;                         ///< mean cross entropy since the last point; NaN at step 0
  double target_nats = 0, input_nats = 0;  ///< as in BottleneckPoint
  double test_error = 0;                   ///< fraction; NaN without a test split
};
struct RegularizedReport {
  std::vector<RegularizedPoint> trace;  ///< before post-training
  double post_loss = 0;                 ///< as in BottleneckReport
  int restarts = 0;
  bool resumed = false;
  double seconds = 0;
};
/// Errors as train_bottleneck. With beta = gamma = 0 no critic is trained: plain cross entropy with Adam.
RegularizedReport train_regularized(Model& model, const Dataset& data, const RegularizedOptions& options,
                                    const Context& context);

/// The control of bottleneck initialization: every layer's weights and its biases are drawn anew from normal laws with
/// the mean and the standard deviation (and so the norm) that they have in `model`, which is changed in place.
void randomize_matched(Model& model, const Context& context);

/// Mean distance of two class means over the mean root-mean-square distance of samples from their class mean, of the
/// model's outputs before `layer` (counted among all layers; the number of layers: the outputs) on a split: how far
/// apart and how concentrated its classes are (section 5). Classes without samples are left out. Throws
/// Error{bad_input} for fewer than two classes with samples; infinity where every class is one point.
double separation_ratio(const Model& model, std::size_t layer, const Dataset& data, const Samples& split,
                        const Context& context);

}  // namespace kindling
