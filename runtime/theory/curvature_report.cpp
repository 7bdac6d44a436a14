// Jacobian norms, Theorem 2's bound and eq. 5 beside the exact curvature (Skorski, "Revisiting Initialization of Neural
// Networks"; corrections in docs/curvature.md).
#include <kindling/curvature.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "kernels/activation_kernels.h"
#include "kernels/device_log.h"
#include "kernels/jacobian.h"
#include "kernels/loss.h"
#include "nn/linear_layer.h"
#include "nn/power_iteration.h"
#include "theory/curvature_state.h"
#include "theory/lanczos.h"

namespace kindling {
namespace {

// Per sample and layer.
class SampleNorms {
 public:
  SampleNorms(const LossCurvature::State& state, const Context& context) : state_(state), n_(samples()) {
    for (std::size_t i = 0; i < state.depth(); ++i) {
      const Layer& l = state.layer(i);
      PowerIterationOptions options;
      options.start.unit = static_cast<std::uint32_t>(i);
      jacobian.push_back(
          l.has_neurons()
              ? largest_singular_values(layer_jacobians(state.exec, l, state.output(i)), options, context).value
              : fixed_norms(l));
      slope.push_back(greatest_slopes(i));
      input.push_back(row_norms(state.input(i)));
    }
    loss = loss_norms(context);
  }

  std::vector<std::vector<float>> jacobian, slope, input;  // ||J||, ||A||, ||z||; layers x samples
  std::vector<float> loss;                                 // ||H_z||

 private:
  [[nodiscard]] std::size_t samples() const { return static_cast<std::size_t>(state_.samples()); }

  // Max-pooling and flattening choose, so that their norm is at most 1 where windows do not overlap; a mean of p
  // numbers has the norm 1 / sqrt(p). Windows that overlap count a pixel as often as they do.
  [[nodiscard]] std::vector<float> fixed_norms(const Layer& l) const {
    double norm = 1;
    if (l.kind == LayerKind::max_pool || l.kind == LayerKind::average_pool) {
      const auto across = [&](std::int64_t size) { return (size + l.window.stride - 1) / l.window.stride; };
      const auto overlaps = static_cast<double>(across(l.window.height) * across(l.window.width));
      const auto pixels = static_cast<double>(l.window.height * l.window.width);
      norm = std::sqrt(overlaps / (l.kind == LayerKind::average_pool ? pixels : 1.0));
    }
    return std::vector<float>(n_, static_cast<float>(norm));
  }

  // ||A|| = max |f'| over the layer's units.
  [[nodiscard]] std::vector<float> greatest_slopes(std::size_t i) const {
    const ConstTensorView y = state_.output(i);
    std::vector<float> result(n_, 1.0F);
    if (!state_.layer(i).has_neurons() || state_.layer(i).activation.kind == ActivationKind::identity) return result;
    Tensor ones({y.rows(), y.cols()}), slopes({y.rows(), y.cols()});
    std::fill(ones.flat().begin(), ones.flat().end(), 1.0F);
    kernels::on_host("curvature: greatest slope of every sample's units");
    kernels::activation_gradient(state_.exec, y, state_.layer(i).activation, ones, slopes);
    for (std::size_t n = 0; n < n_; ++n) {
      const float* row = slopes.view().row(static_cast<std::int64_t>(n));
      result[n] = 0;
      for (std::int64_t m = 0; m < y.cols(); ++m) result[n] = std::max(result[n], std::abs(row[m]));
    }
    return result;
  }

  [[nodiscard]] std::vector<float> row_norms(ConstTensorView x) const {
    std::vector<float> result(n_);
    kernels::row_norms(state_.exec, x, result);
    return result;
  }

  // H_z is symmetric and positive semi-definite: its largest singular value is its norm.
  [[nodiscard]] std::vector<float> loss_norms(const Context& context) const {
    const std::int64_t d = state_.model->outputs();
    LinearMaps maps{.samples = state_.samples(), .inputs = d, .outputs = d};
    maps.apply = [&](ConstTensorView v, TensorView u) { state_.loss_hessian(v, 1, u); };
    maps.apply_transposed = [&](TensorView u, TensorView v) { state_.loss_hessian(u, 1, v); };
    return largest_singular_values(maps, {}, context).value;
  }

