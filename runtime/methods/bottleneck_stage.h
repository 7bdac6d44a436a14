// One layer of bottleneck training: its frozen inputs, its own copy under training, its critics.
#pragma once

#include <kindling/bottleneck.h>

#include <memory>
#include <vector>

#include "methods/information_terms.h"
#include "nn/forward_pass.h"
#include "nn/stages.h"
#include "nn/trainer.h"

namespace kindling {

class BottleneckStage {
 public:
  BottleneckStage(const Model& model, const Stage& stage, std::size_t number, const Dataset& data,
                  const BottleneckOptions& options, const Context& context);

  /// Weight of I(X; L + noise) for a layer.
  static double beta_of(const Layer& layer, const BottleneckOptions& options);

  /// One update of each critic on the next batch. Returns whether warm-up goes on.
  bool warm_up();
  /// critic_updates steps of each critic, then one of the layer.
  void iterate();
  /// Mean bounds since the last call.
  InformationTerms::Values take_means();
  /// Copies the trained layers back.
  void finish(Model& model);
  void archive(StateArchive& archive);

  [[nodiscard]] std::int64_t warmup_updates() const { return warmup_updates_; }
  [[nodiscard]] std::int64_t iterations() const { return iterations_; }
  [[nodiscard]] bool warm() const { return warm_; }
  [[nodiscard]] bool cached() const { return inputs_.cached(); }
  [[nodiscard]] int restarts() const { return terms_.restarts(); }

 private:
  // The next batch: samples, labels, inputs of the stage.
  void draw();
  InformationTerms::Values update_critics();
  TermBatch batch(ConstTensorView outputs);

  const BottleneckOptions& options_;
  const Dataset& data_;
  Stage stage_;
  std::uint64_t seed_;
  std::uint32_t unit_;
  kernels::Execution exec_;
  Model model_;  // the stage alone
  PrefixOutputs inputs_;
  ForwardPass pass_;
  InformationTerms terms_;
  Trainer trainer_;
  Plateau target_plateau_, input_plateau_;
  Tensor stage_inputs_, samples_, gradient_;
  std::vector<std::int32_t> index_, labels_;
  std::int64_t batches_ = 0, warmup_updates_ = 0, iterations_ = 0;
  bool warm_ = false;
  double target_sum_ = 0, input_sum_ = 0;
  std::int64_t summed_ = 0;
  kernels::Residency residency_;
};

}  // namespace kindling
