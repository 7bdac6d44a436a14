#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>
#include <kindling/model.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kindling {

enum class OptimizerKind { sgd, momentum, adam };

/// Update rule; PyTorch's definitions (weight decay joins the gradient of the weights of dense layers and
/// convolutions, not of biases nor of batch-norm's parameters).
struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::sgd;
  double learning_rate = 0.1;
  double momentum = 0.9;  ///< momentum only
  double beta1 = 0.9;     ///< adam only
  double beta2 = 0.999;   ///< adam only
  double epsilon = 1e-8;  ///< adam only
  double weight_decay = 0.0;
};

/// "sgd", "momentum" or "adam". Throws Error{usage}.
OptimizerKind parse_optimizer(std::string_view text);
std::string to_string(OptimizerKind kind);

struct TrainOptions {
  int epochs = 10;
  std::int64_t batch = 100;  ///< rows a step; the last batch of an epoch may be smaller
  OptimizerOptions optimizer;
  bool evaluate_test = true;  ///< false: the test split is not looked at, its figures are NaN
};

/// One pass over the training split. Errors are fractions of misclassified samples; NaN where there is no such split.
struct EpochRecord {
  int epoch = 0;          ///< 0: before the first step
  double train_loss = 0;  ///< mean cross entropy over the epoch's batches, in nats (epoch 0: NaN)
  double validation_loss = 0;
  double validation_error = 0;
  double test_loss = 0;
  double test_error = 0;
};

struct TrainResult {
  std::vector<EpochRecord> epochs;
  double seconds = 0;  ///< training steps and evaluations
  std::int64_t steps = 0;
};

/// Cross-entropy training by mini-batches in a fresh random order each epoch (a function of seed and epoch alone, so
/// that methods compared under one seed see the same batches). The model's last activation must be identity (logits).
/// Throws Error{numerical} with epoch and step when the loss is no longer finite, Error{bad_input} when data and model
/// do not fit, Error{interrupted}.
TrainResult train(Model& model, const Dataset& data, const TrainOptions& options, const Context& context);

/// Mean cross entropy in nats and fraction misclassified over one split.
struct Evaluation {
  double loss = 0;
  double error = 0;
};
Evaluation evaluate(const Model& model, const Dataset& data, const Samples& split, const Context& context);

/// The test error of a result by three rules: its minimum over the epochs (optimistic: chosen on the test set itself),
/// at the epoch of lowest validation error (first one on ties), and after the last epoch.
struct ResultSummary {
  double min_test_error = 0;
  int min_test_epoch = 0;
  double chosen_test_error = 0;  ///< NaN without a validation split
  int chosen_epoch = 0;
  double final_test_error = 0;
};
ResultSummary summarize(const TrainResult& result);
/// First epoch whose test error is at most `error`, or -1.
int epochs_to_reach(const TrainResult& result, double error);

}  // namespace kindling
