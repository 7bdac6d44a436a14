// covariance: beside a symmetric rank-k update on a centred copy (OpenBLAS) and a product of centred copies (Eigen).
// The limit is the multiply-add peak for all D^2 elements; a peer that computes half of them can come to twice that.
#include <cmath>

#include "kernels/dense_problem.h"
#include "kernels/scatter.h"

namespace kindling::bench {
namespace {

struct CovarianceProblem {
  CovarianceProblem(std::int64_t rows, std::int64_t features)
      : x({rows, features}), covariance({features, features}), mean(static_cast<std::size_t>(features)) {
    fill_random(x.flat(), 12);
  }
  void run(const kernels::Execution& execution) { (void)kernels::covariance(execution, x, mean, covariance); }
  void verify(const std::function<void()>& call);

  Tensor x, covariance;
  std::vector<float> mean;
};

// A sample of the elements.
void CovarianceProblem::verify(const std::function<void()>& call) {
  poison(covariance.flat());
  call();
  const ConstTensorView data = x.view(), found = covariance.view();
  const auto n = static_cast<double>(data.rows());
  const std::int64_t step = std::max<std::int64_t>(1, data.cols() / 13);
  for (std::int64_t a = 0; a < data.cols(); a += step) {
    for (std::int64_t b = 0; b < data.cols(); b += step) {
      double mean_a = 0, mean_b = 0, sum = 0;
      for (std::int64_t i = 0; i < data.rows(); ++i) mean_a += data(i, a) / n, mean_b += data(i, b) / n;
      for (std::int64_t i = 0; i < data.rows(); ++i) sum += (data(i, a) - mean_a) * (data(i, b) - mean_b) / n;
      // Values up to 1 in size, n of them added up in float32.
      if (!(std::abs(found(a, b) - sum) <= 8 * std::sqrt(n) * epsilon32))
        throw WrongAnswer("wrong answer: covariance of features " + std::to_string(a) + " and " + std::to_string(b));
    }
  }
}

void add_rows(Registry& registry, const Settings& settings) {
  const std::vector<std::string> peer_names{"openblas", "eigen"};
  report_missing_peers(registry, "covariance", peer_names);
  for (const auto& [rows, features] :
       {std::pair<std::int64_t, std::int64_t>{10'000, 1000}, {60'000, 100}, {1000, 256}}) {
    for (const int threads : settings.threads) {
      const auto n = static_cast<double>(rows), d = static_cast<double>(features);
      const Shared<CovarianceProblem> shared(
          [rows = rows, features = features] { return std::make_shared<CovarianceProblem>(rows, features); });
      Comparison comparison{.kernel = "covariance",
                            .shape = shape_name({rows, features}),
                            .threads = threads,
                            .work = {.flops = 2 * n * d * d, .bytes = 4 * (n * d + d * d)},
                            .limit = Limit::multiply_add,
                            .goal = {},
                            .contestants = {}};
      add_targets(comparison, settings, shared,
                  [](const kernels::Execution& execution, CovarianceProblem& p) { p.run(execution); });
      add_peers(
          comparison, shared,
          [](const Peer& peer, CovarianceProblem& p) {
            return peer.covariance({.x = p.x, .covariance = p.covariance});
          },
          peer_names);
      registry.add(std::move(comparison));
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
