#include "kernels/loss.h"

#include "kernels/expect.h"

namespace kindling::kernels {
namespace {

using Use = Buffer::Use;

void expect_classification(std::string_view kernel, ConstTensorView logits, std::span<const std::int32_t> labels,
                           std::span<float> loss, std::span<std::int32_t> prediction) {
  expect_rows(kernel, "logits", logits);
  if (logits.cols() < 1)
    refuse(kernel, fmt::format("expected at least one class, found logits of {}", shape_string(logits.shape())));
  expect_size(kernel, "labels", labels, logits.rows());
  expect_size(kernel, "loss", loss, logits.rows());
  expect_size(kernel, "prediction", prediction, logits.rows());
  expect_labels(kernel, labels, logits.cols());
}

}  // namespace

void softmax_cross_entropy(const Execution& execution, ConstTensorView logits, std::span<const std::int32_t> labels,
                           float scale, std::span<float> loss, TensorView gradient,
                           std::span<std::int32_t> prediction) {
  static const Kernel kernel{"softmax_cross_entropy"};
  expect_classification("softmax_cross_entropy", logits, labels, loss, prediction);
  expect_shape("softmax_cross_entropy", "gradient", gradient, logits.rows(), logits.cols());
  if (logits.rows() == 0) return;
  kernel(execution, buffer_of(Use::in, logits), in(labels), scale, out(loss), out(prediction),
         buffer_of(Use::out, gradient));
}

void softmax_cross_entropy_loss(const Execution& execution, ConstTensorView logits,
                                std::span<const std::int32_t> labels, std::span<float> loss,
                                std::span<std::int32_t> prediction) {
  static const Kernel kernel{"softmax_cross_entropy_loss"};
  expect_classification("softmax_cross_entropy_loss", logits, labels, loss, prediction);
  if (logits.rows() == 0) return;
  kernel(execution, buffer_of(Use::in, logits), in(labels), out(loss), out(prediction));
}

void softmax_hessian_product(const Execution& execution, ConstTensorView logits, ConstTensorView tangent, float scale,
                             TensorView product) {
  static const Kernel kernel{"softmax_hessian_product"};
  expect_rows("softmax_hessian_product", "logits", logits);
  if (logits.cols() < 1) {
    refuse("softmax_hessian_product",
           fmt::format("expected at least one class, found logits of {}", shape_string(logits.shape())));
  }
  expect_shape("softmax_hessian_product", "tangent", tangent, logits.rows(), logits.cols());
  expect_shape("softmax_hessian_product", "product", product, logits.rows(), logits.cols());
  if (logits.rows() == 0) return;
  kernel(execution, buffer_of(Use::in, logits), buffer_of(Use::in, tangent), scale, buffer_of(Use::out, product));
}

void squared_error(const Execution& execution, ConstTensorView y, ConstTensorView target, float scale,
                   std::span<float> loss, TensorView gradient) {
  static const Kernel kernel{"squared_error"};
  expect_rows("squared_error", "y", y);
  if (y.cols() < 1)
    refuse("squared_error", fmt::format("expected at least one feature, found y of {}", shape_string(y.shape())));
  expect_shape("squared_error", "target", target, y.rows(), y.cols());
  expect_shape("squared_error", "gradient", gradient, y.rows(), y.cols());
  expect_size("squared_error", "loss", loss, y.rows());
  if (y.rows() == 0) return;
  kernel(execution, buffer_of(Use::in, y), buffer_of(Use::in, target), scale, out(loss), buffer_of(Use::out, gradient));
}

void activation_gradient(const Execution& execution, ConstTensorView y, const Activation& activation,
                         ConstTensorView dy, TensorView dz) {
  static const Kernel piecewise_linear{"activation_gradient"}, tanh{"activation_gradient_tanh"},
      sigmoid{"activation_gradient_sigmoid"};
  expect_rows("activation_gradient", "y", y);
  expect_shape("activation_gradient", "dy", dy, y.rows(), y.cols());
  expect_shape("activation_gradient", "dz", dz, y.rows(), y.cols());
  if (y.size() == 0) return;
  const bool smooth = activation.kind == ActivationKind::tanh || activation.kind == ActivationKind::sigmoid;
  const Kernel& kernel = activation.kind == ActivationKind::tanh ? tanh : smooth ? sigmoid : piecewise_linear;
  const float slope = smooth ? 0.0F : negative_slope(activation);
  const bool flat = y.contiguous() && dy.contiguous() && dz.contiguous();
  kernel(execution, buffer_of(Use::in, y, flat), buffer_of(Use::in, dy, flat), slope,
         buffer_of(Use::out_in_place, dz, flat));
}

}  // namespace kindling::kernels
