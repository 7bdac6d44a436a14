// Which methods a comparison runs and what each is compared with.
#pragma once

#include <kindling/compare.h>

#include <cstdint>
#include <string>
#include <vector>

namespace kindling {

struct PlannedMethod {
  MethodSpec spec;
  std::string text;
  bool added = false;     // not asked for: the control of a method before it
  std::string reference;  // text of the control, or of the baseline; empty for the baseline itself
};

/// Throws Error{usage} for an empty list or a method given twice.
std::vector<PlannedMethod> plan_methods(const CompareOptions& options);

/// Throws Error{usage}, see run_comparison.
void check_options(const CompareOptions& options);
/// Likewise, of the steps of the curve, once the number of training samples is known.
void check_curve(const CompareOptions& options, std::int64_t samples);

}  // namespace kindling
