// Networks in double, written for the tests: loss, gradient and their derivatives by differences share nothing with the
// kernels. Dense and convolution layers, pooling and flatten; images channels last, samples in the order C, H, W.
#pragma once

#include <kindling/curvature.h>
#include <kindling/model.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace kindling::test {

using Doubles = std::vector<double>;

inline double activate(const Activation& f, double u) {
  switch (f.kind) {
    case ActivationKind::identity: return u;
    case ActivationKind::relu: return std::max(u, 0.0);
    case ActivationKind::leaky_relu: return u > 0 ? u : double{f.negative_slope} * u;
    case ActivationKind::tanh: return std::tanh(u);
    case ActivationKind::sigmoid: return 1 / (1 + std::exp(-u));
  }
  return 0;
}

inline double slope_at(const Activation& f, double u) {
  switch (f.kind) {
    case ActivationKind::identity: return 1;
    case ActivationKind::relu: return u > 0 ? 1 : 0;
    case ActivationKind::leaky_relu: return u > 0 ? 1 : double{f.negative_slope};
    case ActivationKind::tanh: return 1 - std::tanh(u) * std::tanh(u);
    case ActivationKind::sigmoid: return activate(f, u) * (1 - activate(f, u));
  }
  return 0;
}

/// Weights and biases of every layer, in double.
struct Parameters {
  std::vector<Doubles> weight, bias;

  explicit Parameters(const Model& model) {
    for (const Layer& l : model.layers()) {
      weight.emplace_back(l.weight.flat().begin(), l.weight.flat().end());
      bias.emplace_back(l.bias.flat().begin(), l.bias.flat().end());
    }
  }
  /// This + step * direction, whose numbers are those of the block.
  [[nodiscard]] Parameters moved(const HessianBlock& block, const std::vector<float>& direction, double step) const {
    Parameters result = *this;
    std::size_t at = 0;
    for (const std::size_t l : block.layers) {
      for (double& w : result.weight[l]) w += step * double{direction[at++]};
      if (block.biases)
        for (double& b : result.bias[l]) b += step * double{direction[at++]};
    }
    return result;
  }
};

/// Outputs of one layer.
inline Doubles layer_output(const Layer& l, const Doubles& w, const Doubles& b, const Doubles& x) {
  Doubles y(static_cast<std::size_t>(l.output.features()));
  const ImageShape &in = l.input, &out = l.output;
  if (l.kind == LayerKind::dense) {
    for (std::size_t m = 0; m < y.size(); ++m) {
      double u = b[m];
      for (std::size_t k = 0; k < x.size(); ++k) u += w[m * x.size() + k] * x[k];
      y[m] = activate(l.activation, u);
    }
    return y;
  }
  if (l.kind == LayerKind::dropout) return x;  // in inference
  if (l.kind == LayerKind::flatten) {
    for (std::int64_t p = 0; p < in.height * in.width; ++p)
      for (std::int64_t c = 0; c < in.channels; ++c) y[c * in.height * in.width + p] = x[p * in.channels + c];
    return y;
  }
  for (std::int64_t h = 0; h < out.height; ++h)
    for (std::int64_t v = 0; v < out.width; ++v)
      for (std::int64_t o = 0; o < out.channels; ++o) {
        double sum = l.kind == LayerKind::conv2d ? b[o] : 0, most = -1e300;
        for (std::int64_t i = 0; i < l.window.height; ++i)
          for (std::int64_t j = 0; j < l.window.width; ++j) {
            const std::int64_t row = h * l.window.stride - l.window.padding + i;
            const std::int64_t col = v * l.window.stride - l.window.padding + j;
            if (row < 0 || row >= in.height || col < 0 || col >= in.width) continue;
            const double* pixel = &x[(row * in.width + col) * in.channels];
            if (l.kind == LayerKind::conv2d) {
              for (std::int64_t c = 0; c < in.channels; ++c)
                sum += w[((o * in.channels + c) * l.window.height + i) * l.window.width + j] * pixel[c];
            } else {
              sum += pixel[o] / static_cast<double>(l.window.height * l.window.width);
              most = std::max(most, pixel[o]);
            }
          }
        double& result = y[(h * out.width + v) * out.channels + o];
        result = l.kind == LayerKind::conv2d ? activate(l.activation, sum) : l.kind == LayerKind::max_pool ? most : sum;
      }
  return y;
}

