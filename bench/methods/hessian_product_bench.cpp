// hessian_product: the exact Hessian of the mean cross-entropy times a vector of all parameters, beside one gradient of
// the same network on the same samples (forward, loss, backward with stored weight gradients, buffers made beforehand).
// At a prepared point activations and gradients are there already, as in every step of Lanczos but the first;
// hessian_product_anew makes them too. Asked for: at most four times the time of the gradient, from scratch.
#include <fmt/format.h>
#include <kindling/curvature.h>
#include <kindling/initialize.h>

#include <algorithm>
#include <cmath>

#include "kernels/dense.h"
#include "kernels/loss.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

struct Shape {
  const char* model;
  std::int64_t batch;
};
const Shape shapes[] = {{"784-256-100-10", 1000}, {"784-512-512-512-10", 1000}, {"784-512-512-512-10:tanh", 1000}};

struct HessianProblem {
  explicit HessianProblem(const Shape& s)
      : model(Model::parse(s.model)), x({s.batch, model.inputs()}), labels(static_cast<std::size_t>(s.batch)) {
    initialize_baseline(model, {}, context({&kernels::default_target(), 1}));
    fill_random(x.flat(), 3);
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i * 7 % 10);
    for (std::size_t l = 0; l < model.layers().size(); ++l) {
      const Layer& layer = model.layers()[l];
      block.layers.push_back(l);
      y.emplace_back(std::vector<std::int64_t>{s.batch, layer.units()});
      dz.emplace_back(std::vector<std::int64_t>{s.batch, layer.units()});
      dw.emplace_back(std::vector<std::int64_t>{layer.units(), layer.fan_in()});
      db.emplace_back(static_cast<std::size_t>(layer.units()));
    }
    loss.resize(labels.size());
    predicted.resize(labels.size());
    direction = Tensor({model.parameters()});
    result = Tensor({model.parameters()});
    fill_random(direction.flat(), 5, 0.01F);
  }

  static Context context(const kernels::Execution& e) {
    Context c;
    c.seed = 1;
    c.threads = e.threads;
    c.target = e.target->name;
    return c;
  }
  [[nodiscard]] LossCurvature curvature(const kernels::Execution& e) const {
    return {model, x, {LossKind::cross_entropy, labels, {}}, context(e)};
  }

  void gradient(const kernels::Execution& e) {
    const std::size_t last = model.layers().size() - 1;
    for (std::size_t l = 0; l <= last; ++l) {
      const Layer& layer = model.layers()[l];
      kernels::dense_forward(e, l == 0 ? x.view() : y[l - 1].view(), layer.weight, layer.bias.flat(), layer.activation,
                             y[l]);
    }
    kernels::softmax_cross_entropy(e, y[last], labels, 1.0F / static_cast<float>(labels.size()), loss, dz[last],
                                   predicted);
    for (std::size_t l = last;; --l) {
      kernels::dense_weight_gradient(e, l == 0 ? x.view() : y[l - 1].view(), dz[l], dw[l], db[l]);
      if (l == 0) return;
      kernels::dense_input_gradient(e, dz[l], model.layers()[l].weight, y[l - 1], model.layers()[l - 1].activation,
                                    dz[l - 1]);
    }
  }
  // The gradient that the Hessian is the derivative of.
  void verify_gradient(const kernels::Execution& e) {
    gradient(e);
    Tensor expected({model.parameters()});
    LossCurvature at = curvature(e);
    at.gradient(block, expected.flat());
    const float* g = expected.data();
    double off = 0, size = 0;
    for (std::size_t l = 0; l < dw.size(); ++l) {
      for (const float w : dw[l].flat()) {
        off += (double{w} - double{*g}) * (double{w} - double{*g});
        size += double{*g} * double{*g};
        ++g;
      }
      g += db[l].size();
    }
    if (!(off <= 1e-8 * size)) throw WrongAnswer("wrong answer: the gradient is not that of the curvature's point");
  }
  // Smooth activations: a directional derivative of the gradient by central differences. Across a finite step the masks
  // of a ReLU network flip, which the Hessian, taken beside the kinks, knows nothing of: there its symmetry is asked
  // for, and its values are what the tests compare.
  void verify_product(const kernels::Execution& e) {
    if (model.layers().front().activation.kind == ActivationKind::relu) {
      verify_symmetry(e);
      return;
    }
    constexpr float step = 0.03F;
    const auto moved = [&](float by) {
      const Model before = model.clone();
      const float* v = direction.data();
      for (Layer& layer : model.layers()) {
        for (float& w : layer.weight.flat()) w += by * *v++;
        for (float& b : layer.bias.flat()) b += by * *v++;
      }
      Tensor g({model.parameters()});
      curvature(e).gradient(block, g.flat());
      model = before.clone();
      return g;
    };
    const Tensor up = moved(step), down = moved(-step);
    double off = 0, size = 0;
    for (std::int64_t i = 0; i < up.size(); ++i) {
      const double wanted = (double{up.data()[i]} - double{down.data()[i]}) / (2 * step);
      off += (wanted - double{result.data()[i]}) * (wanted - double{result.data()[i]});
      size += wanted * wanted;
    }
    if (!(off <= 0.01 * size)) {
      throw WrongAnswer(fmt::format("wrong answer: the product is {:.2g} of its size off central differences",
                                    std::sqrt(off / size)));
    }
  }

  void verify_symmetry(const kernels::Execution& e) {
    Tensor other({model.parameters()}), of_other({model.parameters()});
    fill_random(other.flat(), 6, 0.01F);
    LossCurvature at = curvature(e);
    at.product(block, other.flat(), of_other.flat());
    double left = 0, right = 0, size_u = 0, size_hv = 0;
    for (std::int64_t i = 0; i < other.size(); ++i) {
      const double u = other.data()[i], hv = result.data()[i];
      left += u * hv, right += double{direction.data()[i]} * double{of_other.data()[i]};
      size_u += u * u, size_hv += hv * hv;
    }
    if (!(size_hv > 0) || !(std::abs(left - right) <= 1e-5 * std::sqrt(size_u * size_hv))) {
      throw WrongAnswer(fmt::format("wrong answer: u H v is {:.6g}, v H u {:.6g}", left, right));
    }
  }

  Model model;
  Tensor x, direction, result;
  std::vector<std::int32_t> labels, predicted;
  std::vector<Tensor> y, dz, dw;
  std::vector<std::vector<float>> db;
  std::vector<float> loss;
  HessianBlock block{{}, true};
};

