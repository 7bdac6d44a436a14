// Evaluation where the caller has kernels and arrays on a device already.
#pragma once

#include <kindling/train.h>

#include "kernels/dispatch.h"

namespace kindling {

/// evaluate() with `exec` in place of what `context` names.
Evaluation evaluate_on(kernels::Execution exec, const Model& model, const Dataset& data, const Samples& split,
                       const Context& context);

}  // namespace kindling
