// softmax_hessian_product: (diag p - p p^T) t for every row, beside softmax_cross_entropy, which moves as many bytes
// and takes as many exponentials.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/loss.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

struct HessianProblem {
  HessianProblem(std::int64_t rows, std::int64_t classes)
      : logits({rows, classes}),
        tangent({rows, classes}),
        product({rows, classes}),
        loss({rows}),
        labels(static_cast<std::size_t>(rows)),
        predicted(labels.size()) {
    fill_random(logits.flat(), 5, 4.0F);
    fill_random(tangent.flat(), 6, 1.0F);
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i % product.view().cols());
  }

  // `gradient`: the answer is that of softmax_cross_entropy.
  void verify(bool gradient) const {
    const ConstTensorView z = logits.view(), t = tangent.view(), found = product.view();
    const std::int64_t classes = z.cols();
    const double relative = (32 + std::sqrt(static_cast<double>(classes))) * epsilon32;
    for (std::int64_t n = 0; n < z.rows(); ++n) {
      const double top = *std::max_element(z.row(n), z.row(n) + classes);
      double sum = 0, mean = 0;
      for (std::int64_t c = 0; c < classes; ++c) {
        sum += std::exp(z(n, c) - top);
        mean += std::exp(z(n, c) - top) * t(n, c);
      }
      mean /= sum;
      for (std::int64_t c = 0; c < classes; ++c) {
        const double p = std::exp(z(n, c) - top) / sum, hot = labels[static_cast<std::size_t>(n)] == c ? 1 : 0;
        const double wanted = gradient ? p - hot : p * (t(n, c) - mean);
        if (!(std::abs(double{found(n, c)} - wanted) <= relative * (p + hot) * (1 + std::abs(t(n, c))))) {
          throw WrongAnswer(
              fmt::format("wrong answer: row {}, class {} is {}, expected {}", n, c, found(n, c), wanted));
        }
      }
    }
  }

  Tensor logits, tangent, product, loss;
  std::vector<std::int32_t> labels, predicted;
};

void add_rows(Registry& registry, const Settings& settings) {
  for (const auto& [rows, classes] : {std::pair<std::int64_t, std::int64_t>{1000, 10}, {10'000, 10}}) {
    for (const int threads : settings.threads) {
      const Shared<HessianProblem> shared(
          [rows = rows, classes = classes] { return std::make_shared<HessianProblem>(rows, classes); });
      Comparison comparison{.kernel = "softmax_hessian_product",
                            .shape = shape_name({rows, classes}),
                            .threads = threads,
                            .work = {.bytes = 12.0 * static_cast<double>(rows * classes)},
                            .limit = Limit::memory,
                            .goal = {.ratio = 0.8},
                            .contestants = {}};
      for (const kernels::Target* target : settings.targets) {
        const kernels::Execution execution{target, threads};
        comparison.contestants.push_back(
            {target->name, false, [shared, execution] {
               const auto p = shared.get();
               const auto run = [p, execution] {
                 kernels::softmax_hessian_product(execution, p->logits, p->tangent, 1.0F, p->product);
               };
               return Trial{run, [p, run] { poison(p->product.flat()), run(), p->verify(false); }, {}};
             }});
        comparison.contestants.push_back(
            {target->name + "_softmax_cross_entropy", true, [shared, execution] {
               const auto p = shared.get();
               const auto run = [p, execution] {
                 kernels::softmax_cross_entropy(execution, p->logits, p->labels, 1.0F, p->loss.flat(), p->product,
                                                p->predicted);
               };
               return Trial{run, [p, run] { poison(p->product.flat()), run(), p->verify(true); }, {}};
             }});
      }
      registry.add(std::move(comparison));
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
