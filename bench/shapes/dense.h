// Shapes of the dense benchmarks: batch x fan-in x fan-out, with what is asked of each.
#pragma once

#include <array>
#include <cstdint>

namespace kindling::bench {

struct DenseShape {
  std::int64_t batch, fan_in, fan_out;
  double forward_of_peak = 0;   ///< wanted share of the multiply-add peak; 0: none asked
  double backward_of_peak = 0;  ///< both gradients, mask and SGD step together
};

inline constexpr std::array dense_shapes{
    // Large: the paper's layers and whole data sets, and the mean-field simulations' width.
    DenseShape{1000, 784, 512, 0.90, 0.80},
    DenseShape{4096, 512, 512, 0.90, 0.80},
    DenseShape{10000, 784, 1000, 0.90, 0.80},
    DenseShape{1024, 2048, 2048, 0.85, 0.80},
    // One mini-batch through the paper's networks.
    DenseShape{100, 784, 100, 0.65},
    DenseShape{100, 784, 256},
    DenseShape{100, 256, 100},
    DenseShape{100, 100, 10},
    DenseShape{100, 784, 32},
    DenseShape{100, 32, 32},
    DenseShape{100, 32, 10},
    DenseShape{32, 100, 100},
    DenseShape{1000, 784, 10},
    // Odd: one sample, primes, one more and one less than a tile.
    DenseShape{1, 784, 100},
    DenseShape{37, 129, 11},
    DenseShape{64, 63, 65},
    DenseShape{127, 255, 257},
};

}  // namespace kindling::bench
