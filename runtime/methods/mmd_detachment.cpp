#include "methods/mmd_detachment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/dense.h"
#include "kernels/device_log.h"
#include "kernels/residency.h"
#include "nn/forward_pass.h"
#include "nn/layer_jacobian.h"
#include "nn/layer_shapes.h"

namespace kindling {
namespace {

// The same function of a batch as a chain of dense layers: batch-norm, an affine map with the batch's statistics, is
// folded into the layer before it, and dropout is left out.
struct FoldedModel {
  Model model;
  struct Source {
    std::size_t dense = 0;
    std::size_t norm = 0;              // 0: none (a batch-norm layer is never the first)
    std::vector<float> mean, inverse;  // of the batch
  };
  std::vector<Source> sources;  // of each layer
};

bool only_dense(const Model& model) {
  return std::all_of(model.layers().begin(), model.layers().end(),
                     [](const Layer& layer) { return layer.kind == LayerKind::dense; });
}

// Whether folding gives such a chain.
bool folds(const Model& model) {
  return model.layers().front().kind == LayerKind::dense &&
         std::all_of(model.layers().begin(), model.layers().end(), [](const Layer& layer) {
           return layer.kind == LayerKind::dense || layer.kind == LayerKind::batch_norm ||
                  layer.kind == LayerKind::dropout;
         });
}

FoldedModel fold(const Model& model, ConstTensorView x, const Context& context) {
  const kernels::Execution exec = kernels::execution(context);
  kernels::on_host("mmd: batch-norm folded into the layer below it, and its gradients back, for L_iod");
  fetch_parameters(model);
  FoldedModel folded;
  std::vector<std::int64_t> widths{model.inputs()};
  const auto& layers = model.layers();
  for (const Layer& layer : layers) {
    if (layer.kind == LayerKind::dense) widths.push_back(layer.units());
  }
  folded.model = Model::mlp(widths);
  Tensor current;
  ConstTensorView z = x.matrix();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Layer& layer = layers[i];
    if (layer.kind != LayerKind::dense) continue;
    Layer& target = folded.model.layers()[folded.sources.size()];
    FoldedModel::Source source{.dense = i};
    if (i + 1 < layers.size() && layers[i + 1].kind == LayerKind::batch_norm) source.norm = i + 1;
    target.activation = source.norm != 0 ? layers[source.norm].activation : layer.activation;
    target.weight = layer.weight.clone();
    target.bias = layer.bias.clone();
    Tensor next({x.rows(), layer.units()});
    kernels::dense_forward(exec, z, layer.weight, layer.bias.flat(), layer.activation, next);
    if (source.norm != 0) {
      const Layer& norm = layers[source.norm];
      const auto c = static_cast<std::size_t>(norm.weight.size());
      source.mean.resize(c);
      source.inverse.resize(c);
      std::vector<float> running(2 * c);
      Tensor normed({x.rows(), layer.units()});
      kernels::batch_norm_forward(exec, next, norm_parameters(norm), norm.activation, {source.mean, source.inverse},
                                  {std::span(running).first(c), std::span(running).last(c), Layer::batch_norm_momentum},
                                  normed);
      next = std::move(normed);
      for (std::size_t m = 0; m < c; ++m) {
        const float a = norm.weight.data()[m] * source.inverse[m];
        for (std::int64_t k = 0; k < layer.fan_in(); ++k) target.weight.view()(static_cast<std::int64_t>(m), k) *= a;
        target.bias.data()[m] = a * (layer.bias.data()[m] - source.mean[m]) + norm.bias.data()[m];
      }
    }
    current = std::move(next);
    z = current.view();
    folded.sources.push_back(std::move(source));
  }
  return folded;
}

// Gradients of the folded layers back to those that they were made of.
std::vector<LayerGradient> unfold(const Model& model, const FoldedModel& folded, std::vector<LayerGradient> slopes) {
  std::vector<LayerGradient> result(model.layers().size());
  for (std::size_t l = 0; l < slopes.size(); ++l) {
    const FoldedModel::Source& source = folded.sources[l];
    LayerGradient& slope = slopes[l];
    const Layer& dense = model.layers()[source.dense];
    if (source.norm != 0) {
      const Layer& norm = model.layers()[source.norm];
      LayerGradient& of_norm = result[source.norm];
      of_norm = {Tensor(norm.weight.shape()), slope.bias.clone()};
      for (std::int64_t m = 0; m < dense.units(); ++m) {
        const auto c = static_cast<std::size_t>(m);
        double sum = double{slope.bias.data()[m]} * (double{dense.bias.data()[m]} - double{source.mean[c]});
        for (std::int64_t k = 0; k < dense.fan_in(); ++k) {
          sum += double{slope.weight.view()(m, k)} * double{dense.weight.view()(m, k)};
        }
        of_norm.weight.data()[m] = static_cast<float>(sum * double{source.inverse[c]});
        const float a = norm.weight.data()[m] * source.inverse[c];
        for (std::int64_t k = 0; k < dense.fan_in(); ++k) slope.weight.view()(m, k) *= a;
        slope.bias.data()[m] *= a;
      }
    }
    result[source.dense] = std::move(slope);
  }
  return result;
}

// For every row (a sample's output) the layer whose norm is furthest from 1, the lowest on ties: the mean of (1 -
// norm)^2, and its slope with respect to the norms where that is asked for.
double furthest(ConstTensorView norms, double rows, double weight, const TensorView* slope) {
  double sum = 0;
  for (std::int64_t r = 0; r < norms.cols(); ++r) {
    double largest = -1;
    std::int64_t layer = 0;
    for (std::int64_t l = 0; l < norms.rows(); ++l) {
      const double gap = 1 - double{norms(l, r)}, square = gap * gap;
      if (!std::isfinite(square)) {
        throw Error(ErrorCode::numerical,
                    fmt::format("the norm of a Jacobian's row at layer {} is {}", l, norms(l, r)));
      }
      if (square > largest) {
        largest = square;
        layer = l;
      }
    }
    sum += largest;
    if (slope != nullptr) (*slope)(layer, r) = static_cast<float>(2 * weight * (double{norms(layer, r)} - 1) / rows);
  }
  return sum / rows;
}

}  // namespace

