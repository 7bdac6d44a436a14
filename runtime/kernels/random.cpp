#include "kernels/random.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/expect.h"

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
    std::copy_n(last.begin(), size % 4, out.data() + 4 * whole);
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

}  // namespace kindling::kernels
