#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/random.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/dense.h"
#include "kernels/device_log.h"
#include "kernels/jacobian.h"
#include "kernels/loss.h"
#include "kernels/residency.h"
#include "theory/propagation.h"

namespace kindling {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct MeanAndDeviation {
  double mean = 0, deviation = 0;
};
MeanAndDeviation summary(const std::vector<double>& values) {
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  const auto n = static_cast<double>(values.size());
  for (const double v : values) squares += (v - sum / n) * (v - sum / n);
  return {sum / n, std::sqrt(squares / n)};
}

// The signals on their way: `scale` times what is stored, so that lengths may leave float32's range where the
// activation is homogeneous.
class Signals {
 public:
  Signals(const kernels::Execution& exec, const PropagationOptions& options, int network, const Context& context)
      : exec_(exec),
        options_(options),
        homogeneous_(options.activation.kind == ActivationKind::relu ||
                     options.activation.kind == ActivationKind::leaky_relu ||
                     options.activation.kind == ActivationKind::identity),
        x_({options.inputs, options.width}),
        y_({options.inputs, options.width}),
        norms_(static_cast<std::size_t>(options.inputs)),
        dots_(static_cast<std::size_t>(options.inputs / 2)),
        residency_(exec) {
    for (const Tensor* t : {&x_, &y_}) residency_.keep(kernels::Residency::Role::scratch, *t);
    fill_normal({context.seed, Purpose::probe, 0, static_cast<std::uint32_t>(network)}, 0, 1, x_.flat(), context);
    const double c = options.input_correlation, across = std::sqrt((1 - c) * (1 + c));
    if (c == 0) return;
    kernels::on_host("propagate: correlation of the first signals");
    kernels::fetch(x_);
    for (std::int64_t r = 0; r + 1 < options.inputs; r += 2) {
      const float* a = x_.view().row(r);
      float* b = x_.view().row(r + 1);
      for (std::int64_t j = 0; j < options.width; ++j) b[j] = static_cast<float>(c * a[j] + across * b[j]);
    }
    kernels::changed(x_);
  }

  [[nodiscard]] double scale() const { return scale_; }
  // The stored signals' activations after a layer; bias already divided by scale(). Returns the products it took.
  int advance(ConstTensorView w, std::span<const float> bias) {
    if (std::exchange(looked_, false) && homogeneous_) {  // f(z) = f'(z) z: no second product
      kernels::activation_gradient(exec_, y_, options_.activation, y_, x_);
      return 0;
    }
    kernels::dense_forward(exec_, x_, w, bias, options_.activation, y_);
    std::swap(x_, y_);
    return 1;
  }
  // Their pre-activations there, in the free matrix; before advance().
  LayerSignal look(int layer, ConstTensorView w, std::span<const float> bias) {
    kernels::dense_forward(exec_, x_, w, bias, {ActivationKind::identity}, y_);
    looked_ = true;
    const std::int64_t pairs = options_.inputs / 2, n = options_.width;
    kernels::row_norms(exec_, y_, norms_);
    const ConstTensorView even(y_.data(), pairs, n, 2 * n), odd(y_.data() + n, pairs, n, 2 * n);
    kernels::row_dots(exec_, even, odd, dots_);
    std::vector<double> lengths, correlations;
    for (const float norm : norms_)
      lengths.push_back(static_cast<double>(norm) * norm / static_cast<double>(n) * scale_ * scale_);
    for (std::size_t p = 0; p < dots_.size(); ++p) {
      correlations.push_back(dots_[p] / (static_cast<double>(norms_[2 * p]) * norms_[2 * p + 1]));
    }
    const MeanAndDeviation length = summary(lengths), correlation = summary(correlations);
    return {layer, length.mean, length.deviation, correlation.mean, correlation.deviation};
  }
  // Brings the stored signals back to length 1 before they leave float32's range. False when one is not finite.
  bool settle() {
    kernels::row_norms(exec_, x_, norms_);
    double sum = 0;
    for (const float norm : norms_) sum += static_cast<double>(norm) * norm;
    const double square = sum / static_cast<double>(x_.size());
    if (!std::isfinite(square)) return false;
    if (!homogeneous_ || square == 0 || (square > 1e-4 && square < 1e4)) return true;
    const double factor = std::sqrt(square);
    const std::vector<float> factors(norms_.size(), static_cast<float>(1 / factor));
    kernels::scale_rows(exec_, x_, factors, x_);
    scale_ *= factor;
    return true;
  }

 private:
  const kernels::Execution& exec_;
  const PropagationOptions& options_;
  bool homogeneous_;
  Tensor x_, y_;
  std::vector<float> norms_, dots_;
  double scale_ = 1;
  bool looked_ = false;
  kernels::Residency residency_;
};

void draw(const PropagationOptions& options, double weight_variance, std::uint32_t layer, std::uint32_t network,
          Tensor& weight, std::span<float> bias, const Context& context) {
  const CorrelatedOptions& law = options.law;
  fill_correlated_rows({context.seed, Purpose::weights, layer, network},
                       {.k = law.k, .sigma_squared = weight_variance, .beta_entry = law.beta_entry}, weight,
                       law.bias_entry ? bias : std::span<float>(), context);
  if (!law.bias_entry) {
    fill_normal({context.seed, Purpose::biases, layer, network}, 0, static_cast<float>(std::sqrt(law.bias_variance)),
                bias, context);
  }
}

}  // namespace

PropagationRun simulate_network(const kernels::Execution& execution, const PropagationOptions& options,
                                double weight_variance, int network, const Context& context) {
  const Clock::time_point start = Clock::now();
  PropagationRun run{.weight_variance = weight_variance, .network = network};
  Signals signals(execution, options, network, context);
  Tensor weight({options.width, options.width});
  std::vector<float> bias(static_cast<std::size_t>(options.width));
  kernels::Residency residency(execution);
  residency.keep(kernels::Residency::Role::scratch, weight);
  const double layer_flops =
      2.0 * static_cast<double>(options.inputs) * static_cast<double>(options.width * options.width);
  constexpr int settle_every = 4;  // a layer changes a length by far less than 1e8
  std::size_t next = 0;
  for (int layer = 1; layer <= options.layers.back(); ++layer) {
    context.check_stop();
    const Clock::time_point drawing = Clock::now();
    draw(options, weight_variance, static_cast<std::uint32_t>(layer - 1), static_cast<std::uint32_t>(network), weight,
         bias, context);
    run.sampling_seconds += seconds_since(drawing);
    for (float& b : bias) b = static_cast<float>(b / signals.scale());
    if (layer == options.layers[next]) {
      run.layers.push_back(signals.look(layer, weight, bias));
      run.flops += layer_flops;
      ++next;
    }
    if (layer == options.layers.back()) break;
    run.flops += layer_flops * signals.advance(weight, bias);
    if (layer % settle_every == 0 && !signals.settle()) {
      throw Error(ErrorCode::numerical,
                  fmt::format("propagation: weight variance {}, network {}: a signal is not finite after layer {}",
                              weight_variance, network, layer));
    }
  }
  run.seconds = seconds_since(start);
  return run;
}

}  // namespace kindling
