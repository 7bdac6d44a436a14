#include "kernels/dropout.h"

#include <cmath>

#include "kernels/expect.h"

namespace kindling::kernels {

void dropout(const Execution& execution, ConstTensorView x, const Stream& stream, double rate, TensorView y) {
  constexpr std::string_view name = "dropout";
  if (!(rate >= 0 && rate < 1)) refuse(name, fmt::format("expected a rate in [0, 1), found {}", rate));
  expect_rows(name, "x", x);
  expect_shape(name, "y", y, x.rows(), x.cols());
  if (x.rows() * ((x.cols() + 3) / 4) > std::int64_t{1} << 32) {
    refuse(name, fmt::format("a stream has 2^32 blocks of four, found {} elements", x.size()));
  }
  if (x.size() == 0) return;
  static const Kernel kernel{"dropout"};
  const double threshold = std::min(std::round(rate * 0x1p32), 0x1p32 - 1);
  kernel(execution, buffer_of(Buffer::Use::in, x), static_cast<std::uint32_t>(stream.seed),
         static_cast<std::uint32_t>(stream.seed >> 32U), stream.step, stream.unit,
         static_cast<std::uint32_t>(stream.purpose), static_cast<std::uint32_t>(threshold),
         static_cast<float>(1 / (1 - rate)), buffer_of(Buffer::Use::out_in_place, y));
}

}  // namespace kindling::kernels
