// The two terms of the bottleneck objective on the outputs of some layers: their critics, and the gradient of
// -target_weight I(Y; L) + input_weight I(X; L + noise) with respect to the outputs.
#pragma once

#include <kindling/bottleneck.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nn/critic.h"

namespace kindling {

/// Throws Error{usage} for options out of range.
void check_options(const InformationTermOptions& options);
/// Throws Error{bad_input} for fewer than two training samples and for labels of one class.
void expect_two_classes(const Dataset& data);

/// What a batch of N joint and N product pairs consists of.
struct TermBatch {
  std::span<const std::int32_t> labels;  ///< 2N: of the joint samples, then of the partners
  ConstTensorView outputs;               ///< L of the same samples; without the input term the joint ones may be all
  ConstTensorView inputs;                ///< X of the joint samples, for MINE alone
  std::uint32_t number = 0;              ///< of the batch: decides the noise
};

class InformationTerms {
 public:
  struct Weights {
    double target = 1, input = 0;  ///< a term of weight 0 has no critic
  };
  struct Values {
    double target = 0, input = 0;  ///< nats; NaN without the term
  };

  /// For outputs of `features` features of a model with `inputs` inputs; `name` is for messages, `unit` sets the random
  /// numbers apart from those of other layers.
  InformationTerms(const std::string& name, std::int64_t features, std::int64_t inputs, int classes,
                   const Weights& weights, const InformationTermOptions& options, std::uint32_t unit,
                   const Context& context);

  [[nodiscard]] bool needs_partners() const { return input_ != nullptr; }
  [[nodiscard]] bool needs_inputs() const { return needs_partners() && !aware(); }
  /// Rows of outputs that a batch has: N, or 2N with the input term.
  [[nodiscard]] std::int64_t rows() const { return needs_partners() ? 2 * options_.batch : options_.batch; }

  /// One step of each critic; the bounds before it.
  Values update(const kernels::Execution& exec, const TermBatch& batch);
  /// Adds the gradient of the weighted terms with respect to batch.outputs to `gradient` (rows() x features).
  void add_gradient(const kernels::Execution& exec, const TermBatch& batch, TensorView gradient);
  [[nodiscard]] int restarts() const;
  void archive(StateArchive& archive, const std::string& prefix);

 private:
  [[nodiscard]] bool aware() const { return options_.input_estimator == InputEstimator::aa_mine; }
  void prepare(const kernels::Execution& exec, const TermBatch& batch);
  [[nodiscard]] ConstTensorView first_of_input(const TermBatch& batch) const {
    return aware() ? batch.outputs.rows(0, options_.batch) : batch.inputs;
  }

  InformationTermOptions options_;
  Weights weights_;
  int classes_;
  Stream noise_;
  std::unique_ptr<GuardedCritic> target_, input_;
  Tensor one_hot_;  // 2N x classes
  Tensor noisy_;    // 2N x features
  Tensor first_gradient_, second_gradient_;
  kernels::Residency residency_;
};

}  // namespace kindling
