// donsker_varadhan: value and both gradients of the information bound, beside Eigen's vectorised exponentials.
#include <cmath>

#include "kernels/dense_problem.h"
#include "kernels/information.h"

namespace kindling::bench {
namespace {

struct InformationProblem {
  InformationProblem(std::int64_t estimates, std::int64_t samples)
      : joint({estimates, samples}),
        product({estimates, samples}),
        value({estimates}),
        joint_gradient({estimates, samples}),
        product_gradient({estimates, samples}) {
    fill_random(joint.flat(), 31, 3.0F);
    fill_random(product.flat(), 32, 3.0F);
  }

  void verify(const std::function<void()>& run) {
    for (Tensor* t : {&value, &joint_gradient, &product_gradient}) poison(t->flat());
    run();
    const std::int64_t samples = joint.view().cols();
    const auto n = static_cast<double>(samples);
    for (std::int64_t b = 0; b < joint.view().rows(); ++b) {
      double mean = 0, sum = 0;
      for (std::int64_t i = 0; i < samples; ++i) {
        mean += double{joint.view()(b, i)} / n;
        sum += std::exp(double{product.view()(b, i)}) / n;
      }
      // Scores of size 3; float32 sums of n terms.
      const double relative = 4 * (std::sqrt(n) + 4) * epsilon32;
      bool right = std::abs(double{value.data()[b]} - (mean - std::log(sum))) <= 7 * relative;
      for (std::int64_t i = 0; i < samples && right; ++i) {
        const double wanted = -std::exp(double{product.view()(b, i)}) / sum / n;
        right = std::abs(double{product_gradient.view()(b, i)} - wanted) <= relative * -wanted &&
                std::abs(double{joint_gradient.view()(b, i)} - 1 / n) <= epsilon32 / n;
      }
      if (!right) throw WrongAnswer("wrong answer: value or gradient of estimate " + std::to_string(b));
    }
  }

  Tensor joint, product, value, joint_gradient, product_gradient;
};

void add_rows(Registry& registry, const Settings& settings) {
  const std::vector<std::string> peer_names{"eigen"};
  report_missing_peers(registry, "donsker_varadhan", peer_names);
  for (const auto& [estimates, samples] : {std::pair<std::int64_t, std::int64_t>{1, 512}, {10, 4096}, {1, 1'000'000}}) {
    for (const int threads : settings.threads) {
      const Shared<InformationProblem> shared([estimates = estimates, samples = samples] {
        return std::make_shared<InformationProblem>(estimates, samples);
      });
      Comparison comparison{.kernel = "donsker_varadhan",
                            .shape = shape_name({estimates, samples}),
                            .threads = threads,
                            .work = {.bytes = 16.0 * static_cast<double>(estimates * samples)},
                            .limit = Limit::memory,
                            .goal = {.ratio = 1},
                            .contestants = {}};
      add_targets(comparison, settings, shared, [](const kernels::Execution& execution, InformationProblem& p) {
        kernels::donsker_varadhan(execution, p.joint, p.product, {}, {}, p.value.flat(), p.joint_gradient,
                                  p.product_gradient);
      });
      add_peers(
          comparison, shared,
          [](const Peer& peer, InformationProblem& p) {
            return peer.information_loss({p.joint, p.product, p.value.flat(), p.joint_gradient, p.product_gradient});
          },
          peer_names);
      registry.add(std::move(comparison));
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
