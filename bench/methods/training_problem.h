// One SGD step of a multi-layer perceptron with ReLU and cross entropy: buffers for the peers, and the right answer.
#pragma once

#include <kindling/model.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "peers/peers.h"
#include "reference.h"

namespace kindling::bench {

struct TrainingProblem {
  TrainingProblem(const std::vector<std::int64_t>& widths, std::int64_t batch);

  /// Multiply-adds of forward and backward, two flops each; the first layer needs no input gradient.
  static double flops(const std::vector<std::int64_t>& widths, std::int64_t batch);
  /// The step with a peer's products, softmax and the rest by plain loops.
  std::function<void()> bind(const Peer& peer);
  /// The peers' parameters back at the start.
  void reset();
  /// Compares a model after one step at `rate` from `initial` with the float64 step, of SGD or of Adam.
  void check_step(const Model& after, double rate, bool adam = false);

  Model initial;
  Model model;  ///< the peers'
  Tensor inputs;
  std::vector<std::int32_t> labels;
  float learning_rate = 1e-12F;  ///< read at every call; tiny while the clock runs

 private:
  // One float64 step; returns the smallest |pre-activation| of a hidden unit.
  double right_step(std::vector<std::vector<double>>& gradient, std::vector<std::vector<double>>& magnitude) const;
  std::vector<Tensor> activations_, gradients_;
  std::vector<float> losses_;
  std::vector<std::int32_t> predicted_;
};

}  // namespace kindling::bench
