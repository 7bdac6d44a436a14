// What a schedule may know about the hardware. Kernels ask for facts ("how many accumulators fit?"), never for names,
// so that a new target is one more row here and no edit in any kernel.
#pragma once

#include "Halide.h"

namespace kindling {

struct HardwareFacts {
  // The CPU's register file and caches.
  int vector_width = 4;      ///< float32 lanes of one register
  int tile_rows = 4;         ///< rows of the contraction tile, each a broadcast operand
  int tile_vectors = 2;      ///< vectors per row of the contraction tile; rows x vectors accumulators stay in registers
  int narrow_rows = 8;       ///< rows of a tile of fewer vectors: as many sums as hide the latency of an addition
  int row_block_tiles = 20;  ///< most row tiles that stream past one packed panel before the next panel
  int depth_block = 256;     ///< terms of a long sum added up before the next block: a panel's share fits into L1
  int in_place_rows = 128;   ///< rows of a sum of few terms that are too few to pay for packing its other operand
  int column_block_panels = 8;  ///< panels that share one packed block of rows of a long sum, all of it in L2
  int dot_columns = 8;          ///< dot products that run side by side, each with a vector of partial sums
  int few_rows = 16;            ///< up to here dot products along k can beat tiles, whose packing too few rows share
  int dot_depth_per_row = 40;   ///< ... given this fan-in per row, which pays for adding up the lanes
  int l1_bytes = 32 * 1024;     ///< first-level data cache of one core

  // Elementwise kernels.
  int elementwise_unroll = 4;      ///< independent vectors per iteration: enough to hide the latency of a polynomial
  int parallel_grain = 16 * 1024;  ///< elements of one parallel task: some 10 us of work, far above the cost of a task

  // The GPU's grid.
  int gpu_threads = 128;      ///< threads of a one-dimensional block
  int gpu_block_x = 16;       ///< threads of a two-dimensional block along the contiguous dimension
  int gpu_block_y = 8;        ///< threads of a two-dimensional block along rows
  int gpu_thread_tile_x = 8;  ///< accumulators of one thread along the contiguous dimension
  int gpu_thread_tile_y = 8;  ///< accumulators of one thread along rows
  int gpu_vector_width = 4;   ///< float32 lanes of the widest load of one thread (16 bytes)
};

inline HardwareFacts hardware_facts(const Halide::Target& target) {
  using Halide::Target;
  HardwareFacts facts;
  if (target.has_gpu_feature()) {
    // Packing and other host-side stages of a GPU pipeline do not exist: the vector width is the thread's.
    facts.vector_width = facts.gpu_vector_width;
    return facts;
  }
  facts.vector_width = target.natural_vector_size<float>();
  if (target.arch == Target::X86 && target.has_feature(Target::AVX512)) {
    // 32 registers: 20 accumulators, 2 panel vectors, broadcasts from memory. Ten rows divide the usual batch sizes.
    facts.tile_rows = facts.narrow_rows = 10;
    facts.depth_block = 224;
    facts.elementwise_unroll = 2;
  } else if (target.arch == Target::X86 && target.has_feature(Target::AVX2)) {
    facts.tile_rows = 6;  // 16 registers: 12 accumulators, 2 panel vectors, 2 broadcasts
  } else if (target.arch == Target::X86) {
    facts.tile_rows = 4;  // 16 registers, but products need a register of their own: 8 accumulators
  } else if (target.arch == Target::ARM) {
    facts.tile_rows = 8;  // 32 registers of 4 lanes (more with SVE)
    facts.tile_vectors = target.has_feature(Target::SVE2) ? 2 : 3;
  }
  return facts;
}

}  // namespace kindling
