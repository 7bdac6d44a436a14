// One step of initialization learned by MMD: the three losses, their gradients and Adam; beside
// bench/peers/torch_mmd.py.
#include <fmt/format.h>
#include <kindling/initialize.h>
#include <kindling/mmd.h>

#include <cmath>

#include "kernels/kernel_calls.h"
#include "methods/adam_state.h"
#include "methods/bench_data.h"
#include "methods/mmd_objective.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

const std::vector<std::int64_t> widths = {784, 256, 256, 256, 10};
constexpr std::int64_t batch = 50, samples = 100;

// Multiply-adds of the contractions, each as 2: perturbed layers forward, their input and weight gradients, and the
// Jacobians of all rows forth, back and in the weights (the input's through a Gram matrix).
double flops(bool span) {
  const double rows = batch * samples, hidden = 2.0 * 256 * 256 + 256 * 10, first = 784.0 * 256;
  double sum = 2 * rows * hidden * 3;
  sum += span ? 2 * (rows * batch * 256 + batch * first) : 2 * rows * first;
  sum += 2 * batch * first;                                               // the first layer's weight gradient
  sum += 3 * 2 * batch * 10.0 * (3.0 * 256 * 256) + 2 * 2 * first * 256;  // Jacobians
  return sum;
}

struct MmdProblem {
  explicit MmdProblem(bool span)
      : model(Model::mlp(widths)),
        options{.perturbations = samples, .batch = batch, .span = span},
        objective(model, options, batch),
        adam(adam_states(model)),
        x({batch, widths.front()}) {
    initialize_baseline(model, {.law = Law::xavier}, {.seed = 1});
    fill_random(x.flat(), 7);
    start = model.clone();
  }
  static Context context(const kernels::Execution& execution) {
    Context c;
    c.threads = execution.threads;
    c.target = execution.target->name;
    return c;
  }
  void step(const kernels::Execution& execution) {
    ++steps;
    objective.evaluate(model, x, static_cast<std::uint32_t>(steps), true, context(execution));
    adam_update(execution, model, objective.gradients(), adam, 1e-5, steps);
  }
  // Of the best of some steps: the time in kernels of contractions, among which are the first layer's with its draws,
  // and that of the draws by themselves.
  std::map<std::string, double> parts(const kernels::Execution& execution) {
    double contractions = 0, draws = 0;
    for (int i = 0; i < 9; ++i) {
      const kernels::KernelTimes times;
      step(execution);
      double sum = 0, drawn = 0;
      for (const auto& [kernel, seconds] : times.seconds) {
        for (const char* family : {"dense_", "perturbed_", "jacobian_"})
          sum += kernel.starts_with(family) ? seconds : 0;
        drawn += kernel.starts_with("philox_") || kernel == "sgd_step" ? seconds : 0;
      }
      if (i == 0 || sum < contractions) contractions = sum, draws = drawn;
    }
    return {{"contractions_gflops", 1e-9 * flops(options.span) / contractions},
            {"contractions_ms", 1e3 * contractions},
            {"draws_ms", 1e3 * draws}};
  }
  // The slope along the gradient, by central differences of the loss under the same draws. Without L_iod: its gradient
  // holds the ReLU masks, which flip across a finite step; and with a fixed bandwidth, since the gradient holds the
  // median.
  void verify(const kernels::Execution& execution) {
    MmdOptions smooth_terms = options;
    smooth_terms.xi = 0;
    smooth_terms.bandwidth = 0.5;
    MmdObjective smooth(model, smooth_terms, batch);
    model = start.clone();
    smooth.evaluate(model, x, 1, true, context(execution));
    std::vector<Tensor> direction;
    double square = 0;
    for (const LayerGradient& g : smooth.gradients()) {
      direction.push_back(g.weight.clone());
      for (const float v : g.weight.flat()) square += double{v} * double{v};
    }
    const double h = 3e-3;
    const auto at = [&](double sign) {
      for (std::size_t l = 0; l < direction.size(); ++l) {
        for (std::int64_t i = 0; i < direction[l].size(); ++i) {
          model.layers()[l].weight.data()[i] =
              start.layers()[l].weight.data()[i] +
              static_cast<float>(sign * h / std::sqrt(square)) * direction[l].data()[i];
        }
      }
      return smooth.evaluate(model, x, 1, false, context(execution)).total;
    };
    const double slope = (at(1) - at(-1)) / (2 * h);
    model = start.clone();
    if (!(std::abs(slope - std::sqrt(square)) <= 0.1 * std::sqrt(square))) {
      throw WrongAnswer(fmt::format("wrong answer: the gradient's norm is {}, central differences give {}",
                                    std::sqrt(square), slope));
    }
  }

  Model model, start;
  MmdOptions options;
  MmdObjective objective;
  std::vector<AdamState> adam;
  Tensor x;
  std::int64_t steps = 0;
  PeakMemory memory;
};

void add_rows(Registry& registry, const Settings& settings) {
  for (const bool span : {true, false}) {
    for (const int threads : settings.threads) {
      const Shared<MmdProblem> shared([span] { return std::make_shared<MmdProblem>(span); });
      Comparison comparison{.kernel = span ? "mmd_step" : "mmd_step_plain",
                            .shape = "784-256-256-256-10x50x100",
                            .threads = threads,
                            .work = {.flops = flops(span)},
                            .goal = {.ratio = span ? 2.0 : 0.0},  // and 0.6 of the peak by contractions_gflops
                            .contestants = {}};
      for (const kernels::Target* target : settings.targets) {
        const kernels::Execution execution{target, threads};
        comparison.contestants.push_back({target->name, false, [shared, execution] {
                                            const auto p = shared.get();
                                            return Trial{[p, execution] { p->step(execution); },
                                                         [p, execution] {
                                                           p->memory.start();
                                                           p->step(execution);
                                                           p->verify(execution);
                                                         },
                                                         [p, execution] {
                                                           std::map<std::string, double> counters = p->parts(execution);
                                                           counters["peak_memory_rise_mib"] = p->memory.rise();
                                                           return counters;
                                                         }};
                                          }});
      }
      registry.add(std::move(comparison));
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
