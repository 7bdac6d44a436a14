// dense_moments: class moments of relu(X W^T + b) without storing it, beside the plain forward pass on the same shape,
// which must store it and has no moments yet.
#include <algorithm>
#include <cmath>

#include "kernels/dense.h"
#include "kernels/dense_problem.h"

namespace kindling::bench {
namespace {

constexpr std::int64_t classes = 10;

struct MomentsProblem {
  explicit MomentsProblem(const DenseShape& s)
      : forward(s),
        labels(static_cast<std::size_t>(s.batch)),
        shift(static_cast<std::size_t>(s.fan_out), 0.25F),
        sum(static_cast<std::size_t>(classes * s.fan_out)),
        sum_squares(sum.size()) {
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>((i * 7 + i / 13) % classes);
  }

  void run(const kernels::Execution& execution) {
    kernels::dense_moments(execution, forward.x, forward.w, forward.bias.flat(), Activation{ActivationKind::relu},
                           labels, shift, classes, sum, sum_squares);
  }
  void verify(const std::function<void()>& call);

  ForwardProblem forward;
  std::vector<std::int32_t> labels;
  std::vector<float> shift;
  std::vector<double> sum, sum_squares;
};

void MomentsProblem::verify(const std::function<void()>& call) {
  std::fill(sum.begin(), sum.end(), 0.0);
  std::fill(sum_squares.begin(), sum_squares.end(), 0.0);
  call();
  const ConstTensorView w = forward.w.view();
  const std::int64_t k = w.cols();
  const std::int64_t m = w.rows();
  const auto n = static_cast<std::int64_t>(labels.size());
  // Features in rows: each one's pre-activations for all samples.
  const Expected z = product(
      rows_to_check(m, k * n), k, n, [&](std::int64_t i, std::int64_t j) { return double{w(i, j)}; },
      transposed(forward.x.view()));
  // Samples are summed in float32 within a group only.
  const double summing = 4 * std::sqrt(static_cast<double>(kernels::moment_group_rows)) * epsilon32;
  for (std::size_t r = 0; r < z.rows.size(); ++r) {
    const auto feature = static_cast<std::size_t>(z.rows[r]);
    std::vector<double> s(classes), s_error(classes), q(classes), q_error(classes);
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const std::size_t at = r * static_cast<std::size_t>(n) + i;
      const double v = std::max(0.0, z.value[at] + double{forward.bias.data()[feature]}) - double{shift[feature]};
      const double error = z.tolerance[at] + 4 * epsilon32;  // of one activation, its bias and shift
      const auto c = static_cast<std::size_t>(labels[i]);
      s[c] += v;
      s_error[c] += error + summing * std::abs(v);
      q[c] += v * v;
      q_error[c] += 2 * std::abs(v) * error + error * error + summing * v * v;
    }
    for (std::size_t c = 0; c < classes; ++c) {
      const std::size_t at = c * static_cast<std::size_t>(m) + feature;
      if (!(std::abs(sum[at] - s[c]) <= s_error[c]) || !(std::abs(sum_squares[at] - q[c]) <= q_error[c])) {
        throw WrongAnswer("wrong answer: moments of feature " + std::to_string(feature) + ", class " +
                          std::to_string(c) + " are " + std::to_string(sum[at]) + ", " +
                          std::to_string(sum_squares[at]) + ", expected " + std::to_string(s[c]) + ", " +
                          std::to_string(q[c]));
      }
    }
  }
}

void add_rows(Registry& registry, const Settings& settings) {
  for (const DenseShape& s : dense_shapes) {
    if (s.batch < 100) continue;  // moments of a few samples are nobody's work
    for (const int threads : settings.threads) {
      const double n = static_cast<double>(s.batch), k = static_cast<double>(s.fan_in),
                   m = static_cast<double>(s.fan_out);
      for (const kernels::Target* target : settings.targets) {
        const kernels::Execution execution{target, threads};
        const Shared<MomentsProblem> shared([s] { return std::make_shared<MomentsProblem>(s); });
        Comparison comparison{.kernel = "dense_moments",
                              .shape = shape_name({s.batch, s.fan_in, s.fan_out}),
                              .threads = threads,
                              .work = {.flops = 2 * n * k * m, .bytes = 4 * (n * k + m * k + m + n)},
                              .goal = {.ratio = 1 / 1.05},
                              .contestants = {}};
        comparison.contestants.push_back({target->name, false, [shared, execution] {
                                            const auto p = shared.get();
                                            const auto call = [p, execution] { p->run(execution); };
                                            return Trial{call, [p, call] { p->verify(call); }, {}};
                                          }});
        comparison.contestants.push_back({"dense_forward_" + target->name, true, [shared, execution] {
                                            const auto p = shared.get();
                                            const auto call = [p, execution] {
                                              ForwardProblem& f = p->forward;
                                              kernels::dense_forward(execution, f.x, f.w, f.bias.flat(),
                                                                     Activation{ActivationKind::relu}, f.y);
                                            };
                                            return Trial{call, [p, call] { p->forward.verify(call); }, {}};
                                          }});
        registry.add(std::move(comparison));
      }
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
