// dense_forward: relu(X W^T + b), beside the libraries that people would use instead.
#include "kernels/dense.h"
#include "kernels/dense_problem.h"

namespace kindling::bench {
namespace {

void add_rows(Registry& registry, const Settings& settings) {
  const std::vector<std::string> peer_names{"openblas", "onednn", "onednn_matmul", "eigen"};
  report_missing_peers(registry, "dense_forward", peer_names);
  for (const DenseShape& s : dense_shapes) {
    for (const int threads : settings.threads) {
      const double n = static_cast<double>(s.batch), k = static_cast<double>(s.fan_in),
                   m = static_cast<double>(s.fan_out);
      Comparison comparison{.kernel = "dense_forward",
                            .shape = shape_name({s.batch, s.fan_in, s.fan_out}),
                            .threads = threads,
                            .work = {.flops = 2 * n * k * m, .bytes = 4 * (n * k + m * k + m + n * m)},
                            .goal = {.ratio = 1.0, .of_peak = threads == 1 ? s.forward_of_peak : 0},
                            .contestants = {}};
      const Shared<ForwardProblem> shared([s] { return std::make_shared<ForwardProblem>(s); });
      add_targets(comparison, settings, shared, [](const kernels::Execution& execution, ForwardProblem& p) {
        kernels::dense_forward(execution, p.x, p.w, p.bias.flat(), Activation{ActivationKind::relu}, p.y);
      });
      add_peers(
          comparison, shared,
          [](const Peer& peer, ForwardProblem& p) {
            return peer.dense_forward({.x = p.x, .w = p.w, .bias = p.bias.flat(), .relu = true, .y = p.y});
          },
          peer_names);
      registry.add(std::move(comparison));
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
