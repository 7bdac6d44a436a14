#include "methods/ibci_select.h"

#include <algorithm>

#include "kernels/residency.h"
#include "kernels/scatter.h"
#include "methods/campaign.h"

namespace kindling {
namespace {

IbciChoice campaign(const kernels::Execution& exec, ConstTensorView weight, std::span<const float> score,
                    std::int64_t count) {
  CampaignResult result = select_campaign(exec, weight, score, {.count = count});
  return {std::move(result.chosen),
          {result.residual.begin(), result.residual.end()},
          static_cast<int>(std::max<std::int64_t>(result.rounds, 1))};
}

// How many neurons each group sends: equal shares, and what small groups cannot fill goes to the others, the group of
// the lower class first.
std::vector<std::int64_t> quotas(const std::vector<std::vector<std::int64_t>>& groups, std::int64_t count) {
  std::vector<std::int64_t> quota(groups.size(), 0);
  while (count > 0) {
    bool placed = false;
    for (std::size_t g = 0; g < groups.size() && count > 0; ++g) {
      if (quota[g] < static_cast<std::int64_t>(groups[g].size())) {
        ++quota[g];
        --count;
        placed = true;
      }
    }
    if (!placed) break;
  }
  return quota;
}

IbciChoice grouped_campaigns(const kernels::Execution& exec, ConstTensorView weight, const IbciScores& scores,
                             const LayerScatter& scatter, int classes, std::int64_t count, bool use_campaign) {
  std::vector<std::vector<std::int64_t>> groups(static_cast<std::size_t>(classes));
  for (std::int64_t j = 0; j < weight.rows(); ++j) {
    const auto mean_of = [&](int c) { return scatter.class_mean[static_cast<std::size_t>(c * weight.rows() + j)]; };
    int best = -1;
    for (int c = 0; c < classes; ++c) {
      const bool seen = scatter.class_count[static_cast<std::size_t>(c)] > 0;
      if (seen && (best < 0 || mean_of(c) > mean_of(best))) best = c;
    }
    groups[static_cast<std::size_t>(best)].push_back(j);
  }
  const std::vector<std::int64_t> quota = quotas(groups, count);
  IbciChoice all;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (quota[g] == 0) continue;
    Tensor members({static_cast<std::int64_t>(groups[g].size()), weight.cols()});
    std::vector<float> score;
    for (const std::int64_t j : groups[g]) score.push_back(scores.score[static_cast<std::size_t>(j)]);
    kernels::Residency residency(exec);
    residency.keep(kernels::Residency::Role::scratch, members);
    if (use_campaign) pick_rows(exec, weight, groups[g], members);
    const IbciChoice part =
        use_campaign ? campaign(exec, members, score, quota[g]) : IbciChoice{select_top(score, quota[g]), {}, 1};
    for (const std::int64_t i : part.selected) all.selected.push_back(groups[g][static_cast<std::size_t>(i)]);
    all.residual_ratio.insert(all.residual_ratio.end(), part.residual_ratio.begin(), part.residual_ratio.end());
    all.rounds = std::max(all.rounds, part.rounds);
  }
  return all;
}

}  // namespace

void pick_rows(const kernels::Execution& exec, ConstTensorView from, std::span<const std::int64_t> rows,
               TensorView to) {
  const std::vector<std::int32_t> index(rows.begin(), rows.end());
  const std::vector<float> zeros(static_cast<std::size_t>(from.cols()), 0.0F), ones(zeros.size(), 1.0F);
  kernels::gather_rows(exec, from, index, zeros, ones, to);
}

IbciChoice ibci_select(const kernels::Execution& exec, ConstTensorView weight, const IbciScores& scores,
                       const LayerScatter& scatter, int classes, std::int64_t count, const IbciOptions& options) {
  if (options.variant == IbciVariant::program) {
    return grouped_campaigns(exec, weight, scores, scatter, classes, count, options.use_campaign);
  }
  if (!options.use_campaign) return {select_top(scores.score, count), {}, 1};
  return campaign(exec, weight, scores.score, count);
}

}  // namespace kindling
