#pragma once

#include <kindling/train.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace kindling {

/// Looks at a model while it is trained, for instance to estimate what its layers know of inputs and labels.
struct TrainObserver {
  std::vector<std::int64_t> at;  ///< numbers of steps done; 0: before the first one
  /// Called after each of them with the model as it is then.
  std::function<void(std::int64_t steps, const Model& model)> look;
};

/// train() that calls the observer between its steps; what it does changes nothing in the result.
TrainResult train(Model& model, const Dataset& data, const TrainOptions& options, const TrainObserver& observer,
                  const Context& context);

}  // namespace kindling
