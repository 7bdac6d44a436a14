// What follows training by information: nothing in I(Y; outputs) says which output stands for which class, so that a
// linear layer over the outputs is trained by cross entropy and multiplied into the last one.
#pragma once

#include <kindling/bottleneck.h>

#include <vector>

#include "kernels/residency.h"
#include "nn/stages.h"
#include "nn/state_archive.h"
#include "nn/trainer.h"

namespace kindling {

/// Throws Error{usage}, naming `what`, unless the model ends with a dense layer without activation.
void expect_foldable(const std::string& what, const Model& model);

class PostTraining {
 public:
  /// The model may not change before fold_into().
  PostTraining(const Model& model, const Dataset& data, const PostTrainingOptions& options, std::int64_t batch,
               double cache_mb, const Context& context);

  [[nodiscard]] bool done() const { return steps_ == options_.iterations; }
  /// Throws Error{numerical} when the loss is not finite.
  void step();
  /// Mean cross entropy of the last 100 steps, in nats.
  [[nodiscard]] double loss() const { return loss_; }
  /// The last layer, W and b, becomes V S W and V S (b - mean) + c, S the outputs' scaling; sums in float64.
  void fold_into(Layer& last) const;
  void archive(StateArchive& archive);

 private:
  void measure(std::int64_t count);

  const Dataset& data_;
  PostTrainingOptions options_;
  std::uint64_t seed_;
  std::int64_t batch_, steps_ = 0;
  double loss_ = 0, sum_ = 0;
  kernels::Execution exec_;
  Model linear_;
  PrefixOutputs outputs_;
  std::vector<float> mean_, inverse_std_;  // of the outputs: how large they are says nothing, and Adam's steps do
  Trainer trainer_;
  kernels::Residency residency_;
};

}  // namespace kindling
