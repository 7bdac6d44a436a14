// The methods that a specification can name: what they are, their options in words, and the law that they start from.
#pragma once

#include <kindling/correlated.h>
#include <kindling/initialize.h>
#include <kindling/methods.h>

#include <string_view>
#include <vector>

namespace kindling {

enum class MethodKind {
  baseline,
  lsuv,
  jacobian,
  ibci,
  ibci_control,
  bottleneck,
  bottleneck_control,
  correlated,
  he_matched,
  mmd,
  mmd_control,
  random_label
};

struct MethodEntry {
  MethodInfo info;
  MethodKind kind;
  Law law;
  CorrelatedOptions correlated{};
};

const std::vector<MethodEntry>& method_entries();
/// Throws Error{usage} for an unknown name, with those that are known.
const MethodEntry& method_entry(std::string_view name);

}  // namespace kindling
