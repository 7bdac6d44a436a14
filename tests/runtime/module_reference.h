// A network of modules as plain float64 loops that hold images in PyTorch's order, channel by channel.
#pragma once

#include <kindling/dataset.h>
#include <kindling/model.h>
#include <kindling/random.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "support/network_reference.h"

namespace kindling::test {

using Values = Doubles;

// A batch through the model in float64. Training: batch statistics and dropout masks of step `step`; else inference.
struct Plain {
  const Model& model;
  bool training = false;
  std::uint64_t seed = 0;
  std::uint32_t step = 1;
  // Parameters in float64, so that they can be moved by little: weight and bias of every layer.
  std::vector<std::pair<Values, Values>> parameters;

  explicit Plain(const Model& m) : model(m) {
    for (const Layer& l : m.layers())
      parameters.push_back(
          {{l.weight.flat().begin(), l.weight.flat().end()}, {l.bias.flat().begin(), l.bias.flat().end()}});
  }

  std::vector<Values> operator()(std::vector<Values> x) const {
    for (std::size_t i = 0; i < model.layers().size(); ++i) x = layer(i, x);
    return x;
  }

  std::vector<Values> layer(std::size_t index, const std::vector<Values>& x) const {
    const Layer& l = model.layers()[index];
    const auto& [w, b] = parameters[index];
    const ImageShape& in = l.input;
    const ImageShape& out = l.output;
    std::vector<Values> y(x.size(), Values(static_cast<std::size_t>(out.features())));
    const auto at = [](const ImageShape& s, std::int64_t c, std::int64_t h, std::int64_t v) {
      return static_cast<std::size_t>((c * s.height + h) * s.width + v);
    };
    if (l.kind == LayerKind::flatten) return x;
    if (l.kind == LayerKind::batch_norm) {
      const auto positions = in.height * in.width;
      for (std::int64_t c = 0; c < in.channels; ++c) {
        const auto ci = static_cast<std::size_t>(c);
        double mean = l.running_mean.data()[c], variance = l.running_var.data()[c];
        if (training) {
          const double count = static_cast<double>(positions) * static_cast<double>(x.size());
          mean = variance = 0;
          for (const Values& row : x)
            for (std::int64_t p = 0; p < positions; ++p)
              mean += row[static_cast<std::size_t>(c * positions + p)] / count;
          for (const Values& row : x)
            for (std::int64_t p = 0; p < positions; ++p)
              variance += std::pow(row[static_cast<std::size_t>(c * positions + p)] - mean, 2) / count;
        }
        for (std::size_t n = 0; n < x.size(); ++n)
          for (std::int64_t p = 0; p < positions; ++p) {
            const auto k = static_cast<std::size_t>(c * positions + p);
            const double z = (x[n][k] - mean) / std::sqrt(variance + static_cast<double>(1e-5F)) * w[ci] + b[ci];
            y[n][k] = activate(l.activation, z);
          }
      }
      return y;
    }
    for (std::size_t n = 0; n < x.size(); ++n) {
      if (l.kind == LayerKind::dense) {
        for (std::size_t m = 0; m < y[n].size(); ++m) {
          double z = b[m];
          for (std::size_t k = 0; k < x[n].size(); ++k) z += w[m * x[n].size() + k] * x[n][k];
          y[n][m] = activate(l.activation, z);
        }
        continue;
      }
      if (l.kind == LayerKind::dropout) {
        y[n] = x[n];
        if (training) {
          // The library counts elements with channels last.
          for (std::int64_t c = 0; c < in.channels; ++c)
            for (std::int64_t p = 0; p < in.height * in.width; ++p) {
              const std::int64_t k = p * in.channels + c;
              const std::int64_t block = static_cast<std::int64_t>(n) * ((in.features() + 3) / 4) + k / 4;
              const auto words = philox_block({seed, Purpose::dropout, static_cast<std::uint32_t>(index), step},
                                              static_cast<std::uint32_t>(block));
              const bool dropped = words[static_cast<std::size_t>(k % 4)] < l.rate * 0x1p32;
              y[n][static_cast<std::size_t>(c * in.height * in.width + p)] *= dropped ? 0 : 1 / (1 - l.rate);
            }
        }
        continue;
      }
      for (std::int64_t o = 0; o < out.channels; ++o)
        for (std::int64_t h = 0; h < out.height; ++h)
          for (std::int64_t v = 0; v < out.width; ++v) {
            double sum = 0, most = -std::numeric_limits<double>::infinity();
            const bool conv = l.kind == LayerKind::conv2d;
            for (std::int64_t c = conv ? 0 : o; c < (conv ? in.channels : o + 1); ++c)
              for (std::int64_t a = 0; a < l.window.height; ++a)
                for (std::int64_t d = 0; d < l.window.width; ++d) {
                  const std::int64_t i = h * l.window.stride - l.window.padding + a;
                  const std::int64_t j = v * l.window.stride - l.window.padding + d;
                  if (i < 0 || j < 0 || i >= in.height || j >= in.width) continue;
                  const double value = x[n][at(in, c, i, j)];
                  most = std::max(most, value);
                  sum += !conv ? value
                               : value * w[static_cast<std::size_t>(
                                             ((o * in.channels + c) * l.window.height + a) * l.window.width + d)];
                }
            double& result = y[n][at(out, o, h, v)];
            if (conv) result = activate(l.activation, sum + b[static_cast<std::size_t>(o)]);
            if (l.kind == LayerKind::max_pool) result = most;
            if (l.kind == LayerKind::average_pool) result = sum / static_cast<double>(l.window.height * l.window.width);
          }
    }
    return y;
  }

  double loss(const std::vector<Values>& x, const std::vector<std::int32_t>& labels) const {
    const auto z = (*this)(x);
    double sum = 0;
    for (std::size_t n = 0; n < z.size(); ++n) {
      double total = 0;
      for (const double v : z[n]) total += std::exp(v);
      sum += std::log(total) - z[n][static_cast<std::size_t>(labels[n])];
    }
    return sum / static_cast<double>(z.size());
  }
};

inline Dataset glyphs(std::int64_t train, std::int64_t test) {
  return load_dataset("synthetic:glyphs:train=" + std::to_string(train) + ",test=" + std::to_string(test), {}, {});
}

inline bool same_weights(const Model& a, const Model& b) {
  for (std::size_t l = 0; l < a.layers().size(); ++l) {
    const auto equal = [](const Tensor& p, const Tensor& q) {
      return std::equal(p.flat().begin(), p.flat().end(), q.flat().begin());
    };
    const Layer &p = a.layers()[l], &q = b.layers()[l];
    if (!equal(p.weight, q.weight) || !equal(p.bias, q.bias) || !equal(p.running_mean, q.running_mean) ||
        !equal(p.running_var, q.running_var))
      return false;
  }
  return true;
}

}  // namespace kindling::test
