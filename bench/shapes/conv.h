// The convolutions of the papers' networks: 3 x 3 kernels, padding 1, stride 1, batches of 100.
#pragma once

#include <array>
#include <cstdint>

namespace kindling::bench {

struct ConvShape {
  std::int64_t channels_in, channels_out, size;  ///< size x size pixels
};

inline constexpr std::int64_t conv_batch = 100, conv_kernel = 3, conv_padding = 1;

inline constexpr std::array conv_shapes{
    ConvShape{3, 16, 32},  ConvShape{16, 16, 16}, ConvShape{16, 16, 8},  ConvShape{3, 48, 32},   ConvShape{48, 48, 32},
    ConvShape{48, 96, 16}, ConvShape{96, 96, 16}, ConvShape{96, 192, 8}, ConvShape{192, 192, 8},
};

}  // namespace kindling::bench