  const LossCurvature::State& state_;
  std::size_t n_;
};

// The two forms of Theorem 2's bound for layer k.
std::pair<double, double> bounds(const SampleNorms& norms, std::size_t k) {
  double from_input = 0, at_layer = 0;
  const std::size_t n = norms.loss.size();
  for (std::size_t s = 0; s < n; ++s) {
    double above = double{norms.slope[k][s]}, below = double{norms.input[0][s]};
    for (std::size_t i = k + 1; i < norms.jacobian.size(); ++i) above *= double{norms.jacobian[i][s]};
    for (std::size_t i = 0; i < k; ++i) below *= double{norms.jacobian[i][s]};
    const double here = double{norms.input[k][s]};
    from_input += double{norms.loss[s]} * above * above * below * below;
    at_layer += double{norms.loss[s]} * above * above * here * here;
  }
  return {from_input / static_cast<double>(n), at_layer / static_cast<double>(n)};
}

// eq. 5: for every layer k, the mean of ||z^(k) - J^(k-1) ... J^(0) z^(0)|| / ||z^(k)||.
std::vector<double> factorization_errors(const LossCurvature::State& state) {
  const auto n = static_cast<std::size_t>(state.samples());
  std::vector<double> errors{0.0};
  std::vector<float> one(n, 1.0F), minus(n, -1.0F), off(n), size(n);
  Tensor current({state.samples(), state.model->inputs()});
  kernels::Residency residency(state.exec);
  residency.keep(kernels::Residency::Role::scratch, current);
  kernels::copy_rows(state.exec, state.input(0), current);
  for (std::size_t i = 0; i + 1 < state.depth(); ++i) {
    const Layer& l = state.layer(i);
    Tensor next({state.samples(), l.output.features()}), difference({state.samples(), l.output.features()});
    residency.keep(kernels::Residency::Role::scratch, next);
    residency.keep(kernels::Residency::Role::scratch, difference);
    if (l.has_neurons()) {
      layer_jacobians(state.exec, l, state.output(i)).apply(current, next);
    } else {
      fixed_forward(state.exec, l, state.places(i), current, next);
    }
    kernels::jacobian_join(state.exec, next, one, state.output(i), minus, {next, {ActivationKind::identity}},
                           difference);
    kernels::row_norms(state.exec, difference, off);
    kernels::row_norms(state.exec, state.output(i), size);
    double sum = 0;
    for (std::size_t s = 0; s < n; ++s) sum += off[s] == 0 ? 0 : double{off[s]} / double{size[s]};
    errors.push_back(sum / static_cast<double>(n));
    residency.drop(difference);
    residency.drop(current);
    current = std::move(next);
  }
  return errors;
}

double mean(const std::vector<float>& values) {
  double sum = 0;
  for (const float v : values) sum += double{v};
  return sum / static_cast<double>(values.size());
}

}  // namespace

CurvatureReport curvature_report(const Model& model, ConstTensorView x, const LossTarget& target,
                                 const CurvatureOptions& options, const Context& context) {
  LossCurvature curvature(model, x, target, context);
  const LossCurvature::State& state = curvature.state();
  const SampleNorms norms(state, context);
  const std::vector<double> off = factorization_errors(state);
  CurvatureReport report{.loss = curvature.loss()};
  const bool piecewise_linear = std::none_of(model.layers().begin(), model.layers().end(), [](const Layer& l) {
    return l.has_neurons() && kernels::is_smooth(l.activation);
  });
  HessianBlock all{.biases = true};
  for (std::size_t i = 0; i < state.depth(); ++i) {
    if (state.layer(i).has_neurons()) all.layers.push_back(i);
  }
  for (const std::size_t i : all.layers) {
    const HessianBlock block{{i}};
    LanczosOptions gauss_newton = options.lanczos;
    gauss_newton.kind = HessianKind::gauss_newton;
    LayerCurvature entry{.layer = state.layer(i).name};
    entry.jacobian_norm = mean(norms.jacobian[i]);
    entry.hessian = extreme_eigenvalues(curvature, block, options.lanczos, context);
    // Without f'' the two are the same matrix (Theorem 1 is exact).
    entry.gauss_newton_norm =
        piecewise_linear ? entry.hessian.largest : extreme_eigenvalues(curvature, block, gauss_newton, context).largest;
    std::tie(entry.bound, entry.bound_at_layer) = bounds(norms, i);
    entry.factorization_error = off[i];
    const double top = entry.hessian.largest, infinite = std::numeric_limits<double>::infinity();
    entry.guaranteed_step = top > 0 ? 1 / top : infinite;
    entry.stability_limit = top > 0 ? 2 / top : infinite;
    report.layers.push_back(entry);
    context.report({"curvature", static_cast<std::int64_t>(report.layers.size()),
                    static_cast<std::int64_t>(all.layers.size()), entry.layer});
  }
  Tensor gradient({curvature.size(all)});
  kernels::Residency residency(state.exec);
  residency.keep(kernels::Residency::Role::scratch, gradient);
  curvature.gradient(all, gradient.flat());
  report.gradient_norm = std::sqrt(dot(state.exec, gradient.flat(), gradient.flat()));
  if (options.whole) report.whole = extreme_eigenvalues(curvature, all, options.lanczos, context);
  return report;
}

}  // namespace kindling
