// The three compiled forms of a kernel with an activation, and which of them an activation needs.
#pragma once

#include <kindling/activation.h>

#include <string>

#include "kernels/dispatch.h"

namespace kindling::kernels {

/// tanh or sigmoid: f'' does not vanish.
inline bool is_smooth(const Activation& activation) {
  return activation.kind == ActivationKind::tanh || activation.kind == ActivationKind::sigmoid;
}

/// The number that tells the piecewise-linear form which activation it is; 0 for the other forms, which ignore it.
inline float slope_of(const Activation& activation) {
  return is_smooth(activation) ? 0.0F : negative_slope(activation);
}

struct ActivationKernels {
  Kernel piecewise_linear, tanh, sigmoid;

  /// `name`, `name`_tanh, `name`_sigmoid.
  explicit ActivationKernels(const std::string& name)
      : piecewise_linear(name), tanh(name + "_tanh"), sigmoid(name + "_sigmoid") {}

  [[nodiscard]] const Kernel& of(const Activation& activation) const {
    if (activation.kind == ActivationKind::tanh) return tanh;
    if (activation.kind == ActivationKind::sigmoid) return sigmoid;
    return piecewise_linear;
  }
};

}  // namespace kindling::kernels
