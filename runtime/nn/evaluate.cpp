#include "nn/evaluate.h"

#include <utility>
#include <vector>

#include "kernels/loss.h"
#include "kernels/residency.h"
#include "nn/batches.h"
#include "nn/forward_pass.h"

namespace kindling {

Evaluation evaluate(const Model& model, const Dataset& data, const Samples& split, const Context& context) {
  return evaluate_on(kernels::execution(context), model, data, split, context);
}

Evaluation evaluate_on(kernels::Execution exec, const Model& model, const Dataset& data, const Samples& split,
                       const Context& context) {
  check_fits(model, split.features, data.classes);
  const std::int64_t batch = pass_rows(model, 1000);
  const std::int64_t most = std::min(batch, split.count);
  ForwardPass pass(model, most);
  Tensor samples({most, model.inputs()});
  kernels::Residency residency(exec);
  keep_parameters(residency, model);
  pass.keep_on(residency);
  residency.keep(kernels::Residency::Role::scratch, std::as_const(samples).flat());
  std::vector<float> losses(static_cast<std::size_t>(most));
  std::vector<std::int32_t> predictions(losses.size());

  double loss = 0;
  std::int64_t wrong = 0;
  for (std::int64_t first = 0; first < split.count; first += batch) {
    context.check_stop();
    const std::int64_t rows = std::min(batch, split.count - first);
    const auto n = static_cast<std::size_t>(rows);
    read_rows(exec, data, split, first, samples.view().rows(0, rows));
    const ConstTensorView outputs =
        pass.run(exec, model, std::as_const(samples).view().rows(0, rows), model.layers().size());
    const std::span<const std::int32_t> labels(split.labels.data() + first, n);
    kernels::softmax_cross_entropy_loss(exec, outputs, labels, std::span(losses.data(), n),
                                        std::span(predictions.data(), n));
    for (std::size_t i = 0; i < n; ++i) {
      loss += losses[i];
      wrong += predictions[i] != labels[i] ? 1 : 0;
    }
  }
  const auto count = static_cast<double>(split.count);
  return {loss / count, static_cast<double>(wrong) / count};
}

}  // namespace kindling
