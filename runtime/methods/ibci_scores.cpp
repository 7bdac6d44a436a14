#include "methods/ibci_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace kindling {
namespace {

double inverse_norm(const std::vector<double>& values) {
  double square = 0;
  for (const double v : values) square += v * v;
  return square > 0 ? 1 / std::sqrt(square) : 0;
}

}  // namespace

IbciScores ibci_scores(const LayerScatter& scatter, const IbciOptions& options, double alpha,
                       const std::string& layer) {
  const std::size_t candidates = scatter.total.size();
  IbciScores scores;
  // The published program works with standard deviations where the paper has variances.
  const bool deviations = options.variant == IbciVariant::program;
  const auto measure = [deviations](double variance) {
    return deviations ? std::sqrt(std::max(variance, 0.0)) : variance;
  };
  for (std::size_t j = 0; j < candidates; ++j) {
    const double input = measure(scatter.total[j]);
    const double target = measure(scatter.between[j]) - measure(scatter.within[j]);
    if (!std::isfinite(input) || !std::isfinite(target)) {
      throw Error(ErrorCode::numerical,
                  fmt::format("ibci: {}: the criteria of candidate {} are not finite (input {}, target {})", layer, j,
                              input, target));
    }
    scores.input.push_back(input);
    scores.target.push_back(target);
  }
  scores.score.assign(candidates, 1.0F);
  if (!options.use_scores) return scores;

  double input_weight = options.variant == IbciVariant::program ? 1 - alpha : alpha;
  if (options.criteria == IbciCriteria::input) input_weight = 1;
  if (options.criteria == IbciCriteria::target) input_weight = 0;
  const double input_scale = input_weight * inverse_norm(scores.input);
  const double target_scale = (1 - input_weight) * inverse_norm(scores.target);
  std::vector<double> raw(candidates);
  for (std::size_t j = 0; j < candidates; ++j) raw[j] = input_scale * scores.input[j] + target_scale * scores.target[j];
  const auto [lowest, highest] = std::minmax_element(raw.begin(), raw.end());
  // Equal scores say nothing; left as zeros they would also silence the campaign's norm ratios.
  if (raw.empty() || *highest == *lowest) return scores;
  const double shift = std::min(*lowest, 0.0);
  for (std::size_t j = 0; j < candidates; ++j) scores.score[j] = static_cast<float>(raw[j] - shift);
  return scores;
}

}  // namespace kindling
