#include "kernels/pool.h"

#include "kernels/expect.h"
#include "kernels/loss.h"

namespace kindling::kernels {
namespace {

using Use = Buffer::Use;

void expect_window(std::string_view kernel, const PoolShape& s) {
  if (s.height < 1 || s.width < 1 || s.channels < 1) {
    refuse(kernel, fmt::format("expected an image, found {} x {} with {} channels", s.height, s.width, s.channels));
  }
  if (s.window_height < 1 || s.window_width < 1 || s.stride < 1) {
    refuse(kernel, fmt::format("expected a window and a stride of 1 or more, found {} x {} and {}", s.window_height,
                               s.window_width, s.stride));
  }
  if (s.padding < 0 || 2 * s.padding > s.window_height || 2 * s.padding > s.window_width) {
    refuse(kernel, fmt::format("expected a padding of 0 to half the window of {} x {}, found {}", s.window_height,
                               s.window_width, s.padding));
  }
  if (s.window_height > s.height + 2 * s.padding || s.window_width > s.width + 2 * s.padding) {
    refuse(kernel, fmt::format("a window of {} x {} does not fit into an image of {} x {} with padding {}",
                               s.window_height, s.window_width, s.height, s.width, s.padding));
  }
}

void expect_rows_of(std::string_view kernel, std::string_view name, ConstTensorView v, std::int64_t rows,
                    std::int64_t features) {
  expect_shape(kernel, name, v, rows, features);
}

template <class T>
Buffer images(Use use, const BasicTensorView<T>& v, std::int64_t height, std::int64_t width, std::int64_t channels) {
  return Buffer(use, v.data(), {channels, width, height, v.rows()},
                {1, channels, channels * width, v.rank() <= 1 ? v.size() : v.row_stride()});
}
template <class T>
Buffer in_image(const BasicTensorView<T>& v, const PoolShape& s) {
  return images(std::is_const_v<T> ? Use::in : Use::out, v, s.height, s.width, s.channels);
}
template <class T>
Buffer pooled(const BasicTensorView<T>& v, const PoolShape& s) {
  return images(std::is_const_v<T> ? Use::in : Use::out, v, s.out_height(), s.out_width(), s.channels);
}

std::int32_t narrow(std::int64_t v) { return static_cast<std::int32_t>(v); }

void expect_indexable(std::string_view kernel, const PoolShape& s) {
  if (s.window_height * s.window_width > 256) {
    refuse(kernel, fmt::format("expected a window of at most 256 pixels, whose indices are bytes, found {} x {}",
                               s.window_height, s.window_width));
  }
}

}  // namespace

void max_pool_forward(const Execution& execution, ConstTensorView x, const PoolShape& shape, TensorView y,
                      std::span<std::uint8_t> index) {
  constexpr std::string_view name = "max_pool_forward";
  expect_window(name, shape);
  expect_indexable(name, shape);
  expect_rows_of(name, "x", x, x.rows(), shape.in_features());
  expect_rows_of(name, "y", y, x.rows(), shape.out_features());
  expect_size(name, "index", index, x.rows() * shape.out_features());
  if (x.rows() == 0) return;
  static const Kernel kernel{"max_pool_forward"};
  const BasicTensorView<std::uint8_t> places(index.data(), {x.rows(), shape.out_features()});
  kernel(execution, narrow(shape.window_height), narrow(shape.window_width), narrow(shape.stride),
         narrow(shape.padding), in_image(x, shape), pooled(y, shape), pooled(places, shape));
}

void max_pool_inference(const Execution& execution, ConstTensorView x, const PoolShape& shape, TensorView y) {
  constexpr std::string_view name = "max_pool_inference";
  expect_window(name, shape);
  expect_rows_of(name, "x", x, x.rows(), shape.in_features());
  expect_rows_of(name, "y", y, x.rows(), shape.out_features());
  if (x.rows() == 0) return;
  static const Kernel kernel{"max_pool_inference"};
  kernel(execution, narrow(shape.window_height), narrow(shape.window_width), narrow(shape.stride),
         narrow(shape.padding), in_image(x, shape), pooled(y, shape));
}

void max_pool_gradient(const Execution& execution, ConstTensorView dy, std::span<const std::uint8_t> index,
                       const PoolShape& shape, TensorView dx) {
  constexpr std::string_view name = "max_pool_gradient";
  expect_window(name, shape);
  expect_indexable(name, shape);
  expect_rows_of(name, "dy", dy, dy.rows(), shape.out_features());
  expect_rows_of(name, "dx", dx, dy.rows(), shape.in_features());
  expect_size(name, "index", index, dy.rows() * shape.out_features());
  if (dy.rows() == 0) return;
  static const Kernel kernel{"max_pool_gradient"};
  const BasicTensorView<const std::uint8_t> places(index.data(), {dy.rows(), shape.out_features()});
  kernel(execution, narrow(shape.window_height), narrow(shape.window_width), narrow(shape.stride),
         narrow(shape.padding), pooled(dy, shape), pooled(places, shape), in_image(dx, shape));
}

void max_pool_take(const Execution& execution, ConstTensorView x, std::span<const std::uint8_t> index,
                   const PoolShape& shape, TensorView y) {
  constexpr std::string_view name = "max_pool_take";
  expect_window(name, shape);
  expect_indexable(name, shape);
  expect_rows_of(name, "x", x, x.rows(), shape.in_features());
  expect_rows_of(name, "y", y, x.rows(), shape.out_features());
  expect_size(name, "index", index, x.rows() * shape.out_features());
  if (x.rows() == 0) return;
  static const Kernel kernel{"max_pool_take"};
  const BasicTensorView<const std::uint8_t> places(index.data(), {x.rows(), shape.out_features()});
  kernel(execution, narrow(shape.window_height), narrow(shape.window_width), narrow(shape.stride),
         narrow(shape.padding), in_image(x, shape), pooled(places, shape), pooled(y, shape));
}

void average_pool_forward(const Execution& execution, ConstTensorView x, const PoolShape& shape, TensorView y) {
  constexpr std::string_view name = "average_pool_forward";
  expect_window(name, shape);
  expect_rows_of(name, "x", x, x.rows(), shape.in_features());
  expect_rows_of(name, "y", y, x.rows(), shape.out_features());
  if (x.rows() == 0) return;
  static const Kernel kernel{"average_pool_forward"};
  kernel(execution, narrow(shape.window_height), narrow(shape.window_width), narrow(shape.stride),
         narrow(shape.padding), in_image(x, shape), pooled(y, shape));
}

void average_pool_gradient(const Execution& execution, ConstTensorView dy, ConstTensorView x, const Activation& below,
                           const PoolShape& shape, TensorView dx) {
  constexpr std::string_view name = "average_pool_gradient";
  expect_window(name, shape);
  expect_rows_of(name, "dy", dy, dy.rows(), shape.out_features());
  expect_rows_of(name, "x", x, dy.rows(), shape.in_features());
  expect_rows_of(name, "dx", dx, dy.rows(), shape.in_features());
  if (dy.rows() == 0) return;
  static const Kernel kernel{"average_pool_gradient"};
  const bool smooth = below.kind == ActivationKind::tanh || below.kind == ActivationKind::sigmoid;
  kernel(execution, narrow(shape.window_height), narrow(shape.window_width), narrow(shape.stride),
         narrow(shape.padding), pooled(dy, shape), in_image(x, shape), smooth ? 1.0F : negative_slope(below),
         in_image(dx, shape));
  if (smooth) activation_gradient(execution, x, below, dx, dx);
}

}  // namespace kindling::kernels
