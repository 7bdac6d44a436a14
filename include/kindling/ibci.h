#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>
#include <kindling/initialize.h>
#include <kindling/model.h>

#include <cstdint>
#include <string>
#include <vector>

namespace kindling {

/// How the weight of the input criterion runs over the layers.
struct AlphaSchedule {
  /// One value: the same for every layer. Two: linear from first to last layer. As many as layers: one each.
  std::vector<double> values{0.9, 0.1};
  /// The value of layer `index` of `layers`. Throws Error{usage} for values outside [0, 1] or a wrong count.
  [[nodiscard]] double at(std::size_t index, std::size_t layers) const;
};

enum class IbciCriteria {
  both,   ///< alpha * IIM + (1 - alpha) * TIE
  input,  ///< IIM alone (eq. 8)
  target  ///< TIE alone (eq. 9)
};
enum class IbciVariant {
  paper,   ///< the paper's equations
  program  ///< the authors' published program, which differs from it
};
enum class ScoreOn {
  automatic,  ///< post-activation for hidden layers, logits for the last
  pre_activation,
  post_activation
};

/// Information-bottleneck guided neuron campaign (arXiv 2108.06530).
struct IbciOptions {
  BaselineOptions law{.law = Law::xavier};  ///< where candidates come from, with the layer's true fans
  int k = 5;                                ///< candidates per neuron
  AlphaSchedule alpha;
  IbciCriteria criteria = IbciCriteria::both;
  IbciVariant variant = IbciVariant::paper;
  ScoreOn score_on = ScoreOn::automatic;
  bool use_scores = true;             ///< false: campaign alone, all scores 1
  bool use_campaign = true;           ///< false: the best scores, whatever their directions
  std::int64_t samples = 0;           ///< random subset of the training split per layer (section 3.3); 0: all
  double cache_mb = 150;              ///< frozen outputs kept in memory up to this size, recomputed beyond
  std::int64_t batch = 0;             ///< rows a pass, a multiple of the moment kernels' group; 0: automatic
  int max_program_candidates = 1000;  ///< variant program only
};

struct IbciLayerReport {
  std::string layer;
  std::string skipped;
  double alpha = 0;
  std::int64_t candidates = 0;
  std::int64_t chosen = 0;
  int rounds = 1;                      ///< how often the null space ran out, plus one
  std::vector<std::int64_t> selected;  ///< candidate numbers in the order of choice
  std::vector<double> selected_score;  ///< s_i of the chosen
  std::vector<double> residual_ratio;  ///< |p_i| / |w_i| at the choice
  double mean_score_chosen = 0;
  double mean_score_refused = 0;
  double input_criterion_chosen = 0;  ///< mean IIM of the chosen, unnormalised
  double input_criterion_refused = 0;
  double target_criterion_chosen = 0;  ///< mean TIE of the chosen, unnormalised
  double target_criterion_refused = 0;
  double weight_stddev = 0;  ///< root mean square of the chosen weights
  double law_stddev = 0;
  bool cached = false;  ///< whether the layer's outputs were kept
  double seconds_moments = 0;
  double seconds_selection = 0;
  double seconds_propagation = 0;
};
struct IbciReport {
  std::vector<IbciLayerReport> layers;
  double seconds = 0;
};

/// Initializes every layer, front to back, output layer included. Biases become zero unless options.law.bias asks for
/// random ones, which then belong to the candidates. Throws Error{usage} for options
/// that do not fit (k < 1, more neurons asked than candidates), Error{bad_input} for data that does not fit the model,
/// Error{numerical} naming layer and candidate for a NaN, Error{interrupted}.
IbciReport initialize_ibci(Model& model, const Dataset& data, const IbciOptions& options, const Context& context);

/// The paper's random search for alpha (section 4.1): draws one value per layer on [0, 1], not increasing with depth,
/// initializes and trains for a few epochs, and keeps the draw with the lowest validation error.
struct AlphaSearchOptions {
  int draws = 20;
  int epochs = 2;
  std::int64_t batch = 100;
  double learning_rate = 0.1;
};
struct AlphaSearchReport {
  std::vector<std::vector<double>> alphas;  ///< draw by draw
  std::vector<double> validation_errors;    ///< of each draw, after the last epoch
  std::size_t best = 0;                     ///< the first of the lowest
};
/// Leaves `model` as it was. Throws Error{usage} when the data has no validation split.
AlphaSearchReport search_alpha(const Model& model, const Dataset& data, const IbciOptions& options,
                               const AlphaSearchOptions& search, const Context& context);

/// The control of a comparison: the same law, biases and root-mean-square weight of every layer as IBCI under the same
/// options and seed, but neurons drawn without any selection.
IbciReport initialize_ibci_control(Model& model, const Dataset& data, const IbciOptions& options,
                                   const Context& context);

}  // namespace kindling
