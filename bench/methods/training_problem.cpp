#include "methods/training_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "peers/plain.h"

namespace kindling::bench {

using Doubles = std::vector<double>;

TrainingProblem::TrainingProblem(const std::vector<std::int64_t>& widths, std::int64_t batch)
    : initial(Model::mlp(widths)),
      inputs({batch, widths.front()}),
      labels(static_cast<std::size_t>(batch)),
      losses_(labels.size()),
      predicted_(labels.size()) {
  for (std::size_t i = 0; i < labels.size(); ++i)
    labels[i] = static_cast<std::int32_t>((i * 7 + i / 13) % static_cast<std::size_t>(widths.back()));
  for (std::size_t l = 0; l < initial.layers().size(); ++l) {
    Layer& layer = initial.layers()[l];
    fill_random(layer.weight.flat(), 100 + l, std::sqrt(6.0F / static_cast<float>(layer.fan_in())));
    fill_random(layer.bias.flat(), 200 + l, 0.1F);
    activations_.emplace_back(std::vector<std::int64_t>{batch, layer.fan_out()});
    gradients_.emplace_back(std::vector<std::int64_t>{batch, layer.fan_out()});
  }
  // A unit whose pre-activation is almost 0 may fall on either side of the kink in float32, and the gradients then
  // differ for a good reason: inputs are drawn until there is none.
  std::vector<Doubles> unused_gradient, unused_magnitude;
  for (std::uint64_t seed = 1;; ++seed) {
    fill_random(inputs.flat(), seed);
    if (right_step(unused_gradient, unused_magnitude) > 1e-5) break;
  }
  model = initial.clone();
}

double TrainingProblem::flops(const std::vector<std::int64_t>& widths, std::int64_t batch) {
  double sum = 0;
  for (std::size_t l = 1; l < widths.size(); ++l) {
    sum += (l == 1 ? 4.0 : 6.0) * static_cast<double>(batch) * static_cast<double>(widths[l - 1]) *
           static_cast<double>(widths[l]);
  }
  return sum;
}

void TrainingProblem::reset() {
  for (std::size_t l = 0; l < initial.layers().size(); ++l) {
    const Layer& from = initial.layers()[l];
    Layer& to = model.layers()[l];
    std::copy(from.weight.flat().begin(), from.weight.flat().end(), to.weight.flat().begin());
    std::copy(from.bias.flat().begin(), from.bias.flat().end(), to.bias.flat().begin());
  }
}

std::function<void()> TrainingProblem::bind(const Peer& peer) {
  std::vector<std::function<void()>> forward, backward;
  const std::size_t count = model.layers().size();
  for (std::size_t l = 0; l < count; ++l) {
    Layer& layer = model.layers()[l];
    const ConstTensorView x = l == 0 ? inputs.view() : activations_[l - 1].view();
    forward.push_back(peer.dense_forward(
        {.x = x, .w = layer.weight, .bias = layer.bias.flat(), .relu = l + 1 < count, .y = activations_[l]}));
    backward.push_back(peer.dense_backward({.dz = gradients_[l],
                                            .x = x,
                                            .w = layer.weight,
                                            .bias = layer.bias.flat(),
                                            .dx = l == 0 ? TensorView() : gradients_[l - 1].view(),
                                            .learning_rate = &learning_rate}));
  }
  return [this, forward, backward] {
    for (const auto& layer : forward) layer();
    plain_softmax_cross_entropy(activations_.back(), labels, 1.0F / static_cast<float>(labels.size()), losses_,
                                gradients_.back(), predicted_);
    for (auto layer = backward.rbegin(); layer != backward.rend(); ++layer) (*layer)();
  };
}

double TrainingProblem::right_step(std::vector<Doubles>& gradient, std::vector<Doubles>& magnitude) const {
  const auto& layers = initial.layers();
  const std::size_t n = labels.size();
  double nearest_kink = 1e30;
  std::vector<Doubles> z;  // inputs, then activations of each layer
  z.emplace_back(inputs.flat().begin(), inputs.flat().end());
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const auto k = static_cast<std::size_t>(layers[l].fan_in());
    const auto m = static_cast<std::size_t>(layers[l].fan_out());
    const Tensor wt = transposed(layers[l].weight.view());
    Doubles out(n * m);
    for (std::size_t i = 0; i < n; ++i) {
      double* __restrict row = out.data() + i * m;
      for (std::size_t j = 0; j < m; ++j) row[j] = layers[l].bias.data()[j];
      for (std::size_t q = 0; q < k; ++q) {
        const double a = z[l][i * k + q];
        const float* __restrict b = wt.data() + q * m;
        for (std::size_t j = 0; j < m; ++j) row[j] += a * double{b[j]};
      }
      if (l + 1 == layers.size()) continue;
      for (std::size_t j = 0; j < m; ++j) {
        nearest_kink = std::min(nearest_kink, std::abs(row[j]));
        row[j] = std::max(row[j], 0.0);
      }
    }
    z.push_back(std::move(out));
  }
  // dz at the pre-activations, and what it would be if no terms cancelled: rounding errors are relative to that.
  const auto classes = static_cast<std::size_t>(layers.back().fan_out());
  Doubles dz(n * classes), size(n * classes);
  for (std::size_t i = 0; i < n; ++i) {
    const double* logits = z.back().data() + i * classes;
    const double top = *std::max_element(logits, logits + classes);
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c) sum += std::exp(logits[c] - top);
    for (std::size_t c = 0; c < classes; ++c) {
      const double p = std::exp(logits[c] - top) / sum;
      const bool right = static_cast<std::size_t>(labels[i]) == c;
      dz[i * classes + c] = (p - (right ? 1.0 : 0.0)) / static_cast<double>(n);
      // An error of a logit is relative to the size of its terms, some units, and enters the exponential.
      size[i * classes + c] = (4 * p + (right ? 1.0 : 0.0)) / static_cast<double>(n);
    }
  }
  gradient.assign(2 * layers.size(), {});
  magnitude.assign(2 * layers.size(), {});
  for (std::size_t l = layers.size(); l-- > 0;) {
    const auto k = static_cast<std::size_t>(layers[l].fan_in());
    const auto m = static_cast<std::size_t>(layers[l].fan_out());
    Doubles dw(m * k), dw_size(m * k), db(m), db_size(m), below(n * k), below_size(n * k);
    const float* w = layers[l].weight.data();
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < m; ++j) {
        const double d = dz[i * m + j];
        const double s = size[i * m + j];
        db[j] += d;
        db_size[j] += s;
        for (std::size_t q = 0; q < k; ++q) {
          dw[j * k + q] += d * z[l][i * k + q];
          dw_size[j * k + q] += s * std::abs(z[l][i * k + q]);
          below[i * k + q] += d * double{w[j * k + q]};
          below_size[i * k + q] += s * std::abs(double{w[j * k + q]});
        }
      }
    }
    for (std::size_t i = 0; i < n * k; ++i) {
      const bool active = z[l][i] > 0;
      if (!active) below[i] = below_size[i] = 0;
    }
    gradient[2 * l] = std::move(dw);
    gradient[2 * l + 1] = std::move(db);
    magnitude[2 * l] = std::move(dw_size);
    magnitude[2 * l + 1] = std::move(db_size);
    dz = std::move(below);
    size = std::move(below_size);
  }
  return nearest_kink;
}

