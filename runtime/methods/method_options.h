// From the text options of a MethodSpec to the option structs of the methods.
#pragma once

#include <kindling/bottleneck.h>
#include <kindling/correlated.h>
#include <kindling/ibci.h>
#include <kindling/initialize.h>
#include <kindling/jacobian.h>
#include <kindling/methods.h>
#include <kindling/mmd.h>

#include <optional>

#include "methods/option_reader.h"

namespace kindling {

struct IbciRequest {
  IbciOptions options;
  bool search = false;  ///< alpha=search
  AlphaSearchOptions search_options;
};

struct CorrelatedRequest {
  CorrelatedOptions options;
  std::optional<CorrelatedOptions> match;
};

/// `law_option` names the option that holds the law ("law", "base"), empty where the method's name is the law.
BaselineOptions read_baseline(OptionReader& reader, Law fallback, const std::string& law_option);
LsuvOptions read_lsuv(OptionReader& reader);
JacobianOptions read_jacobian(OptionReader& reader);
IbciRequest read_ibci(OptionReader& reader);
/// `law` as changed by the options.
CorrelatedRequest read_correlated(OptionReader& reader, const CorrelatedOptions& law);
/// Independent normal weights with the lengths of the law that option `like` and the others describe.
CorrelatedRequest read_he_matched(OptionReader& reader);

/// Bottleneck training from a base law.
struct BottleneckRequest {
  BaselineOptions base;
  BottleneckOptions options;
};
BottleneckRequest read_bottleneck(OptionReader& reader);
MmdOptions read_mmd(OptionReader& reader);
/// Whether mmd-control matches Jacobians too.
bool read_mmd_match(OptionReader& reader);
RandomLabelOptions read_random_label(OptionReader& reader);

}  // namespace kindling
