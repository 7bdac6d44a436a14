#include <fmt/format.h>
#include <kindling/initialize.h>
#include <kindling/random.h>

#include <Eigen/QR>
#include <algorithm>
#include <chrono>
#include <cmath>

#include "kernels/device_log.h"
#include "kernels/residency.h"
#include "methods/class_moments.h"
#include "methods/draw.h"

namespace kindling {
namespace {

double gain_of(const BaselineOptions& options, const Activation& activation) {
  if (options.gain != 0) return options.gain;
  return options.law == Law::he || options.law == Law::orthogonal ? activation_gain(activation) : 1.0;
}

// Orthonormal rows (or columns, if there are more rows than columns) from the QR factors of a Gaussian matrix, with the
// signs of R's diagonal moved into Q so that the law is uniform (Mezzadri 2007).
void draw_orthogonal(const Stream& stream, double gain, TensorView weight, const Context& context) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const bool wide = weight.cols() >= weight.rows();
  const std::int64_t large = wide ? weight.cols() : weight.rows();
  const std::int64_t small = wide ? weight.rows() : weight.cols();
  Matrix gaussian(large, small);
  fill_normal(stream, 0, 1, {gaussian.data(), static_cast<std::size_t>(gaussian.size())}, context);
  const Eigen::HouseholderQR<Eigen::Ref<Matrix>> qr(gaussian);
  Matrix q = qr.householderQ() * Matrix::Identity(large, small);
  for (std::int64_t j = 0; j < small; ++j) {
    if (qr.matrixQR()(j, j) < 0) q.col(j) *= -1;
  }
  kernels::on_host("orthogonal weights: QR factorization of a layer's normal draws");
  Eigen::Map<Matrix> out(weight.data(), weight.rows(), weight.cols());
  const auto scale = static_cast<float>(gain);
  if (wide) {
    out = scale * q.transpose();
  } else {
    out = scale * q;
  }
  kernels::changed(weight);
}

}  // namespace

double law_stddev(const BaselineOptions& options, std::int64_t fan_in, std::int64_t fan_out,
                  const Activation& activation) {
  const auto in = static_cast<double>(fan_in);
  const auto out = static_cast<double>(fan_out);
  const double gain = gain_of(options, activation);
  switch (options.law) {
    case Law::xavier: return gain * std::sqrt(2.0 / (in + out));
    case Law::lecun: return gain * std::sqrt(1.0 / in);
    case Law::orthogonal: return gain * std::sqrt(1.0 / std::max(in, out));
    case Law::he: {
      const double fan = options.fan == FanMode::fan_in ? in : options.fan == FanMode::fan_out ? out : (in + out) / 2;
      return gain / std::sqrt(fan);
    }
  }
  return 0;
}

void draw_weights(const BaselineOptions& options, double stddev, const Stream& stream, const Activation& activation,
                  TensorView weight, const Context& context) {
  if (options.law == Law::orthogonal) {
    draw_orthogonal(stream, gain_of(options, activation), weight, context);
  } else if (options.distribution == Distribution::normal) {
    fill_normal(stream, 0, static_cast<float>(stddev), weight.flat(), context);
  } else {
    const auto limit = static_cast<float>(std::sqrt(3.0) * stddev);
    fill_uniform(stream, -limit, limit, weight.flat(), context);
  }
}

void draw_biases(const BaselineOptions& options, const Stream& stream, std::int64_t fan_in, std::span<float> bias,
                 const Context& context) {
  if (options.bias == BiasRule::uniform) {
    const auto limit = static_cast<float>(1.0 / std::sqrt(static_cast<double>(fan_in)));
    fill_uniform(stream, -limit, limit, bias, context);
  } else {
    std::fill(bias.begin(), bias.end(), 0.0F);
    kernels::changed(bias);
  }
}

double root_mean_square(std::span<const float> values) {
  double sum = 0;
  for (const float v : values) sum += static_cast<double>(v) * v;
  return values.empty() ? 0 : std::sqrt(sum / static_cast<double>(values.size()));
}

void reset_batch_norm(Layer& layer) {
  if (layer.kind != LayerKind::batch_norm) return;
  for (Tensor* t : {&layer.weight, &layer.running_var}) std::fill(t->flat().begin(), t->flat().end(), 1.0F);
  for (Tensor* t : {&layer.bias, &layer.running_mean}) std::fill(t->flat().begin(), t->flat().end(), 0.0F);
  layer.batches_tracked = 0;
}

BaselineReport initialize_baseline(Model& model, const BaselineOptions& options, const Context& context) {
  if (!std::isfinite(options.gain) || options.gain < 0) {
    throw Error(ErrorCode::usage,
                fmt::format("gain: expected 0 (automatic) or a positive number, found {}", options.gain));
  }
  const auto start = std::chrono::steady_clock::now();
  BaselineReport report;
  std::uint32_t index = 0;
  for (Layer& layer : model.layers()) {
    context.check_stop();
    if (!layer.has_neurons()) {
      reset_batch_norm(layer);
      report.layers.push_back({layer.name, skipped_reason(layer)});
      continue;
    }
    const Activation& activation = model.neuron_activation(static_cast<std::size_t>(&layer - model.layers().data()));
    const double stddev = law_stddev(options, layer.fan_in(), layer.fan_out(), activation);
    draw_weights(options, stddev, {context.seed, Purpose::weights, index, 0}, activation, layer.weight.view().matrix(),
                 context);
    draw_biases(options, {context.seed, Purpose::biases, index, 0}, layer.fan_in(), layer.bias.flat(), context);
    report.layers.push_back({layer.name, "", root_mean_square(layer.weight.flat()), stddev});
    ++index;
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace kindling
