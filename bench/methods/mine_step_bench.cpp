// One step of MINE at the published sizes: scores of joint and product pairs, the Donsker-Varadhan bound, gradients and
// Adam. bench/peers/torch_mine.py gives the rows of PyTorch.
#include <fmt/format.h>

#include <cmath>

#include "nn/critic.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

struct Shape {
  std::int64_t first, second, batch;
};
// X beside a layer of 512, and, for AA-MINE, the layer beside itself.
constexpr Shape shapes[] = {{784, 512, 100}, {784, 512, 500}, {512, 512, 100}};

struct MineProblem {
  explicit MineProblem(const Shape& s) : shape(s), first({s.batch, s.first}), second({2 * s.batch, s.second}) {
    fill_random(first.flat(), 41, 1.7F);
    fill_random(second.flat(), 42, 1.7F);
  }

  // Multiply-adds that the step needs: the first argument's part of the first layer once for both kinds of pairs.
  static double flops(const Shape& s, std::int64_t width) {
    const auto n = static_cast<double>(s.batch), h = static_cast<double>(width);
    const double inputs = h * (n * static_cast<double>(s.first) + 2 * n * static_cast<double>(s.second));
    return 2 * (2 * inputs + 3 * 2 * n * h * h + 3 * 2 * n * h);
  }

  // The bound of a fresh critic in float64, and a step that raises it.
  void verify(const kernels::Execution& execution) const {
    Critic critic(shape.first, shape.second, shape.batch, {}, {1, Purpose::critic, 0, 0}, {});
    critic.forward(execution, first, second);
    const double right = plain_value(critic), before = critic.ascend(execution);
    critic.forward(execution, first, second);
    const double after = critic.value(execution);
    if (std::abs(before - right) > 1e-4 || !(after > before))
      throw WrongAnswer(fmt::format("mine_step: bound {} (right: {}), after the step {}", before, right, after));
  }

  double plain_value(Critic& critic) const {
    const auto parameters = critic.parameters();
    const auto layer = [](const Tensor& w, const Tensor* bias, std::vector<double> x, std::vector<double> sum) {
      const std::int64_t units = w.shape()[0], width = w.view().cols();
      sum.resize(static_cast<std::size_t>(units));
      for (std::int64_t m = 0; m < units; ++m) {
        double z = sum[static_cast<std::size_t>(m)] + (bias == nullptr ? 0.0 : double{bias->data()[m]});
        for (std::int64_t k = 0; k < width; ++k) z += double{w.data()[m * width + k]} * x[static_cast<std::size_t>(k)];
        sum[static_cast<std::size_t>(m)] = z;
      }
      return sum;
    };
    const auto leaky = [](std::vector<double> z) {
      for (double& v : z) v = v > 0 ? v : double{CriticOptions{}.leaky_slope} * v;
      return z;
    };
    const auto row = [](const Tensor& t, std::int64_t r) {
      return std::vector<double>(t.view().row(r), t.view().row(r) + t.view().cols());
    };
    double joint = 0, sum = 0;
    const auto n = static_cast<double>(shape.batch);
    for (std::int64_t i = 0; i < shape.batch; ++i) {
      const auto shared = layer(*parameters[0], parameters[1], row(first, i), {});
      for (const std::int64_t r : {i, shape.batch + i}) {
        auto z = leaky(layer(*parameters[2], nullptr, row(second, r), shared));
        z = leaky(layer(*parameters[3], parameters[4], z, {}));
        const double score = layer(*parameters[5], parameters[6], z, {}).front();
        (r == i ? joint : sum) += r == i ? score / n : std::exp(score) / n;
      }
    }
    return joint - std::log(sum);
  }

  Shape shape;
  Tensor first, second;
};

void add_rows(Registry& registry, const Settings& settings) {
  for (const Shape& s : shapes) {
    for (const int threads : settings.threads) {
      const Shared<MineProblem> shared([s] { return std::make_shared<MineProblem>(s); });
      Comparison comparison{.kernel = "mine_step",
                            .shape = shape_name({s.first, s.second, s.batch}),
                            .threads = threads,
                            .work = {.flops = MineProblem::flops(s, CriticOptions{}.hidden.front())},
                            .goal = {.ratio = 1.3, .of_peak = 0.75},
                            .contestants = {}};
      for (const kernels::Target* target : settings.targets) {
        const kernels::Execution execution{target, threads};
        comparison.contestants.push_back({target->name, false, [shared, execution] {
                                            const auto problem = shared.get();
                                            const auto critic = std::make_shared<Critic>(
                                                problem->shape.first, problem->shape.second, problem->shape.batch,
                                                CriticOptions{}, Stream{1, Purpose::critic, 0, 0}, Context{});
                                            return Trial{[problem, critic, execution] {
                                                           critic->forward(execution, problem->first, problem->second);
                                                           critic->ascend(execution);
                                                         },
                                                         [problem, execution] { problem->verify(execution); },
                                                         {}};
                                          }});
      }
      registry.add(std::move(comparison));
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