void add_rows(Registry& registry, const Settings& settings) {
  for (const Shape& s : shapes) {
    for (const int threads : settings.threads) {
      for (const bool anew : {false, true}) {
        const Shared<HessianProblem> shared([s] { return std::make_shared<HessianProblem>(s); });
        Comparison comparison{.kernel = anew ? "hessian_product_anew" : "hessian_product",
                              .shape = fmt::format("{}x{}", s.model, s.batch),
                              .threads = threads,
                              .work = {.items = static_cast<double>(s.batch)},
                              .limit = Limit::none,
                              .goal = {.ratio = 0.25},
                              .contestants = {}};
        for (const kernels::Target* target : settings.targets) {
          const kernels::Execution execution{target, threads};
          comparison.contestants.push_back(
              {target->name, false, [shared, execution, anew] {
                 const auto p = shared.get();
                 const auto at = std::make_shared<LossCurvature>(p->curvature(execution));
                 const auto run = [p, at, execution, anew] {
                   if (anew) *at = p->curvature(execution);
                   at->product(p->block, p->direction.flat(), p->result.flat());
                 };
                 return Trial{run, [p, run, execution] { run(), p->verify_product(execution); }, {}};
               }});
          comparison.contestants.push_back({target->name + "_gradient", true, [shared, execution] {
                                              const auto p = shared.get();
                                              return Trial{[p, execution] { p->gradient(execution); },
                                                           [p, execution] { p->verify_gradient(execution); },
                                                           {}};
                                            }});
        }
        registry.add(std::move(comparison));
      }
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
