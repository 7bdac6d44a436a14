// The network T(x, y) of a neural estimate of mutual information, trained by Adam on the Donsker-Varadhan bound.
//
// N joint pairs (first_i, second_i) and N product pairs (first_i, second_{N+i}) share their first argument, and with it
// its part of the first layer: W [x; y] + b = (W_x x + b) + W_y y, the bracket once for both. The gradient of W_x sums
// over the two before it is multiplied. Products are as independent of the joint pairs' partners as with a first
// argument of their own.
#pragma once

#include <kindling/information.h>
#include <kindling/random.h>

#include <cstdint>
#include <vector>

#include "kernels/dense.h"
#include "kernels/dispatch.h"
#include "kernels/residency.h"
#include "nn/state_archive.h"

namespace kindling {

/// Throws Error{usage} for options out of range.
void check_options(const CriticOptions& options);

class Critic {
 public:
  /// For arguments of `first` and `second` features and at most `max_pairs` joint pairs. Weights come from `weights`,
  /// layer l and start s adding to its unit and step.
  Critic(std::int64_t first, std::int64_t second, std::int64_t max_pairs, const CriticOptions& options,
         const Stream& weights, const Context& context);

  /// New weights and a fresh optimiser; `start` counts such beginnings.
  void restart(std::int64_t start, double learning_rate);

  /// Scores N = first.rows() joint and product pairs; first (N x a), second (2N x b). Both must stay as they are until
  /// ascend and gradients are done.
  void forward(const kernels::Execution& exec, ConstTensorView first, ConstTensorView second);
  /// Of the last forward: joint pairs, then product pairs; fetch them before the host reads them.
  [[nodiscard]] ConstTensorView joint_scores() const { return {scores_.data(), {1, pairs_}}; }
  [[nodiscard]] ConstTensorView product_scores() const { return {scores_.data() + pairs_, {1, pairs_}}; }
  /// The bound of the last forward's pairs, in nats.
  double value(const kernels::Execution& exec);
  /// One step up on them; returns the bound before it.
  double ascend(const kernels::Execution& exec);
  /// scale times the gradient of the bound with respect to the arguments of the last forward; dfirst (N x a), dsecond
  /// (2N x b); views of nothing are left out.
  void gradients(const kernels::Execution& exec, double scale, TensorView dfirst, TensorView dsecond);

  [[nodiscard]] double learning_rate() const { return learning_rate_; }
  [[nodiscard]] std::int64_t steps() const { return steps_; }
  /// Weights by layer, W_x and W_y apart, for checks.
  [[nodiscard]] std::vector<Tensor*> parameters();
  /// Weights, optimiser and moving average under names that begin with `prefix`.
  void archive(StateArchive& archive, const std::string& prefix);

 private:
  struct Layer {
    Tensor weight, bias, mean, mean_bias, square, square_bias;
    Tensor output, gradient;  // 2N rows; not of the first argument's part
    [[nodiscard]] kernels::DenseParameters parameters() { return {weight, bias.flat()}; }
    [[nodiscard]] kernels::DenseParameters means() { return {mean, mean_bias.flat()}; }
    [[nodiscard]] kernels::DenseParameters squares() { return {square, square_bias.flat()}; }
  };
  Layer make_layer(std::int64_t fan_in, std::int64_t fan_out, std::int64_t rows) const;
  // From the gradient of the scores down to that of the first layer's pre-activations, updating the layers above it.
  void backward(const kernels::Execution& exec, bool update);
  // Adds the product half of the first layer's gradient to the joint half.
  TensorView folded(const kernels::Execution& exec);
  [[nodiscard]] kernels::AdamStep adam() const;

  CriticOptions options_;
  Stream weights_;
  Context context_;
  double learning_rate_;
  std::int64_t steps_ = 0;
  std::int64_t pairs_ = 0;
  ConstTensorView first_, second_;
  Layer first_part_;           // W_x and the bias; its output is what the other part adds to
  std::vector<Layer> layers_;  // W_y, without a bias that counts, then the further hidden layers and the output
  Tensor scores_, score_gradient_;
  std::vector<float> log_average_;
  kernels::Residency residency_;
};

/// A critic with what keeps its training sound: divergence is detected, reported and, if wanted, met with a restart.
class GuardedCritic {
 public:
  GuardedCritic(std::string what, std::int64_t first, std::int64_t second, std::int64_t max_pairs,
                const CriticOptions& options, const Stream& weights, const Context& context);

  /// forward and ascend; returns the bound before the step. After a restart it returns 0, the bound of a critic that
  /// knows nothing. Throws Error{numerical}.
  double update(const kernels::Execution& exec, ConstTensorView first, ConstTensorView second);
  Critic& critic() { return critic_; }
  [[nodiscard]] std::int64_t restarts() const { return restarts_; }
  void archive(StateArchive& archive, const std::string& prefix);

 private:
  std::string what_;
  CriticOptions options_;
  Context context_;
  Critic critic_;
  std::int64_t restarts_ = 0;
};

/// Whether a sequence of values has stopped rising: means over windows, the last against the best before.
class Plateau {
 public:
  /// tolerance 0: never.
  Plateau(std::int64_t window, double tolerance) : window_(window), tolerance_(tolerance) {}
  /// Returns whether this value completed a window.
  bool add(double value);
  [[nodiscard]] bool reached() const { return reached_; }
  [[nodiscard]] double last_mean() const { return last_; }
  void archive(StateArchive& archive, const std::string& prefix);

 private:
  std::int64_t window_;
  double tolerance_;
  std::int64_t count_ = 0;
  double sum_ = 0, last_ = 0, best_ = 0;
  std::int64_t windows_ = 0;
  bool reached_ = false;
};

}  // namespace kindling
