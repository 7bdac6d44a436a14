// What a network's weights say about it, see include/kindling/inspect.h.
#include <fmt/format.h>
#include <kindling/inspect.h>

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/activity.h"
#include "kernels/dense.h"
#include "kernels/device_log.h"
#include "kernels/jacobian.h"
#include "kernels/loss.h"
#include "kernels/residency.h"
#include "nn/batches.h"
#include "nn/forward_pass.h"
#include "theory/inspect_findings.h"
#include "theory/lanczos.h"

namespace kindling {
namespace {

bool followed_by_batch_norm(const Model& model, std::size_t index) {
  return index + 1 < model.layers().size() && model.layers()[index + 1].kind == LayerKind::batch_norm;
}

constexpr std::int64_t gram_limit = 1024;  // Eigen's eigenvalues of a larger Gram matrix take longer than they tell

void weight_law(const Layer& layer, LayerInspection& entry) {
  const ConstTensorView w = layer.weight.view().matrix();
  const auto n = static_cast<double>(w.cols()), m = static_cast<double>(w.rows());
  double sum = 0, within = 0, sums_squared = 0, squares = 0;
  for (std::int64_t r = 0; r < w.rows(); ++r) {
    double row = 0, square = 0;
    for (std::int64_t c = 0; c < w.cols(); ++c) row += double{w(r, c)};
    for (std::int64_t c = 0; c < w.cols(); ++c) square += (double{w(r, c)} - row / n) * (double{w(r, c)} - row / n);
    sum += row;
    within += square;
    sums_squared += row * row;
    squares += square + row * row / n;
  }
  entry.weight_mean = sum / (n * m);
  if (w.cols() > 1) {
    entry.weight_variance = n * within / (m * (n - 1));
    entry.k = entry.weight_variance / (sums_squared / m) - 1;
    entry.k_error = (1 + entry.k) * std::sqrt(2 / m);
  } else {
    entry.weight_variance = squares / m;
    entry.k = entry.k_error = std::numeric_limits<double>::quiet_NaN();
  }
  double bias = 0;
  for (const float b : layer.bias.flat()) bias += double{b} * double{b};
  entry.bias_variance = bias / m;
  entry.independent_norm = std::sqrt(entry.weight_variance / n) * (std::sqrt(m) + std::sqrt(n));
  entry.stable_rank = squares;  // divided by the largest squared singular value below
}

void spectrum(const kernels::Execution& exec, const Layer& layer, LayerInspection& entry, const Context& context) {
  const ConstTensorView w = layer.weight.view().matrix();
  const std::vector<float> none(static_cast<std::size_t>(w.rows()));
  const Activation identity{ActivationKind::identity};
  std::vector<double>& values = entry.singular_values;
  if (w.rows() <= gram_limit) {
    Tensor gram({w.rows(), w.rows()});
    kernels::dense_forward(exec, w, w, none, identity, gram);
    const Eigen::MatrixXd g = Eigen::Map<const Eigen::MatrixXf>(gram.data(), w.rows(), w.rows()).cast<double>();
    const Eigen::VectorXd eigen =
        Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>(g, Eigen::EigenvaluesOnly).eigenvalues();
    const std::int64_t rank = std::min({w.rows(), w.cols(), std::int64_t{5}});
    for (std::int64_t i = 1; i <= rank; ++i) values.push_back(std::sqrt(std::max(eigen(w.rows() - i), 0.0)));
  } else if (w.cols() <= gram_limit) {
    Tensor gram({w.cols(), w.cols()});
    std::vector<float> sums(static_cast<std::size_t>(w.cols()));
    kernels::dense_weight_gradient(exec, w, w, gram, sums);
    const Eigen::MatrixXd g = Eigen::Map<const Eigen::MatrixXf>(gram.data(), w.cols(), w.cols()).cast<double>();
    const Eigen::VectorXd eigen =
        Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>(g, Eigen::EigenvaluesOnly).eigenvalues();
    const std::int64_t rank = std::min(w.cols(), std::int64_t{5});
    for (std::int64_t i = 1; i <= rank; ++i) values.push_back(std::sqrt(std::max(eigen(w.cols() - i), 0.0)));
  } else {
    Tensor u({1, w.rows()});
    kernels::Residency residency(exec);
    residency.keep(kernels::Residency::Role::scratch, u);
    const ExtremeEigenvalues found = lanczos(
        exec, w.cols(),
        [&](std::span<const float> v, std::span<float> result) {
          kernels::dense_forward(exec, ConstTensorView(v.data(), {1, w.cols()}), w, none, identity, u);
          kernels::jacobian_product(exec, u, w, TensorView(result.data(), {1, w.cols()}));
        },
        {.max_steps = 60, .tolerance = 1e-4}, {context.seed, Purpose::search}, context);
    values.push_back(std::sqrt(std::max(found.largest, 0.0)));
  }
  entry.stable_rank = values[0] > 0 ? entry.stable_rank / (values[0] * values[0]) : 0;
}

// What the samples do to the units of a layer, some samples at a time.
class Activities {
 public:
  Activities(const kernels::Execution& exec, const Model& model, ConstTensorView x)
      : exec_(exec), model_(model), x_(x), rows_(pass_rows(model, 256)), pass_(model, rows_), residency_(exec) {
    residency_.keep(kernels::Residency::Role::input, x_);
    pass_.keep_on(residency_);
  }

