// softmax_cross_entropy: loss, gradient and arg-max of each row in one pass, beside a plain loop with std::exp.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/loss.h"
#include "peers/plain.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

struct LossProblem {
  LossProblem(std::int64_t rows, std::int64_t classes)
      : logits({rows, classes}),
        gradient({rows, classes}),
        loss({rows}),
        labels(static_cast<std::size_t>(rows)),
        predicted(labels.size()),
        scale(1.0F / static_cast<float>(rows)) {
    fill_random(logits.flat(), 5, 4.0F);
    for (std::size_t i = 0; i < labels.size(); ++i)
      labels[i] = static_cast<std::int32_t>((i * 7 + i / 13) % static_cast<std::size_t>(classes));
  }
  void verify(const std::function<void()>& run);

  Tensor logits, gradient, loss;
  std::vector<std::int32_t> labels, predicted;
  float scale;
};

void LossProblem::verify(const std::function<void()>& run) {
  poison(gradient.flat());
  poison(loss.flat());
  std::fill(predicted.begin(), predicted.end(), -1);
  run();
  const ConstTensorView z = logits.view();
  const ConstTensorView g = gradient.view();
  const std::int64_t classes = z.cols();
  // Each exponential is good to some ulp; a sum of C positive terms adds log2 C to C roundings.
  const double relative = (16 + std::sqrt(static_cast<double>(classes))) * epsilon32;
  for (std::int64_t n = 0; n < z.rows(); ++n) {
    const float* row = z.row(n);
    const float* top = std::max_element(row, row + classes);
    double sum = 0;
    for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(double{row[c]} - double{*top});
    const auto r = static_cast<std::size_t>(n);
    const double wanted = std::log(sum) - (double{row[labels[r]]} - double{*top});
    bool right =
        std::abs(double{loss.data()[n]} - wanted) <= relative * (1 + std::abs(wanted)) && predicted[r] == top - row;
    for (std::int64_t c = 0; c < classes && right; ++c) {
      const double p = std::exp(double{row[c]} - double{*top}) / sum;
      const double hot = c == labels[r] ? 1 : 0;
      right = std::abs(double{g(n, c)} - scale * (p - hot)) <= scale * relative * (p + hot);
    }
    if (!right)
      throw WrongAnswer(fmt::format("wrong answer: loss, gradient or prediction of row {} (loss {}, expected {})", n,
                                    loss.data()[n], wanted));
  }
}

void add_rows(Registry& registry, const Settings& settings) {
  for (const auto& [rows, classes] : {std::pair<std::int64_t, std::int64_t>{100, 10}, {10'000, 10}, {4096, 1000}}) {
    for (const int threads : settings.threads) {
      const Shared<LossProblem> shared(
          [rows = rows, classes = classes] { return std::make_shared<LossProblem>(rows, classes); });
      Comparison comparison{.kernel = "softmax_cross_entropy",
                            .shape = shape_name({rows, classes}),
                            .threads = threads,
                            .work = {.bytes = 4.0 * static_cast<double>(rows) * (2 * static_cast<double>(classes) + 3)},
                            .limit = Limit::memory,
                            .goal = {.ratio = 1},
                            .contestants = {}};
      for (const kernels::Target* target : settings.targets) {
        const kernels::Execution execution{target, threads};
        comparison.contestants.push_back({target->name, false, [shared, execution] {
                                            const auto p = shared.get();
                                            const auto run = [p, execution] {
                                              kernels::softmax_cross_entropy(execution, p->logits, p->labels, p->scale,
                                                                             p->loss.flat(), p->gradient, p->predicted);
                                            };
                                            return Trial{run, [p, run] { p->verify(run); }, {}};
                                          }});
      }
      comparison.contestants.push_back({"std_exp_loop", true, [shared] {
                                          const auto p = shared.get();
                                          const auto run = [p] {
                                            plain_softmax_cross_entropy(p->logits, p->labels, p->scale, p->loss.flat(),
                                                                        p->gradient, p->predicted);
                                          };
                                          return Trial{run, [p, run] { p->verify(run); }, {}};
                                        }});
      registry.add(std::move(comparison));
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
