// One step of SGD or Adam, as the training loop takes it; those of SGD beside the same step made of a BLAS library's
// products.
#include "methods/training_problem.h"
#include "nn/trainer.h"
#include "support.h"

namespace kindling::bench {
namespace {

Trial kindling_trial(const std::shared_ptr<TrainingProblem>& problem, const kernels::Execution& execution,
                     OptimizerKind kind) {
  const auto make = [problem, kind](float rate) {
    auto trainer = std::make_shared<Trainer>(problem->initial, problem->inputs.shape()[0],
                                             OptimizerOptions{.kind = kind, .learning_rate = rate});
    const auto rows = problem->inputs.shape()[0];
    std::copy(problem->inputs.flat().begin(), problem->inputs.flat().end(), trainer->inputs(rows).flat().begin());
    std::copy(problem->labels.begin(), problem->labels.end(), trainer->labels(rows).begin());
    return trainer;
  };
  const auto model = std::make_shared<Model>(problem->initial.clone());
  const auto rows = problem->inputs.shape()[0];
  return {[trainer = make(problem->learning_rate), model, execution, rows] { trainer->step(execution, *model, rows); },
          [problem, make, execution, rows, kind] {
            constexpr float rate = 0.5F;
            Model fresh = problem->initial.clone();
            make(rate)->step(execution, fresh, rows);
            problem->check_step(fresh, rate, kind == OptimizerKind::adam);
          },
          {}};
}

Trial peer_trial(const std::shared_ptr<TrainingProblem>& problem, const Peer& peer, int threads) {
  peer.set_threads(threads);
  const std::function<void()> step = problem->bind(peer);
  return {[problem, step] { step(); },
          [problem, step] {
            const float timed_rate = problem->learning_rate;
            problem->learning_rate = 0.5F;
            problem->reset();
            step();
            problem->check_step(problem->model, problem->learning_rate);
            problem->learning_rate = timed_rate;
          },
          {}};
}

void add_rows(Registry& registry, const Settings& settings) {
  struct Net {
    std::vector<std::int64_t> widths;
    std::int64_t batch;
    Goal goal;
    OptimizerKind kind = OptimizerKind::sgd;
  };
  for (const Net& net : {Net{{784, 256, 100, 10}, 100, {.ratio = 1, .of_peak = 0.5}},
                         Net{{784, 100, 10}, 100, {.ratio = 1}}, Net{{784, 32, 32, 32, 32, 10}, 100, {.ratio = 1}},
                         Net{{100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 10}, 32, {.ratio = 1}},
                         Net{{784, 512, 512, 10}, 100, {}, OptimizerKind::adam}}) {
    const bool adam = net.kind == OptimizerKind::adam;
    for (const int threads : settings.threads) {
      const Shared<TrainingProblem> shared([net] { return std::make_shared<TrainingProblem>(net.widths, net.batch); });
      Comparison comparison{.kernel = adam ? "training_step_adam" : "training_step",
                            .shape = Model::mlp(net.widths).description() + "x" + std::to_string(net.batch),
                            .threads = threads,
                            .work = {.flops = TrainingProblem::flops(net.widths, net.batch)},
                            .goal = {.ratio = net.goal.ratio, .of_peak = threads == 1 ? net.goal.of_peak : 0},
                            .contestants = {}};
      for (const kernels::Target* target : settings.targets) {
        const kernels::Execution execution{target, threads};
        comparison.contestants.push_back({target->name, false, [shared, execution, kind = net.kind] {
                                            return kindling_trial(shared.get(), execution, kind);
                                          }});
      }
      for (const PeerRow& row : peers()) {
        if (adam || (row.name != "openblas" && row.name != "eigen")) continue;
        if (row.peer == nullptr) {
          if (threads == settings.threads.front() && net.widths.size() == 4)
            registry.missing({"training_step", row.name, row.absent_because});
          continue;
        }
        const Peer* peer = row.peer;
        comparison.contestants.push_back(
            {row.name, true, [shared, peer, threads] { return peer_trial(shared.get(), *peer, threads); }});
      }
      registry.add(std::move(comparison));
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
