#include "kernels/activity.h"

#include <algorithm>

#include "kernels/expect.h"

namespace kindling::kernels {

void active_counts(const Execution& execution, ConstTensorView y, std::span<std::int32_t> counts) {
  static const Kernel kernel{"active_counts"};
  expect_rows("active_counts", "y", y);
  expect_size("active_counts", "counts", counts, y.cols());
  if (y.rows() == 0 || y.cols() == 0) {
    std::fill(counts.begin(), counts.end(), 0);
    return;
  }
  kernel(execution, buffer_of(Buffer::Use::in, y), out(counts));
}

}  // namespace kindling::kernels
