// The table that cmake/AddKernel.cmake generates: a row per hardware target, a row per kernel.
#pragma once

#include <span>
#include <string_view>

#include "HalideRuntime.h"

namespace kindling::kernels {

inline constexpr int max_targets = 16;

struct TargetRow {
  std::string_view name;
  std::string_view halide_target;
  std::string_view requires_features;  // separated by spaces
  bool gpu;
};

struct KernelVariant {
  int (*call)(void**);
  const halide_filter_metadata_t* (*metadata)();
};

struct KernelRow {
  std::string_view name;
  KernelVariant variants[max_targets];  // in the order of target_rows()
};

std::span<const TargetRow> target_rows();
/// Sorted by name.
std::span<const KernelRow> kernel_rows();

}  // namespace kindling::kernels