void TrainingProblem::check_step(const Model& after, double rate, bool adam) {
  std::vector<Doubles> gradient, magnitude;
  right_step(gradient, magnitude);
  double terms = static_cast<double>(labels.size());
  for (const Layer& layer : initial.layers()) terms += static_cast<double>(layer.fan_in() + layer.fan_out());
  const double per_magnitude = 4 * std::sqrt(terms) * epsilon32;
  for (std::size_t l = 0; l < initial.layers().size(); ++l) {
    for (const bool bias : {false, true}) {
      const Tensor& from = bias ? initial.layers()[l].bias : initial.layers()[l].weight;
      const Tensor& to = bias ? after.layers()[l].bias : after.layers()[l].weight;
      const std::size_t which = 2 * l + (bias ? 1 : 0);
      for (std::size_t i = 0; i < static_cast<std::size_t>(from.size()); ++i) {
        const double old = from.data()[i];
        const double g = gradient[which][i], error = per_magnitude * magnitude[which][i];
        // Adam's first step is the gradient's sign, and that is anybody's where the gradient is as small as its error.
        const double wanted = old - rate * (adam ? g / (std::abs(g) + 1e-8) : g);
        const double tolerance =
            rate * (adam ? std::min(2.0, 2 * error / (std::abs(g) + 1e-8) + 8 * epsilon32) : error) +
            (bias ? std::sqrt(static_cast<double>(labels.size())) : 2.0) * epsilon32 *
                (std::abs(old) + std::abs(wanted));
        const double found = to.data()[i];
        if (std::abs(found - wanted) <= tolerance) continue;
        throw WrongAnswer(
            fmt::format("wrong answer: {} element {} is {:.9g} after the step, expected {:.9g} to within {:.2g}",
                        initial.layers()[l].name + (bias ? ".bias" : ".weight"), i, found, wanted, tolerance));
      }
    }
  }
}

}  // namespace kindling::bench
