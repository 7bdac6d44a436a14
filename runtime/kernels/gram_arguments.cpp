#include "kernels/gram_arguments.h"

#include <bit>
#include <functional>

#include "kernels/residency.h"

namespace kindling::kernels {

Problems problems_of(std::string_view kernel, std::string_view name, const ConstTensorView& view) {
  if (view.rank() != 2 && view.rank() != 3) {
    refuse(kernel,
           fmt::format("expected {} of rank 2 (n x d) or 3 (problems x n x d), found rank {}", name, view.rank()));
  }
  expect_rows(kernel, name, view);
  const bool one = view.rank() == 2;
  Problems p;
  p.count = one ? 1 : view.extent(0);
  p.rows = one ? view.extent(0) : view.extent(1);
  p.depth = one ? view.extent(1) : view.extent(2);
  p.row_stride = one ? view.row_stride() : p.depth;
  p.problem_stride = one ? p.rows * p.row_stride : view.row_stride();
  if (p.depth < 1) refuse(kernel, fmt::format("expected at least one coordinate in {}, found 0", name));
  return p;
}

void expect_coordinates(std::string_view kernel, std::string_view name, const ConstTensorView& view) {
  const auto limit = std::bit_cast<std::uint32_t>(largest_coordinate);
  const Problems p = problems_of(kernel, name, view);
  fetch(view);
  const std::int64_t run = view.cols();
  for (std::int64_t r = 0; r < view.rows(); ++r) {
    const float* row = view.row(r);
    std::uint32_t wrong = 0;  // the sign bit is set when a magnitude exceeds the limit, infinity and NaN too
    for (std::int64_t k = 0; k < run; ++k) wrong |= limit - (std::bit_cast<std::uint32_t>(row[k]) & 0x7fffffffU);
    if ((wrong & 0x80000000U) == 0) continue;
    for (std::int64_t k = 0; k < run; ++k) {
      if ((std::bit_cast<std::uint32_t>(row[k]) & 0x7fffffffU) <= limit) continue;
      const std::int64_t sample = view.rank() == 2 ? r : k / p.depth;
      const std::string where = view.rank() == 2 ? "" : fmt::format("problem {}, ", r);
      refuse(kernel, fmt::format("expected finite coordinates up to {:g} in magnitude, found {} in {} at {}row {}, "
                                 "coordinate {}",
                                 largest_coordinate, row[k], name, where, sample, k % p.depth));
    }
  }
}

Extent extent_of(std::string_view name, const ConstTensorView& view) {
  const std::int64_t elements = view.size() == 0 ? 0 : (view.rows() - 1) * view.row_stride() + view.cols();
  return {name, view.data(), static_cast<std::size_t>(elements) * sizeof(float)};
}

void expect_apart(std::string_view kernel, std::span<const Extent> outputs, std::span<const Extent> inputs) {
  const auto meet = [](const Extent& a, const Extent& b) {
    const auto* x = static_cast<const char*>(a.data);
    const auto* y = static_cast<const char*>(b.data);
    const std::less<> before;
    return a.bytes > 0 && b.bytes > 0 && before(x, y + b.bytes) && before(y, x + a.bytes);
  };
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    for (const Extent& input : inputs) {
      if (meet(outputs[i], input)) refuse(kernel, fmt::format("{} overlaps {}", outputs[i].name, input.name));
    }
    for (const Extent& other : outputs.subspan(i + 1)) {
      if (meet(outputs[i], other)) refuse(kernel, fmt::format("{} overlaps {}", outputs[i].name, other.name));
    }
  }
}

}  // namespace kindling::kernels
