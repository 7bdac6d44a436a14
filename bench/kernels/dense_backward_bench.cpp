// The backward pass of a dense layer with its SGD step: dense_input_gradient with the ReLU mask below, then
// dense_weight_sgd. Peers do the same steps with their product and a pass by hand.
#include "kernels/dense.h"
#include "kernels/dense_problem.h"

namespace kindling::bench {
namespace {

void add_rows(Registry& registry, const Settings& settings) {
  const std::vector<std::string> peer_names{"openblas", "eigen"};
  report_missing_peers(registry, "dense_backward", peer_names);
  for (const DenseShape& s : dense_shapes) {
    for (const int threads : settings.threads) {
      const double n = static_cast<double>(s.batch), k = static_cast<double>(s.fan_in),
                   m = static_cast<double>(s.fan_out);
      Comparison comparison{.kernel = "dense_backward",
                            .shape = shape_name({s.batch, s.fan_in, s.fan_out}),
                            .threads = threads,
                            .work = {.flops = 4 * n * k * m, .bytes = 4 * (2 * n * k + n * m + 2 * m * k)},
                            .goal = {.ratio = 1.0, .of_peak = threads == 1 ? s.backward_of_peak : 0},
                            .contestants = {}};
      const Shared<BackwardProblem> shared([s] { return std::make_shared<BackwardProblem>(s); });
      add_targets(comparison, settings, shared, [](const kernels::Execution& execution, BackwardProblem& p) {
        kernels::dense_input_gradient(execution, p.dz, p.w, p.x, Activation{ActivationKind::relu}, p.dx);
        kernels::dense_weight_sgd(execution, p.x, p.dz, {p.w, p.bias.flat()}, {.learning_rate = p.learning_rate});
      });
      add_peers(
          comparison, shared,
          [](const Peer& peer, BackwardProblem& p) {
            return peer.dense_backward(
                {.dz = p.dz, .x = p.x, .w = p.w, .bias = p.bias.flat(), .dx = p.dx, .learning_rate = &p.learning_rate});
          },
          peer_names);
      registry.add(std::move(comparison));
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
