// jacobian_row_norms and jacobian_norm_gradient: the norms of all rows of all layers' Jacobians of a ReLU network, from
// inputs to norms, and the gradient of sum (1 - norm)^2. Peers are PyTorch's (bench/peers/torch_jacobian.py), which run
// apart and are merged; on several threads the one-thread run stands beside.
#include <fmt/format.h>
#include <kindling/initialize.h>

#include <cmath>

#include "methods/bench_data.h"
#include "nn/jacobian.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

struct Shape {
  std::vector<std::int64_t> widths;
  std::int64_t batch;
};
const Shape shapes[] = {{{784, 256, 256, 256, 10}, 512}, {{784, 512, 256, 128, 10}, 512}, {{784, 100, 100, 2}, 512}};

std::string name_of(const Shape& s) {
  std::string name;
  for (const std::int64_t w : s.widths) name += (name.empty() ? "" : "-") + std::to_string(w);
  return name + "x" + std::to_string(s.batch);
}

struct JacobianProblem {
  explicit JacobianProblem(const Shape& s) : shape(s), model(Model::mlp(s.widths)), x({s.batch, s.widths.front()}) {
    std::uint64_t seed = 1;
    for (Layer& layer : model.layers()) {
      fill_random(layer.weight.flat(), seed++, std::sqrt(6.0F / static_cast<float>(layer.fan_in())));
      fill_random(layer.bias.flat(), seed++, 0.1F);
    }
    fill_random(x.flat(), seed);
  }

  static Context context(const kernels::Execution& execution) {
    Context c;
    c.threads = execution.threads;
    c.target = execution.target->name;
    return c;
  }
  void norms_by(const kernels::Execution& execution) { norms = jacobian_row_norms(model, x, context(execution)); }
  void gradient_by(const kernels::Execution& execution) {
    gradient = jacobian_norm_gradient(
        model, x,
        [this](std::int64_t, std::int64_t, ConstTensorView r, TensorView g) {
          const float scale = -2.0F / static_cast<float>(x.shape()[0]);
          for (std::int64_t i = 0; i < g.size(); ++i) g.data()[i] = scale * (1 - r.data()[i]);
        },
        context(execution));
  }