/// Input of every layer and, last, the outputs, for one sample.
inline std::vector<Doubles> outputs_of(const Model& model, const Parameters& p, const float* sample) {
  const ImageShape& in = model.layers().front().input;
  Doubles x(static_cast<std::size_t>(model.inputs()));
  for (std::int64_t c = 0; c < in.channels; ++c)
    for (std::int64_t at = 0; at < in.height * in.width; ++at)
      x[at * in.channels + c] = double{sample[c * in.height * in.width + at]};
  std::vector<Doubles> z{x};
  for (std::size_t l = 0; l < model.layers().size(); ++l)
    z.push_back(layer_output(model.layers()[l], p.weight[l], p.bias[l], z.back()));
  return z;
}

/// Mean loss over the samples.
inline double loss_of(const Model& model, const Parameters& p, ConstTensorView x, const LossTarget& target) {
  double sum = 0;
  for (std::int64_t n = 0; n < x.rows(); ++n) {
    const Doubles z = outputs_of(model, p, x.row(n)).back();
    if (target.kind == LossKind::squared_error) {
      for (std::size_t c = 0; c < z.size(); ++c) {
        const double e = z[c] - double{target.values(n, static_cast<std::int64_t>(c))};
        sum += e * e / static_cast<double>(z.size());
      }
      continue;
    }
    double total = 0;
    for (const double v : z) total += std::exp(v - z[0]);
    sum += std::log(total) + z[0] - z[static_cast<std::size_t>(target.labels[static_cast<std::size_t>(n)])];
  }
  return sum / static_cast<double>(x.rows());
}

/// Gradient of the mean loss with respect to a block; dense layers only.
inline Doubles gradient_of(const Model& model, const Parameters& p, ConstTensorView x, const LossTarget& target,
                           const HessianBlock& block) {
  std::vector<Doubles> dw, db;
  for (std::size_t l = 0; l < p.weight.size(); ++l) {
    dw.emplace_back(p.weight[l].size());
    db.emplace_back(p.bias[l].size());
  }
  const auto n = static_cast<double>(x.rows());
  for (std::int64_t s = 0; s < x.rows(); ++s) {
    const std::vector<Doubles> z = outputs_of(model, p, x.row(s));
    Doubles d = z.back();
    double total = 0;
    for (const double v : z.back()) total += std::exp(v - z.back()[0]);
    for (std::size_t c = 0; c < d.size(); ++c) {
      if (target.kind == LossKind::squared_error) {
        d[c] =
            2 * (d[c] - double{target.values(s, static_cast<std::int64_t>(c))}) / (n * static_cast<double>(d.size()));
      } else {
        const bool hot = target.labels[static_cast<std::size_t>(s)] == static_cast<std::int32_t>(c);
        d[c] = (std::exp(d[c] - z.back()[0]) / total - (hot ? 1 : 0)) / n;
      }
    }
    for (std::size_t l = p.weight.size(); l-- > 0;) {
      const Layer& layer = model.layers()[l];
      Doubles below(z[l].size());
      for (std::size_t m = 0; m < d.size(); ++m) {
        double u = p.bias[l][m];
        for (std::size_t k = 0; k < below.size(); ++k) u += p.weight[l][m * below.size() + k] * z[l][k];
        const double du = d[m] * slope_at(layer.activation, u);
        db[l][m] += du;
        for (std::size_t k = 0; k < below.size(); ++k) {
          dw[l][m * below.size() + k] += du * z[l][k];
          below[k] += du * p.weight[l][m * below.size() + k];
        }
      }
      d = below;
    }
  }
  Doubles result;
  for (const std::size_t l : block.layers) {
    result.insert(result.end(), dw[l].begin(), dw[l].end());
    if (block.biases) result.insert(result.end(), db[l].begin(), db[l].end());
  }
  return result;
}

}  // namespace kindling::test
