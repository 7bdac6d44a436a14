#include "methods/post_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/device_log.h"
#include "kernels/scatter.h"
#include "methods/checkpoint.h"
#include "nn/batches.h"
#include "nn/pair_indices.h"

namespace kindling {
namespace {

constexpr std::int64_t window = 100;
constexpr std::int64_t most_measured = 10000;  // samples that the outputs' scale is taken from

}  // namespace

void expect_foldable(const std::string& what, const Model& model) {
  const Layer& last = model.layers().back();
  if (last.kind == LayerKind::dense && last.activation.kind == ActivationKind::identity) return;
  throw Error(ErrorCode::usage,
              fmt::format("{}: the linear layer is folded into the last one, which must be dense without activation, "
                          "found {} ({}); post_iterations=0 leaves it out",
                          what, to_string(last.kind), to_string(last.activation)));
}

PostTraining::PostTraining(const Model& model, const Dataset& data, const PostTrainingOptions& options,
                           std::int64_t batch, double cache_mb, const Context& context)
    : data_(data),
      options_(options),
      seed_(context.seed),
      batch_(batch),
      exec_(kernels::execution(context)),
      linear_(Model::mlp({model.outputs(), model.outputs()})),
      outputs_(exec_, model, model.layers().size(), data, data.train, batch_, cache_mb * 1e6),
      trainer_(linear_, batch_, {.kind = OptimizerKind::adam, .learning_rate = options.learning_rate}),
      residency_(exec_) {
  measure(data.train.count);
  trainer_.keep_on(residency_, linear_);
  // The identity: training starts from the outputs as they are, standardised.
  for (std::int64_t i = 0; i < model.outputs(); ++i) linear_.layers().front().weight.view()(i, i) = 1;
}

void PostTraining::measure(std::int64_t count) {
  count = std::min(count, most_measured);
  Tensor outputs({count, outputs_.features()});
  std::vector<std::int32_t> index(static_cast<std::size_t>(count));
  std::iota(index.begin(), index.end(), 0);
  for (std::int64_t first = 0; first < count; first += batch_) {
    const std::int64_t rows = std::min(batch_, count - first);
    outputs_.gather(exec_, std::span(index).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows)),
                    outputs.view().rows(first, rows));
  }
  const auto width = static_cast<std::size_t>(outputs_.features());
  std::vector<double> mean(width), variance(width);
  kernels::feature_moments(exec_, outputs, mean, variance);
  mean_.assign(mean.begin(), mean.end());
  // An output that never changes stays as it is.
  for (const double v : variance) inverse_std_.push_back(v > 0 ? static_cast<float>(1 / std::sqrt(v)) : 1);
}

void PostTraining::step() {
  auto index =
      random_pairs({seed_, Purpose::pairs, 999, static_cast<std::uint32_t>(steps_)}, batch_, data_.train.count);
  index.resize(static_cast<std::size_t>(batch_));
  const TensorView inputs = trainer_.inputs(batch_);
  outputs_.gather(exec_, index, inputs);
  kernels::standardize(exec_, inputs, mean_, inverse_std_, inputs);
  gather_labels(data_.train, index, trainer_.labels(batch_));
  const double loss = trainer_.step(exec_, linear_, batch_);
  ++steps_;
  if (!std::isfinite(loss)) {
    throw Error(ErrorCode::numerical,
                fmt::format("post-training: the linear layer's loss is {} at step {} (learning rate {})", loss, steps_,
                            options_.learning_rate));
  }
  sum_ += loss;
  if (steps_ % window == 0 || done()) {
    const std::int64_t count = steps_ % window == 0 ? window : steps_ % window;
    loss_ = sum_ / static_cast<double>(count);
    sum_ = 0;
  }
}

void PostTraining::fold_into(Layer& last) const {
  kernels::on_host("post-training: the linear layer is folded into the last one");
  fetch_parameters(linear_);
  const Layer& linear = linear_.layers().front();
  const std::int64_t units = last.units(), width = last.fan_in();
  const Tensor weight = last.weight.clone(), bias = last.bias.clone();
  for (std::int64_t i = 0; i < units; ++i) {
    const auto combine = [&](const auto& value, double start) {
      double sum = start;
      for (std::int64_t j = 0; j < units; ++j) {
        const double scale = inverse_std_[static_cast<std::size_t>(j)];
        sum += static_cast<double>(linear.weight.view()(i, j)) * scale * value(j);
      }
      return static_cast<float>(sum);
    };
    for (std::int64_t k = 0; k < width; ++k)
      last.weight.view()(i, k) = combine([&](std::int64_t j) { return double{weight.view()(j, k)}; }, 0);
    last.bias.data()[i] =
        combine([&](std::int64_t j) { return double{bias.data()[j]} - mean_[static_cast<std::size_t>(j)]; },
                double{linear.bias.data()[i]});
  }
}

void PostTraining::archive(StateArchive& archive) {
  archive_model(archive, "post", linear_);
  trainer_.archive(archive, "post.trainer");
  archive.count("post.steps", steps_);
  archive.number("post.loss", loss_);
  archive.number("post.sum", sum_);
}

}  // namespace kindling