  // Row norms of some samples in float64.
  void verify_norms() const {
    const std::int64_t d = model.outputs(), n = shape.batch;
    for (const std::int64_t sample : {std::int64_t{0}, n / 2, n - 1}) {
      std::vector<std::vector<double>> z{{x.view().row(sample), x.view().row(sample) + x.view().cols()}};
      for (const Layer& layer : model.layers()) {
        std::vector<double> next;
        for (std::int64_t m = 0; m < layer.fan_out(); ++m) {
          double u = layer.bias.data()[m];
          for (std::int64_t k = 0; k < layer.fan_in(); ++k) u += double{layer.weight.view()(m, k)} * z.back()[k];
          next.push_back(std::max(u, 0.0));
        }
        z.push_back(next);
      }
      for (std::int64_t i = 0; i < d; ++i) {
        std::vector<double> v(static_cast<std::size_t>(d));
        v[static_cast<std::size_t>(i)] = 1;
        for (std::int64_t l = static_cast<std::int64_t>(model.layers().size()); l-- > 0;) {
          const ConstTensorView w = model.layers()[static_cast<std::size_t>(l)].weight;
          std::vector<double> s(static_cast<std::size_t>(w.cols()));
          double square = 0;
          for (std::int64_t k = 0; k < w.cols(); ++k) {
            double sum = 0;
            for (std::int64_t m = 0; m < w.rows(); ++m) sum += v[static_cast<std::size_t>(m)] * double{w(m, k)};
            s[static_cast<std::size_t>(k)] = l == 0 || z[static_cast<std::size_t>(l)][k] > 0 ? sum : 0;
            square += s[static_cast<std::size_t>(k)] * s[static_cast<std::size_t>(k)];
          }
          v = s;
          const double found = norms.data()[(l * n + sample) * d + i], wanted = std::sqrt(square);
          if (!(std::abs(found - wanted) <= 1e-4 * wanted + 1e-6)) {
            throw WrongAnswer(fmt::format("wrong answer: norm of layer {}, sample {}, output {} is {}, expected {}", l,
                                          sample, i, found, wanted));
          }
        }
      }
    }
  }
  // A directional derivative of the mean of sum (1 - r)^2, by central differences of the norms just verified.
  void verify_gradient(const kernels::Execution& execution) {
    const auto objective = [&] {
      norms_by(execution);
      double sum = 0;
      for (const float r : norms.flat()) sum += (1 - double{r}) * (1 - double{r});
      return sum / static_cast<double>(shape.batch);
    };
    const auto move = [&](float step) {
      for (std::size_t l = 0; l < gradient.size(); ++l)
        for (std::int64_t i = 0; i < gradient[l].weight.size(); ++i)
          model.layers()[l].weight.data()[i] += step * gradient[l].weight.data()[i];
    };
    double square = 0;
    for (const LayerGradient& layer : gradient)
      for (const float g : layer.weight.flat()) square += double{g} * double{g};
    const auto step = static_cast<float>(1e-3 / std::sqrt(square));
    const Model before = model.clone();
    move(step);
    const double up = objective();
    model = before.clone();
    move(-step);
    const double down = objective();
    model = before.clone();
    const double found = (up - down) / (2 * step);
    // Masks that flip on the way move the difference, by some percent at this step.
    if (!(std::abs(found - square) <= 0.1 * square)) {
      throw WrongAnswer(
          fmt::format("wrong answer: the gradient's square is {}, central differences give {}", square, found));
    }
  }

  Shape shape;
  Model model;
  Tensor x, norms;
  std::vector<LayerGradient> gradient;
  PeakMemory memory;
};

void add_rows(Registry& registry, const Settings& settings) {
  for (const Shape& s : shapes) {
    double rows = static_cast<double>(s.batch * s.widths.back()), flops = 0;
    for (std::size_t l = 0; l + 2 < s.widths.size(); ++l) {
      flops += 2 * rows * static_cast<double>(s.widths[l] * s.widths[l + 1]);
    }
    for (std::size_t l = 0; l + 1 < s.widths.size(); ++l) {
      flops += 2 * static_cast<double>(s.batch * s.widths[l] * s.widths[l + 1]);
    }
    for (const int threads : settings.threads) {
      for (const bool norms : {true, false}) {
        const Shared<JacobianProblem> shared([s] { return std::make_shared<JacobianProblem>(s); });
        Comparison comparison{.kernel = norms ? "jacobian_row_norms" : "jacobian_norm_gradient",
                              .shape = name_of(s),
                              .threads = threads,
                              .work = {.flops = flops * (norms ? 1 : 3)},
                              .contestants = {}};
        const auto contestant = [&](const std::string& name, bool peer, const kernels::Execution& execution) {
          comparison.contestants.push_back(
              {name, peer, [shared, execution, norms] {
                 const auto p = shared.get();
                 const auto run = [p, execution, norms] { norms ? p->norms_by(execution) : p->gradient_by(execution); };
                 const auto verify = [p, execution, norms] {
                   p->memory.start();
                   norms ? p->norms_by(execution) : p->gradient_by(execution);
                   if (!norms) return p->verify_gradient(execution);
                   p->verify_norms();
                 };
                 return Trial{run, verify, [p] {
                                return std::map<std::string, double>{{"peak_memory_rise_mib", p->memory.rise()}};
                              }};
               }});
        };
        for (const kernels::Target* target : settings.targets) {
          contestant(target->name, false, {target, threads});
          if (threads > 1) contestant(target->name + "_one_thread", true, {target, 1});
        }
        registry.add(std::move(comparison));
      }
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
