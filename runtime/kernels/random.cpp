#include "kernels/random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "kernels/expect.h"
#include "kernels/residency.h"

namespace kindling::kernels {
namespace {

// A kernel writes whole blocks. A last, incomplete one goes through four elements of our own.
template <class T, class... Parameters>
void fill(const Kernel& kernel, std::string_view name, const Execution& execution, const Stream& stream,
          std::span<T> out, std::uint32_t first_block, Parameters... parameters) {
  const auto size = static_cast<std::int64_t>(out.size());
  if ((size + 3) / 4 > (std::int64_t{1} << 32) - first_block) {
    refuse(name,
           fmt::format("a stream has 2^32 blocks of four, found {} elements from block {} on", size, first_block));
  }
  const auto run = [&](T* data, std::int64_t blocks, std::int64_t first) {
    kernel(execution, static_cast<std::uint32_t>(stream.seed), static_cast<std::uint32_t>(stream.seed >> 32U),
           stream.step, stream.unit, static_cast<std::uint32_t>(stream.purpose), static_cast<std::uint32_t>(first),
           parameters..., Buffer(Buffer::Use::out, data, {4, blocks}, {1, 4}));
  };
  // A buffer spans less than 2^31 bytes.
  constexpr std::int64_t most = std::int64_t{1} << 26;
  const std::int64_t whole = size / 4;
  for (std::int64_t block = 0; block < whole; block += most) {
    run(out.data() + 4 * block, std::min(most, whole - block), first_block + block);
  }
  if (size % 4 != 0) {
    std::array<T, 4> last{};
    run(last.data(), 1, first_block + whole);
    const std::int64_t rest = size % 4;
    if constexpr (std::is_same_v<T, float>) {
      return copy_rows(execution, {last.data(), {1, rest}}, {out.data() + 4 * whole, {1, rest}});
    }
    std::copy_n(last.begin(), rest, out.data() + 4 * whole);
  }
}

void expect_blocks(std::string_view name, const ConstTensorView& out, std::int64_t row_blocks) {
  if (out.rows() * row_blocks > std::int64_t{1} << 32) {
    refuse(name, fmt::format("a stream has 2^32 blocks, found {} rows of {}", out.rows(), row_blocks));
  }
}

// A matrix whose every row is a function of its own blocks. A buffer spans less than 2^31 bytes: some rows a call.
template <class... Parameters>
void fill_rows(const Kernel& kernel, const Execution& execution, const Stream& stream, TensorView out,
               std::int64_t row_blocks, Parameters... parameters) {
  const TensorView matrix = out.matrix();
  const std::int64_t most =
      std::max<std::int64_t>(1, (std::int64_t{1} << 28) / std::max<std::int64_t>(matrix.row_stride(), 1));
  for (std::int64_t row = 0; row < matrix.rows(); row += most) {
    kernel(execution, static_cast<std::uint32_t>(stream.seed), static_cast<std::uint32_t>(stream.seed >> 32U),
           stream.step, stream.unit, static_cast<std::uint32_t>(stream.purpose),
           static_cast<std::uint32_t>(row * row_blocks), parameters...,
           kernels::out(matrix.rows(row, std::min(most, matrix.rows() - row))));
  }
}

}  // namespace

void philox_words(const Execution& execution, const Stream& stream, std::span<std::uint32_t> out,
                  std::uint32_t first_block) {
  static const Kernel kernel{"philox_words"};
  fill(kernel, "philox_words", execution, stream, out, first_block);
}

void philox_uniform(const Execution& execution, const Stream& stream, float low, float high, std::span<float> out,
                    std::uint32_t first_block) {
  static const Kernel kernel{"philox_uniform"};
  const float first = std::nextafter(low, high), last = std::nextafter(high, low);
  if (!std::isfinite(high - low) || !(low < high) || first > last) {
    refuse("philox_uniform",
           fmt::format("expected finite bounds low < high with a float32 between, found {} and {}", low, high));
  }
  fill(kernel, "philox_uniform", execution, stream, out, first_block, low, high, first, last);
}

void philox_normal(const Execution& execution, const Stream& stream, float mean, float stddev, std::span<float> out,
                   std::uint32_t first_block) {
  static const Kernel kernel{"philox_normal"};
  if (!std::isfinite(mean) || !std::isfinite(stddev) || stddev < 0) {
    refuse("philox_normal",
           fmt::format("expected a finite mean and a finite stddev >= 0, found {} and {}", mean, stddev));
  }
  fill(kernel, "philox_normal", execution, stream, out, first_block, mean, stddev);
}

void philox_exponential(const Execution& execution, const Stream& stream, float mean, std::span<float> out,
                        std::uint32_t first_block) {
  static const Kernel kernel{"philox_exponential"};
  if (!std::isfinite(mean) || !(mean > 0)) {
    refuse("philox_exponential", fmt::format("expected a finite mean > 0, found {}", mean));
  }
  fill(kernel, "philox_exponential", execution, stream, out, first_block, mean);
}

void philox_beta21(const Execution& execution, const Stream& stream, std::span<float> out, std::uint32_t first_block) {
  static const Kernel kernel{"philox_beta21"};
  fill(kernel, "philox_beta21", execution, stream, out, first_block);
}

namespace {

// What the kernel asks about a gamma law of shape s: d and c of Marsaglia and Tsang, for s + 1 where s < 1, whose draws
// are those of s + 1 times u^(1 / s).
struct GammaLaw {
  float d, c, log_d, root;
};
GammaLaw gamma_law(double shape) {
  const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3;
  return {static_cast<float>(d), static_cast<float>(1 / std::sqrt(9 * d)), static_cast<float>(std::log(d)),
          shape < 1 ? static_cast<float>(1 / shape) : 0.0F};
}

}  // namespace

void philox_beta(const Execution& execution, const Stream& stream, float alpha, float beta, std::span<float> out,
                 std::uint32_t first_block) {
  constexpr std::string_view name = "philox_beta";
  for (const auto& [which, shape] : {std::pair("alpha", alpha), std::pair("beta", beta)}) {
    if (!(shape >= 0.001F && shape <= 10000.0F))
      refuse(name, fmt::format("expected {} from 0.001 to 10000, found {}", which, shape));
  }
  constexpr std::int64_t blocks_of_draw = 8;
  const auto size = static_cast<std::int64_t>(out.size());
  if (size > ((std::int64_t{1} << 32) - first_block) / blocks_of_draw) {
    refuse(name,
           fmt::format("a stream has 2^32 blocks, eight a draw, found {} draws from block {} on", size, first_block));
  }
  const GammaLaw a = gamma_law(alpha), b = gamma_law(beta);
  static const Kernel kernel{name};
  constexpr std::int64_t most = std::int64_t{1} << 26;  // a buffer spans less than 2^31 bytes
  for (std::int64_t i = 0; i < size; i += most) {
    kernel(execution, static_cast<std::uint32_t>(stream.seed), static_cast<std::uint32_t>(stream.seed >> 32U),
           stream.step, stream.unit, static_cast<std::uint32_t>(stream.purpose),
           static_cast<std::uint32_t>(first_block + blocks_of_draw * i), a.d, a.c, a.log_d, a.root, b.d, b.c, b.log_d,
           b.root,
           kernels::out(out.subspan(static_cast<std::size_t>(i), static_cast<std::size_t>(std::min(most, size - i)))));
  }
}

void philox_simplex(const Execution& execution, const Stream& stream, TensorView out) {
  constexpr std::string_view name = "philox_simplex";
  expect_rows(name, "out", out);
  if (out.size() == 0) return;
  const std::int64_t row_blocks = (out.cols() + 3) / 4;
  expect_blocks(name, out, row_blocks);
  static const Kernel kernel{name};
  fill_rows(kernel, execution, stream, out, row_blocks);
}

void philox_correlated_rows(const Execution& execution, const Stream& stream, const CorrelatedRows& law,
                            TensorView out) {
  constexpr std::string_view name = "philox_correlated_rows";
  expect_rows(name, "out", out);
  if (!std::isfinite(law.scale) || !std::isfinite(law.shrink)) {
    refuse(name, fmt::format("expected finite scale and shrink, found {} and {}", law.scale, law.shrink));
  }
  if (out.size() == 0) return;
  const std::int64_t row_blocks = (out.cols() + 3) / 4 + 1;
  expect_blocks(name, out, row_blocks);
  static const Kernel kernel{name};
  fill_rows(kernel, execution, stream, out, row_blocks, law.scale, law.shrink, std::int32_t{law.beta_entry});
}

}  // namespace kindling::kernels
