#include "kernels/layout.h"

#include "kernels/expect.h"

namespace kindling::kernels {
namespace {

using Use = Buffer::Use;

// Every row of x is a matrix of `lines` x cols / lines, stored transposed.
void transpose(std::string_view name, const Execution& execution, ConstTensorView x, std::int64_t channels, bool planar,
               TensorView y) {
  expect_rows(name, "x", x);
  if (channels < 1 || x.cols() % channels != 0) {
    refuse(name, fmt::format("expected rows of a multiple of {} channels, found {}", channels, x.cols()));
  }
  expect_shape(name, "y", y, x.rows(), x.cols());
  if (x.size() == 0) return;
  static const Kernel kernel{"transpose_samples"};
  const std::int64_t lines = planar ? channels : x.cols() / channels, columns = x.cols() / lines;
  kernel(execution, Buffer(Use::in, x.data(), {columns, lines, x.rows()}, {1, columns, x.row_stride()}),
         Buffer(Use::out, y.data(), {lines, columns, x.rows()}, {1, lines, y.row_stride()}));
}

}  // namespace

void planar_to_channels_last(const Execution& execution, ConstTensorView x, std::int64_t channels, TensorView y) {
  transpose("planar_to_channels_last", execution, x, channels, true, y);
}

void channels_last_to_planar(const Execution& execution, ConstTensorView x, std::int64_t channels, TensorView y) {
  transpose("channels_last_to_planar", execution, x, channels, false, y);
}

void patches(const Execution& execution, ConstTensorView x, const PatchShape& s, TensorView rows) {
  constexpr std::string_view name = "patches";
  if (s.height < 1 || s.width < 1 || s.channels < 1 || s.kernel_height < 1 || s.kernel_width < 1 || s.stride < 1 ||
      s.padding < 0 || s.kernel_height > s.height + 2 * s.padding || s.kernel_width > s.width + 2 * s.padding) {
    refuse(name, fmt::format("a kernel of {} x {}, stride {}, does not fit an image of {} x {} x {} with padding {}",
                             s.kernel_height, s.kernel_width, s.stride, s.height, s.width, s.channels, s.padding));
  }
  expect_shape(name, "x", x, x.rows(), s.height * s.width * s.channels);
  expect_shape(name, "rows", rows, x.rows() * s.positions(), s.fan_in());
  if (!rows.contiguous()) refuse(name, "expected contiguous rows");
  if (x.rows() == 0) return;
  static const Kernel kernel{"patches"};
  const std::int64_t window = s.kernel_width * s.kernel_height;
  kernel(execution,
         Buffer(Use::in, x.data(), {s.channels, s.width, s.height, x.rows()},
                {1, s.channels, s.channels * s.width, x.row_stride()}),
         static_cast<std::int32_t>(s.stride), static_cast<std::int32_t>(s.padding),
         static_cast<std::int32_t>(s.out_width()), static_cast<std::int32_t>(s.out_height()),
         Buffer(Use::out, rows.data(), {s.kernel_width, s.kernel_height, s.channels, rows.rows()},
                {1, s.kernel_width, window, s.fan_in()}));
}

}  // namespace kindling::kernels
