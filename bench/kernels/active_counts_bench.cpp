// active_counts: how often each unit of a layer is active, limited by the memory that the activations are read from.
#include <fmt/format.h>

#include "kernels/activity.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

struct ActivityProblem {
  ActivityProblem(std::int64_t rows, std::int64_t units) : y({rows, units}), counts(static_cast<std::size_t>(units)) {
    fill_random(y.flat(), 12);
  }

  void verify(const std::function<void()>& run) {
    std::fill(counts.begin(), counts.end(), -1);
    run();
    const ConstTensorView view = y.view();
    for (std::int64_t m = 0; m < view.cols(); ++m) {
      std::int32_t wanted = 0;
      for (std::int64_t n = 0; n < view.rows(); ++n) wanted += view(n, m) > 0 ? 1 : 0;
      const std::int32_t found = counts[static_cast<std::size_t>(m)];
      if (found != wanted) throw WrongAnswer(fmt::format("wrong answer: unit {} is {}, expected {}", m, found, wanted));
    }
  }

  Tensor y;
  std::vector<std::int32_t> counts;
};

void add_rows(Registry& registry, const Settings& settings) {
  for (const auto& [rows, units] : {std::pair<std::int64_t, std::int64_t>{10'000, 1000}, {60'000, 100}}) {
    for (const int threads : settings.threads) {
      const Shared<ActivityProblem> shared(
          [rows = rows, units = units] { return std::make_shared<ActivityProblem>(rows, units); });
      Comparison comparison{.kernel = "active_counts",
                            .shape = shape_name({rows, units}),
                            .threads = threads,
                            .work = {.bytes = 4.0 * static_cast<double>(rows) * static_cast<double>(units)},
                            .limit = Limit::memory,
                            .goal = {.of_peak = 0.8},
                            .contestants = {}};
      for (const kernels::Target* target : settings.targets) {
        const kernels::Execution execution{target, threads};
        comparison.contestants.push_back({target->name, false, [shared, execution] {
                                            const auto p = shared.get();
                                            const auto run = [p, execution] {
                                              static const kernels::Kernel kernel{"active_counts"};
                                              kernel(execution, kernels::in(p->y.view()),
                                                     kernels::out(std::span(p->counts)));
                                            };
                                            return Trial{run, [p, run] { p->verify(run); }, {}};
                                          }});
      }
      registry.add(std::move(comparison));
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
