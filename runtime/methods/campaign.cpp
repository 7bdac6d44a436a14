#include "methods/campaign.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "methods/campaign_blocks.h"

namespace kindling {
namespace {

// The first entry that is not finite, or -1.
std::int64_t first_bad(std::span<const float> values) {
  const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  return bad == values.end() ? -1 : bad - values.begin();
}

void check_scores(std::span<const float> scores, std::int64_t count) {
  const auto total = static_cast<std::int64_t>(scores.size());
  if (count < 0 || count > total) {
    throw Error(ErrorCode::usage, "the number of candidates to choose must be 0 to " + std::to_string(total) +
                                      ", found " + std::to_string(count));
  }
  if (const std::int64_t i = first_bad(scores); i >= 0) {
    throw Error(ErrorCode::numerical, "the score of candidate " + std::to_string(i) + " is not finite");
  }
}

}  // namespace

CampaignResult select_campaign(const kernels::Execution& execution, ConstTensorView candidates,
                               std::span<const float> scores, const CampaignOptions& options) {
  if (candidates.rank() != 2 || candidates.cols() < 1) {
    throw Error(ErrorCode::bad_input,
                "candidates must be a matrix with at least one column, found " + shape_string(candidates.shape()));
  }
  if (candidates.rows() != static_cast<std::int64_t>(scores.size())) {
    throw Error(ErrorCode::bad_input, std::to_string(candidates.rows()) + " candidates need as many scores, found " +
                                          std::to_string(scores.size()));
  }
  if (!(options.exhausted_tolerance > 0 && options.exhausted_tolerance < 1)) {
    throw Error(ErrorCode::usage,
                "exhausted_tolerance must lie between 0 and 1, found " + std::to_string(options.exhausted_tolerance));
  }
  check_scores(scores, options.count);
  const auto negative = std::find_if(scores.begin(), scores.end(), [](float s) { return s < 0; });
  if (negative != scores.end()) {
    throw Error(ErrorCode::bad_input, "the score of candidate " + std::to_string(negative - scores.begin()) +
                                          " is negative: " + std::to_string(*negative));
  }
  return campaign::Campaign(execution, candidates, scores, options).run();
}

std::vector<std::int64_t> select_top(std::span<const float> scores, std::int64_t count) {
  check_scores(scores, count);
  std::vector<std::int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto better = [&](std::int64_t a, std::int64_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + count, order.end(), better);
  order.resize(static_cast<std::size_t>(count));
  return order;
}

}  // namespace kindling
