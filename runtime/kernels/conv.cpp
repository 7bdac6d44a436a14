#include "kernels/conv.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <limits>
#include <string_view>

#include "kernels/activation_kernels.h"
#include "kernels/expect.h"

namespace kindling::kernels {
namespace {

void expect_conv_shape(std::string_view kernel, const ConvShape& s) {
  const auto refuse_below = [&](std::string_view name, std::int64_t value, std::int64_t least) {
    if (value < least) refuse(kernel, fmt::format("expected a {} of at least {}, found {}", name, least, value));
  };
  refuse_below("height", s.height, 1);
  refuse_below("width", s.width, 1);
  refuse_below("number of channels in", s.channels_in, 1);
  refuse_below("number of channels out", s.channels_out, 1);
  refuse_below("kernel height", s.kernel_height, 1);
  refuse_below("kernel width", s.kernel_width, 1);
  refuse_below("stride", s.stride, 1);
  refuse_below("padding", s.padding, 0);
  // Kernels index with 32 bits, padded images and (under a stride) gradients pulled apart included.
  constexpr std::int64_t most = 1 << 15;
  for (const std::int64_t extent :
       {s.height, s.width, s.channels_in, s.channels_out, s.kernel_height, s.kernel_width, s.stride, s.padding}) {
    if (extent > most) refuse(kernel, fmt::format("expected extents of at most {}, found {}", most, extent));
  }
  const std::int64_t padded_height = s.height + 2 * s.padding, padded_width = s.width + 2 * s.padding;
  if (s.kernel_height > padded_height || s.kernel_width > padded_width) {
    refuse(kernel, fmt::format("expected a kernel that fits into the padded image of {} x {}, found {} x {}",
                               padded_height, padded_width, s.kernel_height, s.kernel_width));
  }
  const std::int64_t pixels = (padded_height + s.kernel_height) * (padded_width + s.kernel_width);
  if (pixels * std::max(s.channels_in, s.channels_out) > std::numeric_limits<std::int32_t>::max() / 4) {
    refuse(kernel, fmt::format("expected a padded image of less than 2 GiB, found {} x {} pixels of {} channels",
                               padded_height, padded_width, std::max(s.channels_in, s.channels_out)));
  }
}

struct Memory {
  std::string_view name;
  const float *begin, *end;
};

Memory memory_of(std::string_view name, ConstTensorView v) {
  return {name, v.data(), v.size() == 0 ? v.data() : v.row(v.rows() - 1) + v.cols()};
}
Memory memory_of(std::string_view name, std::span<const float> s) { return {name, s.data(), s.data() + s.size()}; }

void expect_apart(std::string_view kernel, const Memory& output, std::initializer_list<Memory> others) {
  const std::less<> before;  // a total order, unlike < on pointers into different arrays
  for (const Memory& other : others) {
    if (before(output.begin, other.end) && before(other.begin, output.end)) {
      refuse(kernel, fmt::format("expected {} and {} apart, found that they overlap", output.name, other.name));
    }
  }
}

// Images as (width * channels, height, sample), or as (channels, pixels, sample).
template <class T>
Buffer rows_of_pixels(Buffer::Use use, const BasicTensorView<T>& v, std::int64_t row, std::int64_t height) {
  return Buffer(use, v.data(), {row, height, v.rows()}, {1, row, v.row_stride()});
}
template <class T>
Buffer pixels_of(Buffer::Use use, const BasicTensorView<T>& v, std::int64_t channels) {
  return Buffer(use, v.data(), {channels, v.cols() / channels, v.rows()}, {1, channels, v.row_stride()});
}
template <class T>
Buffer weights_of(Buffer::Use use, const BasicTensorView<T>& w, const ConvShape& s) {
  return Buffer(use, w.data(), {s.kernel_width, s.kernel_height, s.channels_in, s.channels_out},
                {1, s.kernel_width, s.kernel_width * s.kernel_height, w.row_stride()});
}

Buffer image_rows(ConstTensorView x, const ConvShape& s) {
  return rows_of_pixels(Buffer::Use::in, x, s.width * s.channels_in, s.height);
}

std::int32_t narrow(std::int64_t value) { return static_cast<std::int32_t>(value); }

}  // namespace

bool by_winograd(const Target& target, ConvPass pass, const ConvShape& s, std::int64_t samples) {
  if (s.kernel_height != 3 || s.kernel_width != 3 || s.stride != 1 || s.padding > 2) return false;
  // Transforms pay for themselves with channels: their work grows with those in plus those out, what they save with the
  // product. On a GPU, where they go through memory, by the ratio of its arithmetic to its bandwidth, unmeasured.
  // Short vectors make more of the transforms, of which the weight gradient has two.
  const bool long_vectors = target.halide_target.find("avx512") != std::string::npos;
  const std::int64_t least = target.gpu ? 64 : pass == ConvPass::weight_gradient && !long_vectors ? 32 : 16;
  if (s.channels_in < least || s.channels_out < least) return false;
  const bool backward = pass == ConvPass::input_gradient;
  const std::int64_t height = backward ? s.height : s.out_height(), width = backward ? s.width : s.out_width();
  const std::int64_t tiles = (height + 1) / 2 * ((width + 1) / 2);
  // Pixels of a tile that lie outside are computed, too; and few tiles do not pay for the kernels' transform.
  return 16 * tiles * 6 / 5 <= 9 * height * width && tiles * samples >= 32;
}

void conv2d_forward(const Execution& execution, ConstTensorView x, ConstTensorView w, std::span<const float> bias,
                    const Activation& activation, const ConvShape& s, TensorView y) {
  constexpr std::string_view name = "conv2d_forward";
  expect_conv_shape(name, s);
  expect_shape(name, "x", x, x.rows(), s.in_features());
  expect_shape(name, "w", w, s.channels_out, s.fan_in());
  expect_size(name, "bias", bias, s.channels_out);
  expect_shape(name, "y", y, x.rows(), s.out_features());
  expect_apart(name, memory_of("y", y), {memory_of("x", x), memory_of("w", w), memory_of("bias", bias)});
  if (y.size() == 0) return;
  static const ActivationKernels kernels("conv2d_forward"), winograd("conv2d_winograd_forward");
  if (by_winograd(*execution.target, ConvPass::forward, s, x.rows())) {
    winograd.of(activation)(execution, image_rows(x, s), weights_of(Buffer::Use::in, w, s), in(bias),
                            slope_of(activation), narrow(s.padding), pixels_of(Buffer::Use::out, y, s.channels_out));
    return;
  }
  kernels.of(activation)(execution, image_rows(x, s), weights_of(Buffer::Use::in, w, s), in(bias), slope_of(activation),
                         narrow(s.stride), narrow(s.padding), pixels_of(Buffer::Use::out, y, s.channels_out));
}

void conv2d_input_gradient(const Execution& execution, ConstTensorView dz, ConstTensorView w, ConstTensorView x,
                           const Activation& below, const ConvShape& s, TensorView dx) {
  constexpr std::string_view name = "conv2d_input_gradient";
  expect_conv_shape(name, s);
  expect_shape(name, "dz", dz, dz.rows(), s.out_features());
  expect_shape(name, "w", w, s.channels_out, s.fan_in());
  expect_shape(name, "x", x, dz.rows(), s.in_features());
  expect_shape(name, "dx", dx, dz.rows(), s.in_features());
  expect_apart(name, memory_of("dx", dx), {memory_of("dz", dz), memory_of("w", w), memory_of("x", x)});
  if (dx.size() == 0) return;
  static const ActivationKernels kernels("conv2d_input_gradient"), winograd("conv2d_winograd_input_gradient");
  if (by_winograd(*execution.target, ConvPass::input_gradient, s, dx.rows())) {
    winograd.of(below)(execution, rows_of_pixels(Buffer::Use::in, dz, s.out_width() * s.channels_out, s.out_height()),
                       weights_of(Buffer::Use::in, w, s), pixels_of(Buffer::Use::in, x, s.channels_in), slope_of(below),
                       narrow(s.padding), pixels_of(Buffer::Use::out, dx, s.channels_in));
    return;
  }
  kernels.of(below)(execution, rows_of_pixels(Buffer::Use::in, dz, s.out_width() * s.channels_out, s.out_height()),
                    weights_of(Buffer::Use::in, w, s), pixels_of(Buffer::Use::in, x, s.channels_in), slope_of(below),
                    narrow(s.stride), narrow(s.padding), narrow(s.width),
                    pixels_of(Buffer::Use::out, dx, s.channels_in));
}

void conv2d_weight_gradient(const Execution& execution, ConstTensorView x, ConstTensorView dz, const ConvShape& s,
                            TensorView dw, std::span<float> db) {
  constexpr std::string_view name = "conv2d_weight_gradient";
  expect_conv_shape(name, s);
  expect_shape(name, "x", x, x.rows(), s.in_features());
  expect_shape(name, "dz", dz, x.rows(), s.out_features());
  expect_shape(name, "dw", dw, s.channels_out, s.fan_in());
  expect_size(name, "db", db, s.channels_out);
  const std::span<const float> biases = db;
  expect_apart(name, memory_of("dw", dw), {memory_of("x", x), memory_of("dz", dz), memory_of("db", biases)});
  expect_apart(name, memory_of("db", biases), {memory_of("x", x), memory_of("dz", dz)});
  if (x.rows() == 0) {
    for (std::int64_t m = 0; m < dw.rows(); ++m) std::fill_n(dw.row(m), dw.cols(), 0.0F);
    std::fill(db.begin(), db.end(), 0.0F);
    return;
  }
  static const Kernel kernel("conv2d_weight_gradient"), winograd("conv2d_winograd_weight_gradient");
  if (by_winograd(*execution.target, ConvPass::weight_gradient, s, x.rows())) {
    winograd(execution, image_rows(x, s), pixels_of(Buffer::Use::in, dz, s.channels_out), narrow(s.padding),
             weights_of(Buffer::Use::out, dw, s), out(db));
    return;
  }
  kernel(execution, image_rows(x, s), pixels_of(Buffer::Use::in, dz, s.channels_out), narrow(s.stride),
         narrow(s.padding), weights_of(Buffer::Use::out, dw, s), out(db));
}

}  // namespace kindling::kernels