  LayerActivity of(std::size_t index, const Context& context) {
    const Layer& layer = model_.layers()[index];
    const Activation& f = model_.neuron_activation(index);
    // Behind batch-norm, where that is where the activation is.
    const bool normed = followed_by_batch_norm(model_, index);
    std::vector<std::int32_t> counts(static_cast<std::size_t>(layer.units())), total(counts);
    LayerActivity activity{.samples = x_.rows()};
    for (std::int64_t first = 0; first < x_.rows(); first += rows_) {
      context.check_stop();
      const std::int64_t count = std::min(rows_, x_.rows() - first);
      const ConstTensorView y = pass_.run(exec_, model_, x_.rows(first, count), index + (normed ? 2 : 1));
      // A convolution's pixels are samples of one unit: channels last makes them rows.
      const ConstTensorView units(y.data(), {y.size() / layer.units(), layer.units()});
      kernels::active_counts(exec_, units, counts);
      for (std::size_t u = 0; u < counts.size(); ++u) total[u] += counts[u];
      add(units, f, activity);
    }
    if (f.kind == ActivationKind::relu) activity.dead = std::count(total.begin(), total.end(), 0);
    const auto numbers = static_cast<double>(x_.rows() * layer.output.features());
    activity.mean_slope /= numbers;
    activity.output_mean_square /= numbers;
    return activity;
  }

 private:
  // Adds the sums of f' and of the squares.
  void add(ConstTensorView units, const Activation& f, LayerActivity& activity) {
    Tensor ones({units.rows(), units.cols()}), slopes({units.rows(), units.cols()});
    std::fill(ones.flat().begin(), ones.flat().end(), 1.0F);
    kernels::Residency residency(exec_);
    residency.keep(kernels::Residency::Role::input, ones);
    residency.keep(kernels::Residency::Role::scratch, slopes);
    kernels::activation_gradient(exec_, units, f, ones, slopes);
    std::vector<float> sums(static_cast<std::size_t>(units.rows())), norms(sums);
    kernels::row_dots(exec_, slopes, ones, sums);
    kernels::row_norms(exec_, units, norms);
    for (std::size_t r = 0; r < sums.size(); ++r) {
      activity.mean_slope += double{sums[r]};
      activity.output_mean_square += double{norms[r]} * double{norms[r]};
    }
  }

