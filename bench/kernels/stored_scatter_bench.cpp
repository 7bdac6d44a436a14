// stored_scatter: class moments and scatter of a stored matrix in one pass, beside two passes row by row (Eigen) and
// products with one-hot labels (OpenBLAS). The limit is reading the matrix once.
#include <cmath>

#include "kernels/dense_problem.h"
#include "kernels/scatter.h"

namespace kindling::bench {
namespace {

constexpr std::int64_t classes = 10;

struct ScatterProblem {
  ScatterProblem(std::int64_t rows, std::int64_t features)
      : z({rows, features}),
        mean({classes, features}),
        variance({classes, features}),
        labels(static_cast<std::size_t>(rows)) {
    fill_random(z.flat(), 11);
    // In no order that a branch predictor or prefetcher could learn.
    for (std::size_t i = 0; i < labels.size(); ++i)
      labels[i] = static_cast<std::int32_t>((i * 2654435761U >> 16U) % static_cast<std::size_t>(classes));
  }
  void run(const kernels::Execution& execution) { found = kernels::stored_scatter(execution, z, labels, classes); }
  void verify(const std::function<void()>& call);

  Tensor z, mean, variance;
  std::vector<std::int32_t> labels;
  kernels::StoredScatter found;
};

void ScatterProblem::verify(const std::function<void()>& call) {
  found = {};
  poison(mean.flat());
  poison(variance.flat());
  call();
  const ConstTensorView data = z.view();
  const bool is_peer = found.class_variance.empty();
  for (std::int64_t m = 0; m < data.cols(); ++m) {
    std::vector<double> n(classes), mu(classes), var(classes);
    double all = 0;
    for (std::int64_t i = 0; i < data.rows(); ++i) {
      const auto c = static_cast<std::size_t>(labels[static_cast<std::size_t>(i)]);
      n[c] += 1, mu[c] += double{data(i, m)}, all += double{data(i, m)} / static_cast<double>(data.rows());
    }
    for (std::size_t c = 0; c < classes; ++c) mu[c] /= n[c];
    double total = 0;
    for (std::int64_t i = 0; i < data.rows(); ++i) {
      const auto c = static_cast<std::size_t>(labels[static_cast<std::size_t>(i)]);
      var[c] += std::pow(double{data(i, m)} - mu[c], 2) / n[c];
      total += std::pow(double{data(i, m)} - all, 2) / static_cast<double>(data.rows());
    }
    for (std::size_t c = 0; c < classes; ++c) {
      const std::size_t at = c * static_cast<std::size_t>(data.cols()) + static_cast<std::size_t>(m);
      const double found_mean = is_peer ? double{mean.data()[at]} : found.criteria.class_mean[at];
      const double found_variance = is_peer ? double{variance.data()[at]} : found.class_variance[at];
      // Values up to 1 in size, n of them added up in float32.
      const double tolerance = 8 * std::sqrt(n[c]) * epsilon32;
      if (!(std::abs(found_mean - mu[c]) <= tolerance) || !(std::abs(found_variance - var[c]) <= tolerance)) {
        throw WrongAnswer("wrong answer: mean or variance of class " + std::to_string(c) + ", feature " +
                          std::to_string(m));
      }
    }
    if (!is_peer && !(std::abs(found.criteria.total[static_cast<std::size_t>(m)] - total) <= 1e-4 * total))
      throw WrongAnswer("wrong answer: total scatter of feature " + std::to_string(m));
  }
}

void add_rows(Registry& registry, const Settings& settings) {
  const std::vector<std::string> peer_names{"openblas", "eigen"};
  report_missing_peers(registry, "stored_scatter", peer_names);
  for (const auto& [rows, features] :
       {std::pair<std::int64_t, std::int64_t>{10'000, 1000}, {60'000, 100}, {100, 256}}) {
    for (const int threads : settings.threads) {
      const double elements = static_cast<double>(rows) * static_cast<double>(features);
      const bool large = elements >= 1e7;
      const Shared<ScatterProblem> shared(
          [rows = rows, features = features] { return std::make_shared<ScatterProblem>(rows, features); });
      Comparison comparison{.kernel = "stored_scatter",
                            .shape = shape_name({rows, features, classes}),
                            .threads = threads,
                            .work = {.flops = 4 * elements, .bytes = 4 * elements + 4 * static_cast<double>(rows)},
                            .limit = Limit::memory,
                            .goal = {.ratio = large ? 8.0 : 0, .of_peak = large ? 0.8 : 0},
                            .contestants = {}};
      add_targets(comparison, settings, shared,
                  [](const kernels::Execution& execution, ScatterProblem& p) { p.run(execution); });
      add_peers(
          comparison, shared,
          [](const Peer& peer, ScatterProblem& p) {
            return peer.class_moments({.z = p.z, .labels = p.labels, .mean = p.mean, .variance = p.variance});
          },
          peer_names);
      registry.add(std::move(comparison));
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
