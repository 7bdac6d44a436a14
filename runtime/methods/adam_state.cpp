#include "methods/adam_state.h"

#include "kernels/optimizer.h"

namespace kindling {

std::vector<AdamState> adam_states(const Model& model) {
  std::vector<AdamState> states;
  for (const Layer& layer : model.layers()) {
    if (layer.weight.empty()) {
      states.emplace_back();
      continue;
    }
    states.push_back({Tensor(layer.weight.shape()), Tensor(layer.weight.shape()), Tensor(layer.bias.shape()),
                      Tensor(layer.bias.shape())});
  }
  return states;
}

void adam_update(const kernels::Execution& exec, Model& model, std::vector<LayerGradient>& gradients,
                 std::vector<AdamState>& states, double rate, std::int64_t step) {
  const kernels::AdamStep adam{.learning_rate = static_cast<float>(rate), .step = step};
  for (std::size_t i = 0; i < states.size(); ++i) {
    Layer& layer = model.layers()[i];
    if (layer.weight.empty()) continue;
    AdamState& state = states[i];
    kernels::adam_step(exec, gradients[i].weight.flat(), adam, layer.weight.flat(), state.weight_mean.flat(),
                       state.weight_square.flat());
    kernels::adam_step(exec, gradients[i].bias.flat(), adam, layer.bias.flat(), state.bias_mean.flat(),
                       state.bias_square.flat());
  }
}

}  // namespace kindling
