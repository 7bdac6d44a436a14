#include "nn/linear_layer.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/conv.h"
#include "kernels/dense.h"
#include "kernels/jacobian.h"
#include "kernels/layout.h"
#include "kernels/pool.h"
#include "kernels/residency.h"
#include "nn/layer_shapes.h"

namespace kindling {
namespace {

constexpr Activation identity{ActivationKind::identity};

[[noreturn]] void refuse(const Layer& layer) {
  throw Error(ErrorCode::usage,
              fmt::format("{} is {}, whose derivatives are not built: expected dense, conv2d, pooling, "
                          "flatten or dropout layers",
                          layer.name, to_string(layer.kind)));
}

}  // namespace

void linear_forward(const kernels::Execution& exec, const Layer& layer, ConstTensorView weight,
                    std::span<const float> bias, ConstTensorView x, TensorView u) {
  if (layer.kind == LayerKind::conv2d) {
    kernels::conv2d_forward(exec, x, weight, bias, identity, conv_shape(layer), u);
  } else {
    kernels::dense_forward(exec, x, weight, bias, identity, u);
  }
}

void linear_transposed(const kernels::Execution& exec, const Layer& layer, ConstTensorView weight, ConstTensorView du,
                       ConstTensorView x, TensorView dx) {
  if (layer.kind == LayerKind::conv2d) {
    kernels::conv2d_input_gradient(exec, du, weight, x, identity, conv_shape(layer), dx);
  } else {
    kernels::jacobian_product(exec, du, weight, dx);
  }
}

void linear_weight_gradient(const kernels::Execution& exec, const Layer& layer, ConstTensorView x, ConstTensorView du,
                            TensorView dw, std::span<float> db) {
  if (layer.kind == LayerKind::conv2d) {
    kernels::conv2d_weight_gradient(exec, x, du, conv_shape(layer), dw, db);
  } else {
    kernels::dense_weight_gradient(exec, x, du, dw, db);
  }
}

void fixed_forward(const kernels::Execution& exec, const Layer& layer, std::span<const std::uint8_t> places,
                   ConstTensorView x, TensorView y) {
  switch (layer.kind) {
    case LayerKind::max_pool: kernels::max_pool_take(exec, x, places, pool_shape(layer), y); return;
    case LayerKind::average_pool: kernels::average_pool_forward(exec, x, pool_shape(layer), y); return;
    case LayerKind::flatten: kernels::channels_last_to_planar(exec, x, layer.input.channels, y); return;
    case LayerKind::dropout: kernels::copy_rows(exec, x, y); return;
    case LayerKind::dense:
    case LayerKind::conv2d:
    case LayerKind::batch_norm: refuse(layer);
  }
}

void fixed_transposed(const kernels::Execution& exec, const Layer& layer, std::span<const std::uint8_t> places,
                      ConstTensorView dy, ConstTensorView x, TensorView dx) {
  switch (layer.kind) {
    case LayerKind::max_pool: kernels::max_pool_gradient(exec, dy, places, pool_shape(layer), dx); return;
    case LayerKind::average_pool: kernels::average_pool_gradient(exec, dy, x, identity, pool_shape(layer), dx); return;
    case LayerKind::flatten: kernels::planar_to_channels_last(exec, dy, layer.input.channels, dx); return;
    case LayerKind::dropout: kernels::copy_rows(exec, dy, dx); return;
    case LayerKind::dense:
    case LayerKind::conv2d:
    case LayerKind::batch_norm: refuse(layer);
  }
}

}  // namespace kindling
