// What a schedule may know about the hardware. Kernels ask for facts ("how many accumulators fit?"), never for names,
// so that a new target is one more row here and no edit in any kernel.
//
// Values that were measured on a machine and differ from these stand in cmake/tuning.cmake, a line per row and family,
// written by `./dev tune`; the build hands them to the generator program in the environment (KINDLING_FACTS).
#pragma once

#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "Halide.h"

namespace kindling {

struct HardwareFacts {
  // The CPU's register file and caches.
  int vector_width = 4;      ///< float32 lanes of one register
  int tile_rows = 4;         ///< rows of the contraction tile, each a broadcast operand
  int tile_vectors = 2;      ///< vectors per row of the contraction tile; rows x vectors accumulators stay in registers
  int second_tile_rows = 1;  ///< rows of a second tile, for few rows that it covers with less left over; 1: none
  int narrow_rows = 8;       ///< rows of a tile of fewer vectors: as many sums as hide the latency of an addition
  int row_block_tiles = 20;  ///< most row tiles that stream past one packed panel before the next panel
  int deep_rows = 4;         ///< rows of a tile whose long sum is added up in blocks, both operands packed
  int deep_blocks = 6;       ///< blocks of terms beyond which a sum over features counts as long
  int depth_block = 256;     ///< terms of a long sum added up before the next block: a panel's share fits into L1
  int in_place_rows = 128;   ///< rows of a sum of few terms that are too few to pay for packing its other operand
  int column_block_panels = 8;  ///< panels that share one packed block of rows of a long sum, all of it in L2
  int dot_columns = 6;          ///< dot products that run side by side ...
  int dot_vectors = 2;          ///< ... each with so many vectors of partial sums: whole cache lines
  int dot_lanes = 8;            ///< most lanes of those vectors: more take longer to add up in the end than they save
  int dot_end = 48;             ///< terms that take as long as the additions across lanes that end a dot product
  int few_rows_vectors = 12;    ///< columns of one row summed side by side where few rows read B in place, in vectors
  int pair_slab_columns = 512;  ///< columns of pairs added up in float32: those of ten dimensions stay in L1
  int l1_bytes = 32 * 1024;     ///< first-level data cache of one core
  int transpose_stride = 4;     ///< elements from row to row of the squares of 4 x 4 by which operands are transposed

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

/// Overrides facts by text: "tile_rows=5 depth_block=192". An unknown name or a value below 1 ends the build.
inline void override_facts(HardwareFacts& facts, const std::string& text) {
  using F = HardwareFacts;
  static constexpr std::pair<const char*, int F::*> names[] = {
      {"vector_width", &F::vector_width},
      {"tile_rows", &F::tile_rows},
      {"tile_vectors", &F::tile_vectors},
      {"second_tile_rows", &F::second_tile_rows},
      {"narrow_rows", &F::narrow_rows},
      {"row_block_tiles", &F::row_block_tiles},
      {"deep_rows", &F::deep_rows},
      {"deep_blocks", &F::deep_blocks},
      {"depth_block", &F::depth_block},
      {"in_place_rows", &F::in_place_rows},
      {"column_block_panels", &F::column_block_panels},
      {"dot_columns", &F::dot_columns},
      {"dot_vectors", &F::dot_vectors},
      {"dot_lanes", &F::dot_lanes},
      {"dot_end", &F::dot_end},
      {"few_rows_vectors", &F::few_rows_vectors},
      {"pair_slab_columns", &F::pair_slab_columns},
      {"l1_bytes", &F::l1_bytes},
      {"transpose_stride", &F::transpose_stride},
      {"elementwise_unroll", &F::elementwise_unroll},
      {"parallel_grain", &F::parallel_grain},
      {"gpu_threads", &F::gpu_threads},
      {"gpu_block_x", &F::gpu_block_x},
      {"gpu_block_y", &F::gpu_block_y},
      {"gpu_thread_tile_x", &F::gpu_thread_tile_x},
      {"gpu_thread_tile_y", &F::gpu_thread_tile_y},
      {"gpu_vector_width", &F::gpu_vector_width},
  };
  static_assert(sizeof(F) == std::size(names) * sizeof(int), "a fact is missing in the table of names");
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    int F::*fact = nullptr;
    for (const auto& [name, member] : names) {
      if (word.compare(0, equals, name) == 0) fact = member;
    }
    char* end = nullptr;
    const long value = equals == std::string::npos ? 0 : std::strtol(word.c_str() + equals + 1, &end, 10);
    if (fact == nullptr)
      throw std::invalid_argument("KINDLING_FACTS: '" + word + "' names no fact of generators/common/hardware.h");
    if (value < 1 || value > 1 << 30 || *end != '\0')
      throw std::invalid_argument("KINDLING_FACTS: expected <fact>=<number of 1 or more>, found '" + word + "'");
    facts.*fact = static_cast<int>(value);
  }
}

/// What generators/common knows of the target's architecture, before any measured value.
inline HardwareFacts architecture_facts(const Halide::Target& target) {
  using Halide::Target;
  HardwareFacts facts;
  if (target.has_gpu_feature()) {
    // Packing and other host-side stages of a GPU pipeline do not exist: the vector width is the thread's.
    facts.vector_width = facts.gpu_vector_width;
    return facts;
  }
  facts.vector_width = target.natural_vector_size<float>();
  if (target.arch == Target::X86 && target.has_feature(Target::AVX512)) {
    // 32 registers: 20 accumulators, 2 panel vectors, broadcasts from memory. Ten rows divide batches of 100, eight
    // those of 32 and 64.
    facts.tile_rows = facts.narrow_rows = 10;
    facts.second_tile_rows = 8;
    facts.depth_block = 224;
    facts.deep_blocks = 12;  // a panel of 2048 terms is a quarter of the second cache
    facts.elementwise_unroll = 2;
  } else if (target.arch == Target::X86 && target.has_feature(Target::AVX2)) {
    facts.tile_rows = 6;  // 16 registers: 12 accumulators, 2 panel vectors, 2 broadcasts
    facts.few_rows_vectors = 14;
  } else if (target.arch == Target::X86) {
    facts.tile_rows = 4;  // 16 registers, but products need a register of their own: 8 accumulators
  } else if (target.arch == Target::ARM || target.arch == Target::RISCV) {
    facts.tile_rows = 8;  // 32 registers of 4 lanes (more with SVE and RVV)
    facts.tile_vectors = target.has_feature(Target::SVE2) ? 2 : 3;
    // Halide 21 has no valid code for SVE2 loads of every second to fourth element; every fifth is a gather.
    if (target.has_feature(Target::SVE2)) facts.transpose_stride = 5;
  }
  facts.deep_rows = facts.tile_rows;
  return facts;
}

inline HardwareFacts hardware_facts(const Halide::Target& target) {
  HardwareFacts facts = architecture_facts(target);
  if (const char* measured = std::getenv("KINDLING_FACTS")) override_facts(facts, measured);
  return facts;
}

}  // namespace kindling
