// propagation: 1024 signals through a random network of width 2048, weights drawn and lengths and overlaps measured on
// the way; correlated_rows: the weights of 20 such layers alone. Peers are PyTorch's
// (bench/peers/torch_propagation.py), which run apart and are merged.
#include <fmt/format.h>
#include <kindling/propagation.h>
#include <kindling/random.h>

#include <cmath>

#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

constexpr std::int64_t width = 2048, inputs = 1024;
constexpr int depth = 20, drawn_layers = 20;

Context context_of(const kernels::Execution& execution) {
  Context context;
  context.threads = execution.threads;
  context.target = execution.target->name;
  return context;
}

struct PropagationProblem {
  // Chaotic and bounded: signals neither vanish nor meet.
  PropagationOptions options{.law = {.k = 100, .bias_variance = 0.1},
                             .weight_variances = {2.5},
                             .layers = {1, 2, 8, depth},
                             .width = width,
                             .inputs = inputs,
                             .networks = 1};
  Propagation result;

  void verify() const {
    for (const PropagationRow& row : result.rows) {
      // A layer adds relative noise of about sqrt(5 / N) = 0.05, damped by later ones.
      if (std::abs(row.length / row.theory_length - 1) < 0.35 &&
          std::abs(row.correlation - row.theory_correlation) < 0.1)
        continue;
      throw WrongAnswer(fmt::format("wrong answer: layer {}: length {}, correlation {}, expected about {} and {}",
                                    row.layer, row.length, row.correlation, row.theory_length, row.theory_correlation));
    }
  }
};

struct RowsProblem {
  Tensor weight{{width, width}};

  void draw(const Context& context) {
    for (std::uint32_t layer = 0; layer < drawn_layers; ++layer)
      fill_correlated_rows({1, Purpose::weights, layer, 0}, {.k = 100, .sigma_squared = 2}, weight, {}, context);
  }
  void verify() const {
    double squares = 0, sums = 0;
    for (std::int64_t r = 0; r < width; ++r) {
      double sum = 0;
      for (std::int64_t c = 0; c < width; ++c) {
        const double w = weight.view()(r, c);
        sum += w, squares += w * w;
      }
      sums += sum * sum;
    }
    const double n = width;
    const double variance = 2 / n * (1 - 100.0 / 101 / n), narrow = 2.0 / 101;
    if (!(std::abs(squares / (n * n) / variance - 1) < 6 * std::sqrt(2 / (n * n))) ||
        !(std::abs(sums / n / narrow - 1) < 6 * std::sqrt(2 / n))) {
      throw WrongAnswer(fmt::format("wrong answer: entries have variance {}, row sums {}, expected {} and {}",
                                    squares / (n * n), sums / n, variance, narrow));
    }
  }
};

void add_rows(Registry& registry, const Settings& settings) {
  for (const int threads : settings.threads) {
    const Shared<PropagationProblem> propagation([] { return std::make_shared<PropagationProblem>(); });
    const Shared<RowsProblem> rows([] { return std::make_shared<RowsProblem>(); });
    Comparison signals{.kernel = "propagation",
                       .shape = shape_name({width, inputs, depth}),
                       .threads = threads,
                       .work = {.flops = 2.0 * depth * inputs * width * width},
                       .goal = {.ratio = 1.5, .of_peak = 0.85},
                       .contestants = {}};
    Comparison draws{.kernel = "correlated_rows",
                     .shape = shape_name({width, width, drawn_layers}),
                     .threads = threads,
                     .work = {.items = 1.0 * width * width * drawn_layers},
                     .limit = Limit::none,
                     .goal = {.ratio = 5},
                     .contestants = {}};
    for (const kernels::Target* target : settings.targets) {
      const Context context = context_of({target, threads});
      signals.contestants.push_back({target->name, false, [propagation, context] {
                                       const auto p = propagation.get();
                                       const auto run = [p, context] {
                                         p->result = simulate_propagation(p->options, context);
                                       };
                                       return Trial{run,
                                                    [p, run] {
                                                      run();
                                                      p->verify();
                                                    },
                                                    {}};
                                     }});
      draws.contestants.push_back({target->name, false, [rows, context] {
                                     const auto p = rows.get();
                                     const auto run = [p, context] { p->draw(context); };
                                     return Trial{run,
                                                  [p, run] {
                                                    poison(p->weight.flat());
                                                    run();
                                                    p->verify();
                                                  },
                                                  {}};
                                   }});
    }
    registry.add(std::move(signals));
    registry.add(std::move(draws));
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
