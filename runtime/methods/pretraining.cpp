#include "methods/pretraining.h"

#include <fmt/format.h>
#include <kindling/random.h>

#include <algorithm>
#include <cmath>

#include "kernels/device_log.h"
#include "methods/class_moments.h"
#include "nn/batches.h"

namespace kindling {
namespace {

constexpr std::uint32_t shuffle_unit = 0x80000000U;  // beside the passes of supervised training

// |W - W_start| / |W_start| of every layer with neurons.
std::vector<std::pair<std::string, double>> movement(const Model& start, const Model& end) {
  std::vector<std::pair<std::string, double>> result;
  for (std::size_t i = 0; i < start.layers().size(); ++i) {
    const Layer &a = start.layers()[i], &b = end.layers()[i];
    if (!a.has_neurons()) continue;
    double moved = 0, norm = 0;
    for (std::int64_t k = 0; k < a.weight.size(); ++k) {
      const double from = a.weight.data()[k], to = b.weight.data()[k];
      moved += (to - from) * (to - from);
      norm += from * from;
    }
    result.emplace_back(a.name, std::sqrt(moved / norm));
  }
  return result;
}

}  // namespace

UnlabelledBatches::UnlabelledBatches(std::string_view method, const Dataset& data, std::int64_t batch,
                                     std::uint64_t seed)
    : method_(method), data_(data), batch_(std::min(batch, data.train.count)), seed_(seed) {
  if (data.train.count < 1) throw Error(ErrorCode::bad_input, fmt::format("{}: the training split is empty", method));
}

void UnlabelledBatches::read(const kernels::Execution& exec, std::int64_t step, TensorView out) {
  const std::int64_t per_pass = data_.train.count / batch_, pass = (step - 1) / per_pass;
  if (pass != pass_) {
    const auto order = random_permutation({seed_, Purpose::shuffle, shuffle_unit, static_cast<std::uint32_t>(pass)},
                                          data_.train.count);
    order_.assign(order.begin(), order.end());
    pass_ = pass;
  }
  const std::int64_t first = (step - 1) % per_pass * batch_;
  const std::span<const std::int32_t> chosen(order_.data() + first, static_cast<std::size_t>(batch_));
  gather_rows(exec, data_, data_.train, chosen, out);
  kernels::on_host("batches: every input is looked at for NaN");
  kernels::fetch(out);
  for (std::int64_t r = 0; r < batch_; ++r) {
    const float* row = out.row(r);
    const float* found = std::find_if_not(row, row + out.cols(), [](float v) { return std::isfinite(v); });
    if (found != row + out.cols()) {
      throw Error(ErrorCode::bad_input, fmt::format("{}: training sample {}, feature {} is {}", method_,
                                                    chosen[static_cast<std::size_t>(r)], found - row, *found));
    }
  }
}

bool BestWindow::add(std::int64_t step, const MmdTerms& terms) {
  sum_.uniformity += terms.uniformity;
  sum_.softmax += terms.softmax;
  sum_.detachment += terms.detachment;
  sum_.total += terms.total;
  if (++count_ < window_) return false;
  const auto n = static_cast<double>(count_);
  curve.push_back({step, {sum_.uniformity / n, sum_.softmax / n, sum_.detachment / n, sum_.total / n}});
  sum_ = {};
  count_ = 0;
  return true;
}

void BestWindow::keep_if_best(const Model& model) {
  check_finite(model);
  const std::size_t last = curve.size() - 1;
  if (best && curve[last].terms.total >= curve[best_index].terms.total) return;
  best = model.clone();
  best_index = last;
}

bool BestWindow::exhausted() const {
  return patience_ > 0 && !curve.empty() && static_cast<std::int64_t>(curve.size() - 1 - best_index) >= patience_;
}

void BestWindow::finish(Model& model, const Model& start, const Dataset& data, MmdReport& report,
                        const Context& context) {
  report.stopped = report.steps < steps_ ? fmt::format("no improvement in {} windows of {} steps", patience_, window_)
                                         : "all steps done";
  report.curve = curve;
  report.best_step = curve[best_index].step;
  report.best = curve[best_index].terms;
  calibrate_batch_norms(*best, data, context);
  report.movement = movement(start, *best);
  model = std::move(*best);
}

void calibrate_batch_norms(Model& model, const Dataset& data, const Context& context) {
  const kernels::Execution exec = kernels::execution(context);
  LayerInputs inputs(exec, data, {}, moment_rows(model), 0);
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    if (model.layers()[i].kind == LayerKind::batch_norm) calibrate_batch_norm(exec, model, i, inputs, context);
  }
}

}  // namespace kindling
