#include "nn/forward_pass.h"

#include <algorithm>
#include <cstring>

#include "kernels/batch_norm.h"
#include "kernels/conv.h"
#include "kernels/dense.h"
#include "kernels/layout.h"
#include "kernels/pool.h"
#include "nn/layer_shapes.h"

namespace kindling {

bool reorders_input(const Model& model) {
  const ImageShape& in = model.layers().front().input;
  return in.channels > 1 && in.height * in.width > 1;
}

void layer_forward(const kernels::Execution& exec, const Layer& layer, ConstTensorView x, TensorView y) {
  switch (layer.kind) {
    case LayerKind::dense: kernels::dense_forward(exec, x, layer.weight, layer.bias.flat(), layer.activation, y); break;
    case LayerKind::conv2d:
      kernels::conv2d_forward(exec, x, layer.weight.view().matrix(), layer.bias.flat(), layer.activation,
                              conv_shape(layer), y);
      break;
    case LayerKind::max_pool: kernels::max_pool_inference(exec, x, pool_shape(layer), y); break;
    case LayerKind::average_pool: kernels::average_pool_forward(exec, x, pool_shape(layer), y); break;
    case LayerKind::flatten: kernels::channels_last_to_planar(exec, x, layer.input.channels, y); break;
    case LayerKind::batch_norm:
      kernels::batch_norm_inference(exec, x, norm_parameters(layer), layer.running_mean.flat(),
                                    layer.running_var.flat(), layer.activation, y);
      break;
    case LayerKind::dropout: kernels::copy_rows(exec, x, y); break;
  }
}

std::int64_t pass_rows(const Model& model, std::int64_t most) {
  constexpr std::int64_t elements = 4 << 20;
  std::int64_t widest = model.inputs();
  for (const Layer& layer : model.layers()) widest = std::max(widest, layer.output.features());
  return std::max<std::int64_t>(1, std::min(most, elements / widest));
}

void keep_parameters(kernels::Residency& residency, const Layer& layer) {
  for (const Tensor* t : {&layer.weight, &layer.bias}) residency.keep(kernels::Residency::Role::input, *t);
}

void keep_parameters(kernels::Residency& residency, const Model& model) {
  for (const Layer& layer : model.layers()) keep_parameters(residency, layer);
}

void fetch_parameters(const Model& model) {
  for (const Layer& layer : model.layers())
    for (const Tensor* t : {&layer.weight, &layer.bias}) kernels::fetch(*t);
}

void ForwardPass::keep_on(kernels::Residency& residency) const {
  for (const Tensor& t : buffers_) residency.keep(kernels::Residency::Role::scratch, t);
}

ForwardPass::ForwardPass(const Model& model, std::int64_t max_rows) : max_rows_(max_rows) {
  std::int64_t widest = reorders_input(model) ? model.inputs() : 0;
  for (const Layer& layer : model.layers()) widest = std::max(widest, layer.output.features());
  for (Tensor& t : buffers_) t = Tensor({max_rows * widest});
}

TensorView ForwardPass::next_buffer(std::int64_t rows, std::int64_t features) {
  used_ = 1 - used_;
  return {buffers_[used_].data(), {rows, features}};
}

ConstTensorView ForwardPass::run(const kernels::Execution& exec, const Model& model, ConstTensorView x,
                                 std::size_t end) {
  ConstTensorView current = x.matrix();
  if (reorders_input(model)) {
    const TensorView y = next_buffer(x.rows(), model.inputs());
    kernels::planar_to_channels_last(exec, current, model.layers().front().input.channels, y);
    current = y;
  }
  return run_from(exec, model, 0, current, end);
}

ConstTensorView ForwardPass::run_from(const kernels::Execution& exec, const Model& model, std::size_t begin,
                                      ConstTensorView x, std::size_t end) {
  if (x.rows() > max_rows_) throw Error(ErrorCode::usage, "a forward pass got more rows than it was made for");
  ConstTensorView current = x;
  for (std::size_t i = begin; i < end; ++i) {
    const Layer& layer = model.layers()[i];
    if (passes_through(layer)) continue;
    const TensorView y = next_buffer(x.rows(), layer.output.features());
    layer_forward(exec, layer, current, y);
    current = y;
  }
  return current;
}

void ForwardPass::run_into(const kernels::Execution& exec, const Model& model, ConstTensorView x, TensorView y) {
  const auto& layers = model.layers();
  std::size_t end = layers.size();
  while (end > 0 && passes_through(layers[end - 1])) --end;
  const ConstTensorView below = run(exec, model, x, end > 0 ? end - 1 : 0);
  if (end > 0) {
    layer_forward(exec, layers[end - 1], below, y);
  } else {
    kernels::copy_rows(exec, below, y);
  }
}

void ForwardPass::run_all(const kernels::Execution& exec, const Model& model, ConstTensorView x, TensorView y) {
  for (std::int64_t first = 0; first < x.rows(); first += max_rows_) {
    const std::int64_t rows = std::min(max_rows_, x.rows() - first);
    run_into(exec, model, x.rows(first, rows), y.rows(first, rows));
  }
}

}  // namespace kindling
