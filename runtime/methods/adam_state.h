// Adam over all parameters of a model, for gradients that are stored.
#pragma once

#include <kindling/model.h>

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/dispatch.h"
#include "nn/jacobian.h"

namespace kindling {

/// Moments of one layer.
struct AdamState {
  Tensor weight_mean, weight_square, bias_mean, bias_square;

  [[nodiscard]] std::array<const Tensor*, 4> moments() const {
    return {&weight_mean, &weight_square, &bias_mean, &bias_square};
  }
};
std::vector<AdamState> adam_states(const Model& model);

/// Step `step` (from 1) with the default decays (0.9, 0.999).
void adam_update(const kernels::Execution& exec, Model& model, std::vector<LayerGradient>& gradients,
                 std::vector<AdamState>& states, double rate, std::int64_t step);

}  // namespace kindling
