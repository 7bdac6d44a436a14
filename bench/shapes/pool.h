// Pooling after the layers of bench/shapes/conv.h: halves of images, and the overlapping windows of residual networks.
#pragma once

#include <array>
#include <cstdint>

namespace kindling::bench {

struct PoolWindow {
  std::int64_t size, channels;  ///< size x size pixels
  std::int64_t window, stride, padding;
};

inline constexpr std::int64_t pool_batch = 100;

inline constexpr std::array pool_windows{
    PoolWindow{32, 48, 2, 2, 0},
    PoolWindow{16, 96, 2, 2, 0},
    PoolWindow{32, 16, 3, 2, 1},
};

}  // namespace kindling::bench
