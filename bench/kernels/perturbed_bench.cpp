// perturbed_layer: one hidden layer of initialization learned by MMD, forward and input gradient under S perturbations,
// and the two ways to have them: drawn while the weights are packed and again in the backward pass (perturbed.h), or
// drawn once and stored, S M K floats, for plain dense kernels.
#include <algorithm>

#include "kernels/dense_problem.h"
#include "kernels/optimizer.h"
#include "kernels/perturbed.h"
#include "kernels/random.h"

namespace kindling::bench {
namespace {

constexpr std::int64_t samples = 100, batch = 50, fan_in = 256, fan_out = 256;
constexpr Activation relu{ActivationKind::relu};

struct PerturbedProblem {
  PerturbedProblem()
      : x({samples, batch, fan_in}),
        w({fan_out, fan_in}),
        y({samples, batch, fan_out}),
        dz({samples, batch, fan_out}),
        dx({samples, batch, fan_in}),
        bias(fan_out),
        stored({samples, fan_out * fan_in}) {
    fill_random(x.flat(), 1);
    std::transform(x.data(), x.data() + x.size(), x.data(), [](float v) { return std::max(v, 0.0F); });
    fill_random(w.flat(), 2, 0.1F);
    fill_random(dz.flat(), 3);
    fill_random(bias, 4);
  }
  static std::uint32_t block_of(std::int64_t sample) {
    return static_cast<std::uint32_t>(sample * kernels::perturbation_blocks(fan_in, fan_out));
  }
  ConstTensorView weights(std::int64_t s) const { return {stored.data() + s * fan_out * fan_in, {fan_out, fan_in}}; }
  void draw(const kernels::Execution& execution, std::int64_t s) {
    const std::span<float> sample = stored.flat().subspan(s * fan_out * fan_in, fan_out * fan_in);
    kernels::philox_normal(execution, noise.stream, 0, noise.weight_stddev, sample, block_of(s));
    kernels::sgd_step(execution, w.flat(), {.learning_rate = -1}, sample);
  }
  void drawn_once(const kernels::Execution& execution) {
    for (std::int64_t s = 0; s < samples; ++s) {
      draw(execution, s);
      kernels::dense_forward(execution, {x.data() + s * batch * fan_in, {batch, fan_in}}, weights(s), bias, relu,
                             {y.data() + s * batch * fan_out, {batch, fan_out}});
    }
    for (std::int64_t s = samples - 1; s >= 0; --s) {
      kernels::dense_input_gradient(execution, {dz.data() + s * batch * fan_out, {batch, fan_out}}, weights(s),
                                    {x.data() + s * batch * fan_in, {batch, fan_in}}, relu,
                                    {dx.data() + s * batch * fan_in, {batch, fan_in}});
    }
  }
  void regenerated(const kernels::Execution& execution) {
    kernels::perturbed_dense_forward(execution, noise, x.view(), w, bias, relu, y);
    kernels::perturbed_input_gradient(execution, noise, dz.view(), w, x.view(), relu, dx);
  }
  // The first and the last sample against float64.
  void verify(const kernels::Execution& execution, const std::function<void()>& run) {
    for (const std::int64_t s : {std::int64_t{0}, samples - 1}) draw(execution, s);
    const Tensor drawn = stored.clone();
    poison(y.flat());
    poison(dx.flat());
    run();
    for (const std::int64_t s : {std::int64_t{0}, samples - 1}) {
      const ConstTensorView w_s(drawn.data() + s * fan_out * fan_in, {fan_out, fan_in});
      const ConstTensorView x_s(x.data() + s * batch * fan_in, {batch, fan_in});
      const ConstTensorView dz_s(dz.data() + s * batch * fan_out, {batch, fan_out});
      const Tensor w_t = transposed(w_s);
      const auto rows = rows_to_check(batch, fan_in * fan_out);
      Expected forward = product(
          rows, fan_in, fan_out, [&](auto i, auto k) { return double{x_s(i, k)}; }, w_t);
      for (std::size_t i = 0; i < forward.value.size(); ++i)
        forward.value[i] = std::max(0.0, forward.value[i] + bias[i % fan_out]);
      check("perturbed layer", {y.data() + s * batch * fan_out, {batch, fan_out}}, forward);
      Expected back = product(
          rows, fan_out, fan_in, [&](auto i, auto m) { return double{dz_s(i, m)}; }, w_s);
      for (std::size_t i = 0; i < back.value.size(); ++i) {
        if (!(x_s(rows[i / fan_in], static_cast<std::int64_t>(i % fan_in)) > 0)) back.value[i] = 0;
      }
      check("its input gradient", {dx.data() + s * batch * fan_in, {batch, fan_in}}, back);
    }
  }

  const kernels::Perturbation noise{{.seed = 5, .purpose = Purpose::perturbation, .unit = 1, .step = 1}, 0.05F, 0.0F};
  Tensor x, w, y, dz, dx;
  std::vector<float> bias;
  Tensor stored;
};

void add_rows(Registry& registry, const Settings& settings) {
  for (const int threads : settings.threads) {
    const Shared<PerturbedProblem> shared([] { return std::make_shared<PerturbedProblem>(); });
    Comparison comparison{.kernel = "perturbed_layer",
                          .shape = shape_name({samples, batch, fan_in, fan_out}),
                          .threads = threads,
                          .work = {.flops = 4.0 * samples * batch * fan_in * fan_out},
                          .goal = {},
                          .contestants = {}};
    for (const kernels::Target* target : settings.targets) {
      const kernels::Execution execution{target, threads};
      for (const bool once : {false, true}) {
        comparison.contestants.push_back(
            {target->name + std::string(once ? "_stored" : ""), false, [shared, execution, once] {
               const auto p = shared.get();
               const auto run = [p, execution, once] { once ? p->drawn_once(execution) : p->regenerated(execution); };
               return Trial{run, [p, execution, run] { p->verify(execution, run); }, {}};
             }});
      }
    }
    registry.add(std::move(comparison));
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