void check_detachment(const Model& model) {
  if (folds(model)) return;
  if (const std::string problem = layer_jacobian_problem(model); !problem.empty()) {
    throw Error(ErrorCode::usage, "mmd: the term L_iod (xi > 0): " + problem);
  }
}

double detachment_loss(const Model& model, ConstTensorView x, const Context& context) {
  const Tensor norms = only_dense(model) ? jacobian_row_norms(model, x, context)
                       : folds(model)    ? jacobian_row_norms(fold(model, x, context).model, x, context)
                                         : layer_jacobian_norms(model, x, context);
  const std::int64_t rows = x.rows() * model.outputs();
  return furthest({norms.data(), {norms.shape()[0], rows}}, static_cast<double>(rows), 1, nullptr);
}

std::pair<double, std::vector<LayerGradient>> detachment_gradient(const Model& model, ConstTensorView x, double weight,
                                                                  const Context& context, kernels::Residency* keeper) {
  const auto rows = static_cast<double>(x.rows() * model.outputs());
  double value = 0;
  const NormGradient slope = [&](std::int64_t, std::int64_t, ConstTensorView norms, TensorView gradient) {
    value += furthest(norms, rows, weight, &gradient);
  };
  if (only_dense(model)) {
    std::vector<LayerGradient> slopes = jacobian_norm_gradient(model, x, slope, context, keeper);
    return {value, std::move(slopes)};
  }
  if (!folds(model)) {
    std::vector<LayerGradient> slopes = layer_jacobian_norm_gradient(model, x, slope, context, keeper);
    return {value, std::move(slopes)};
  }
  const FoldedModel folded = fold(model, x, context);
  std::vector<LayerGradient> slopes = jacobian_norm_gradient(folded.model, x, slope, context);
  return {value, unfold(model, folded, std::move(slopes))};
}

}  // namespace kindling