  const kernels::Execution& exec_;
  const Model& model_;
  ConstTensorView x_;
  std::int64_t rows_;
  ForwardPass pass_;
  kernels::Residency residency_;
};

std::optional<PhasePoint> phase_of(const Model& model, std::size_t index, const LayerInspection& entry) {
  const auto& layers = model.layers();
  const Layer& layer = layers[index];
  const bool normed = followed_by_batch_norm(model, index);
  const bool last = std::none_of(layers.begin() + static_cast<std::ptrdiff_t>(index) + 1, layers.end(),
                                 [](const Layer& l) { return l.has_neurons(); });
  if (normed || (last && layer.activation.kind == ActivationKind::identity)) return std::nullopt;
  // k is not below -1, where its estimate may end by rounding.
  const bool correlated = std::abs(entry.k) > 3 * entry.k_error && entry.k > -1 && std::isfinite(entry.k);
  const MeanFieldLaw law{entry.weight_variance, entry.bias_variance, correlated ? entry.k : 0};
  if (!(law.weight_variance > 0)) return std::nullopt;
  return phase_point(nonlinearity(layer.activation), law);
}

}  // namespace

Tensor training_inputs(const Dataset& data, std::int64_t count, const Context& context) {
  if (count < 0 || count > data.train.count) {
    throw Error(ErrorCode::usage,
                fmt::format("training_inputs: expected 0 to {} samples, found {}", data.train.count, count));
  }
  Tensor x({count, data.train.features});
  read_rows(kernels::execution(context), data, data.train, 0, x);
  return x;
}

Tensor layer_inputs(const Model& model, std::size_t layer, ConstTensorView x, const Context& context) {
  const std::size_t layers = model.layers().size();
  if (layer > layers)
    throw Error(ErrorCode::usage, fmt::format("layer_inputs: layer {}: the model has {} layers", layer, layers));
  if (x.cols() != model.inputs()) {
    throw Error(ErrorCode::usage,
                fmt::format("layer_inputs: the model takes {} inputs, found samples of {}", model.inputs(), x.cols()));
  }
  const kernels::Execution exec = kernels::execution(context);
  Tensor result({x.rows(), layer == 0 ? model.inputs() : model.layers()[layer - 1].output.features()});
  const std::int64_t most = std::min<std::int64_t>(pass_rows(model, 960), std::max<std::int64_t>(x.rows(), 1));
  ForwardPass pass(model, most);
  for (std::int64_t first = 0; first < x.rows(); first += most) {
    context.check_stop();
    const std::int64_t rows = std::min(most, x.rows() - first);
    const ConstTensorView features = pass.run(exec, model, x.rows(first, rows), layer);
    kernels::copy_rows(exec, features, result.view().rows(first, rows));
  }
  return result;
}

Inspection inspect(const Model& model, ConstTensorView x, const Context& context) {
  check_finite(model);
  const bool data = x.rank() > 0 && x.rows() > 0;
  if (data && x.cols() != model.inputs()) {
    throw Error(ErrorCode::usage,
                fmt::format("inspect: the model takes {} inputs, found samples of {}", model.inputs(), x.cols()));
  }
  const kernels::Execution exec = kernels::execution(context);
  Inspection result;
  result.signal_depth = std::numeric_limits<double>::infinity();
  kernels::on_host("inspect: moments of the weights, and eigenvalues of their Gram matrices");
  kernels::Residency residency(exec);
  keep_parameters(residency, model);
  std::optional<Activities> activities;
  if (data) activities.emplace(exec, model, x);
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    const Layer& layer = model.layers()[i];
    if (!layer.has_neurons()) continue;
    context.check_stop();
    LayerInspection entry{.layer = layer.name, .kind = to_string(layer.kind)};
    entry.units = layer.units();
    entry.fan_in = layer.fan_in();
    weight_law(layer, entry);
    spectrum(exec, layer, entry, context);
    if (activities) entry.activity = activities->of(i, context);
    entry.phase = phase_of(model, i, entry);
    if (entry.phase) {
      ++result.depth;
      result.signal_depth = std::min(result.signal_depth, entry.phase->correlation_depth);
    }
    entry.findings = layer_findings(layer, model.neuron_activation(i), entry);
    result.layers.push_back(std::move(entry));
    context.report(
        {"inspect", static_cast<std::int64_t>(i + 1), static_cast<std::int64_t>(model.layers().size()), layer.name});
  }
  result.findings = network_findings(result);
  return result;
}

}  // namespace kindling
