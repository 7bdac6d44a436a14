// Information of a layer's outputs with the inputs and with the labels.
#include <fmt/format.h>
#include <kindling/information.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/optimizer.h"
#include "kernels/random.h"
#include "nn/batches.h"
#include "nn/pair_indices.h"
#include "nn/stages.h"
#include "theory/information_run.h"

namespace kindling {
namespace {

constexpr double cache_bytes = 256e6;

// Which random numbers a source draws: one unit a use.
enum Unit : std::uint32_t { train_index = 20, fresh_index = 21, train_noise = 22, fresh_noise = 23 };

// Batches of samples and the layer's outputs for them.
class LayerSource : public PairSource {
 public:
  LayerSource(const Model& model, std::size_t end, const Dataset& data, const Samples& fresh,
              const LayerInformationOptions& options, const Context& context)
      : exec_(kernels::execution(context)),
        data_(data),
        fresh_split_(fresh),
        seed_(context.seed),
        product_(options.estimate.product),
        train_(exec_, model, end, data, data.train, 2 * options.estimate.batch, cache_bytes),
        fresh_(exec_, model, end, data, fresh, 2 * options.estimate.batch, cache_bytes) {}

  [[nodiscard]] std::int64_t first_features() const override { return train_.features(); }
  void train_pairs(std::uint32_t number, TensorView first, TensorView second) override {
    const std::int64_t n = first.rows();
    const auto index = random_pairs({seed_, Purpose::pairs, train_index, number}, n, data_.train.count, product_);
    fill(train_, data_.train, index, {seed_, Purpose::noise, train_noise, number}, first, second);
  }
  void fresh_pairs(std::uint32_t number, TensorView first, TensorView second) override {
    const std::int64_t n = first.rows(), count = fresh_split_.count;
    const auto index = pairs_in_turn({seed_, Purpose::pairs, fresh_index, number}, number * n, n, count);
    fill(fresh_, fresh_split_, index, {seed_, Purpose::noise, fresh_noise, number}, first, second);
  }

 protected:
  virtual void fill(PrefixOutputs& outputs, const Samples& split, std::span<const std::int32_t> index,
                    const Stream& noise, TensorView first, TensorView second) = 0;
  kernels::Execution exec_;
  const Dataset& data_;
  const Samples& fresh_split_;
  std::uint64_t seed_;
  ProductPairs product_;
  PrefixOutputs train_, fresh_;
};

class TargetSource final : public LayerSource {
 public:
  using LayerSource::LayerSource;
  [[nodiscard]] std::int64_t second_features() const override { return data_.classes; }

 private:
  void fill(PrefixOutputs& outputs, const Samples& split, std::span<const std::int32_t> index, const Stream&,
            TensorView first, TensorView second) override {
    outputs.gather(exec_, index.first(index.size() / 2), first);
    gather_one_hot(split, index, second);
  }
};

class InputSource final : public LayerSource {
 public:
  InputSource(const Model& model, std::size_t end, const Dataset& data, const Samples& fresh,
              const LayerInformationOptions& options, const Context& context)
      : LayerSource(model, end, data, fresh, options, context),
        aware_(options.input_estimator == InputEstimator::aa_mine),
        deviation_(static_cast<float>(std::sqrt(options.noise_variance))),
        inputs_(model.inputs()),
        outputs_({2 * options.estimate.batch, LayerSource::first_features()}),
        residency_(exec_) {
    residency_.keep(kernels::Residency::Role::scratch, outputs_);
  }
  [[nodiscard]] std::int64_t first_features() const override {
    return aware_ ? LayerSource::first_features() : inputs_;
  }
  [[nodiscard]] std::int64_t second_features() const override { return LayerSource::first_features(); }

 private:
  void fill(PrefixOutputs& outputs, const Samples& split, std::span<const std::int32_t> index, const Stream& noise,
            TensorView first, TensorView second) override {
    const auto joint = index.first(index.size() / 2);
    // The copy of the layers inside the critic and the layers themselves are computed once for both.
    outputs.gather(exec_, index, outputs_);
    if (aware_)
      kernels::copy_rows(exec_, outputs_.view().matrix().rows(0, first.rows()), first);
    else
      gather_rows(exec_, data_, split, joint, first);
    kernels::philox_normal(exec_, noise, 0, deviation_, second.flat());
    kernels::sgd_step(exec_, std::as_const(outputs_).flat(), {.learning_rate = -1}, second.flat());
  }

  bool aware_;
  float deviation_;
  std::int64_t inputs_;
  Tensor outputs_;
  kernels::Residency residency_;
};

void expect_labels(const char* name, const Samples& split) {
  if (split.count < 2)
    throw Error(ErrorCode::bad_input,
                fmt::format("information: expected 2 or more {} samples, found {}", name, split.count));
  if (std::all_of(split.labels.begin(), split.labels.end(),
                  [&](std::int32_t l) { return l == split.labels.front(); })) {
    throw Error(ErrorCode::bad_input,
                fmt::format("information: all {} labels are {}: nothing can be known about a constant", name,
                            split.labels.front()));
  }
}

}  // namespace

InputEstimator parse_input_estimator(std::string_view text) {
  if (text == "mine") return InputEstimator::mine;
  if (text == "aa-mine") return InputEstimator::aa_mine;
  throw Error(ErrorCode::usage, fmt::format("information: estimator: expected mine or aa-mine, found '{}'", text));
}

std::string to_string(InputEstimator estimator) { return estimator == InputEstimator::mine ? "mine" : "aa-mine"; }

LayerInformation estimate_layer_information(const Model& model, std::size_t index, const Dataset& data,
                                            const LayerInformationOptions& options, const Context& context) {
  check_options(options.estimate);
  check_fits(model, data.train.features, 0);
  check_finite(model);
  const auto all = stages(model);
  if (index >= all.size())
    throw Error(ErrorCode::usage,
                fmt::format("information: layer {}: the model has {} layers with neurons", index, all.size()));
  if (!(options.noise_variance >= 0) || !std::isfinite(options.noise_variance)) {
    throw Error(ErrorCode::usage,
                fmt::format("information: noise variance: expected a finite number, 0 or more, found {}",
                            options.noise_variance));
  }
  const Samples& fresh = data.test.count > 0 ? data.test : data.validation;
  expect_labels("training", data.train);
  expect_labels(data.test.count > 0 ? "test" : "validation", fresh);
  LayerInformation result;
  result.layer = model.layers()[all[index].neurons].name;
  // Two estimates a layer, apart from those of other layers.
  const auto unit = static_cast<std::uint32_t>(1 + 2 * index);
  if (options.input) {
    InputSource source(model, all[index].end, data, fresh, options, context);
    result.input = run_estimate(source, fmt::format("I(X; {} + noise)", result.layer), unit, options.estimate, context);
  }
  if (options.target) {
    TargetSource source(model, all[index].end, data, fresh, options, context);
    result.target = run_estimate(source, fmt::format("I(Y; {})", result.layer), unit + 1, options.estimate, context);
  }
  return result;
}

}  // namespace kindling
