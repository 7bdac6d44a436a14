// MINE on samplers and on samples.
#include <fmt/format.h>
#include <kindling/information.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "kernels/optimizer.h"
#include "kernels/random.h"
#include "kernels/residency.h"
#include "kernels/scatter.h"
#include "nn/pair_indices.h"
#include "theory/information_run.h"

namespace kindling {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::usage, "information: " + what); }

// Draw numbers from here on are kept for evaluation.
constexpr std::uint32_t fresh_numbers = 1U << 31U;

class SamplerSource final : public PairSource {
 public:
  SamplerSource(const PairSampler& sampler, const InformationOptions& options, const Context& context)
      : sampler_(sampler),
        product_(options.product),
        seed_(context.seed),
        unused_({options.batch, sampler.x_features}) {}

  // A sampler is anybody's function.
  [[nodiscard]] bool resident() const override { return false; }
  [[nodiscard]] std::int64_t first_features() const override { return sampler_.x_features; }
  [[nodiscard]] std::int64_t second_features() const override { return sampler_.y_features; }
  void train_pairs(std::uint32_t number, TensorView first, TensorView second) override {
    pairs(2 * number, product_, first, second);
  }
  void fresh_pairs(std::uint32_t number, TensorView first, TensorView second) override {
    pairs(fresh_numbers + 2 * number, ProductPairs::second_batch, first, second);
  }

 private:
  void pairs(std::uint32_t number, ProductPairs product, TensorView first, TensorView second) {
    const std::int64_t n = first.rows();
    sampler_.draw(number, first, second.rows(0, n));
    if (product == ProductPairs::second_batch) {
      sampler_.draw(number + 1, unused_.view().rows(0, n), second.rows(n, n));
      return;
    }
    PhiloxReader reader({seed_, Purpose::pairs, 1, number});
    const auto cycle = random_cycle(reader, n);
    for (std::int64_t i = 0; i < n; ++i)
      std::copy_n(second.row(cycle[static_cast<std::size_t>(i)]), second.cols(), second.row(n + i));
  }

  const PairSampler& sampler_;
  ProductPairs product_;
  std::uint64_t seed_;
  Tensor unused_;
};

class SampleSource final : public PairSource {
 public:
  SampleSource(ConstTensorView x, ConstTensorView y, const InformationOptions& options, const Context& context)
      : x_(x.matrix()),
        y_(y.matrix()),
        product_(options.product),
        seed_(context.seed),
        exec_(kernels::execution(context)),
        residency_(exec_) {
    residency_.keep(kernels::Residency::Role::input, x_);
    residency_.keep(kernels::Residency::Role::input, y_);
    const std::int64_t n = x.rows();
    const auto order = random_permutation({context.seed, Purpose::split, 1, 0}, n);
    const auto kept = static_cast<std::size_t>(std::llround(options.held_out * static_cast<double>(n)));
    if (kept < 2 || order.size() - std::min(kept, order.size()) < 2) {
      throw Error(
          ErrorCode::bad_input,
          fmt::format("information: expected 2 samples or more on either side of the split, found {} held out of "
                      "{}",
                      kept, n));
    }
    held_out_.assign(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept));
    trained_.assign(order.begin() + static_cast<std::ptrdiff_t>(kept), order.end());
    zeros_.resize(static_cast<std::size_t>(std::max(x_.cols(), y_.cols())), 0.0F);
    ones_.resize(zeros_.size(), 1.0F);
  }

  [[nodiscard]] std::int64_t first_features() const override { return x_.cols(); }
  [[nodiscard]] std::int64_t second_features() const override { return y_.cols(); }
  void train_pairs(std::uint32_t number, TensorView first, TensorView second) override {
    const std::int64_t n = first.rows();
    gather(trained_,
           random_pairs({seed_, Purpose::pairs, 0, number}, n, static_cast<std::int64_t>(trained_.size()), product_),
           first, second);
  }
  // Every held-out pair in turn.
  void fresh_pairs(std::uint32_t number, TensorView first, TensorView second) override {
    const std::int64_t n = first.rows();
    const auto count = static_cast<std::int64_t>(held_out_.size());
    gather(held_out_, pairs_in_turn({seed_, Purpose::pairs, 2, number}, number * n, n, count), first, second);
  }

 private:
  // index: places in `samples`.
  void gather(const std::vector<std::int32_t>& samples, std::vector<std::int32_t> index, TensorView first,
              TensorView second) {
    for (std::int32_t& i : index) i = samples[static_cast<std::size_t>(i)];
    const auto rows = [&](ConstTensorView from, std::size_t count, TensorView to) {
      const auto width = static_cast<std::size_t>(from.cols());
      kernels::gather_rows(exec_, from, std::span(index).first(count), std::span(zeros_).first(width),
                           std::span(ones_).first(width), to);
    };
    rows(x_, index.size() / 2, first);
    rows(y_, index.size(), second);
  }

  ConstTensorView x_, y_;
  ProductPairs product_;
  std::uint64_t seed_;
  kernels::Execution exec_;
  std::vector<std::int32_t> trained_, held_out_;
  std::vector<float> zeros_, ones_;
  kernels::Residency residency_;
};

void check_samples(const char* name, ConstTensorView v) {
  if (v.size() == 0) throw Error(ErrorCode::bad_input, fmt::format("information: {} is empty", name));
  for (std::int64_t i = 0; i < v.rows(); ++i) {
    for (std::int64_t k = 0; k < v.cols(); ++k) {
      if (!std::isfinite(v.row(i)[k]))
        throw Error(ErrorCode::bad_input,
                    fmt::format("information: {} is {} at sample {}, feature {}", name, v.row(i)[k], i, k));
    }
  }
}

}  // namespace

ProductPairs parse_product_pairs(std::string_view text) {
  if (text == "second-batch") return ProductPairs::second_batch;
  if (text == "permutation") return ProductPairs::permutation;
  refuse(fmt::format("product pairs: expected second-batch or permutation, found '{}'", text));
}

std::string to_string(ProductPairs product) {
  return product == ProductPairs::second_batch ? "second-batch" : "permutation";
}

PairSampler correlated_gaussians(std::int64_t dimensions, double nats, const Context& context) {
  if (dimensions < 1) refuse(fmt::format("expected 1 or more dimensions, found {}", dimensions));
  if (!(nats >= 0) || !std::isfinite(nats)) refuse(fmt::format("expected finite nats, 0 or more, found {}", nats));
  const double squared = 1 - std::exp(-2 * nats / static_cast<double>(dimensions));
  const auto correlation = static_cast<float>(std::sqrt(squared)), rest = static_cast<float>(std::sqrt(1 - squared));
  const kernels::Execution exec = kernels::execution(context);
  return {dimensions, dimensions, [=, seed = context.seed](std::uint32_t number, TensorView x, TensorView y) {
            kernels::philox_normal(exec, {seed, Purpose::pairs, 10, number}, 0, 1, x.flat());
            kernels::philox_normal(exec, {seed, Purpose::pairs, 11, number}, 0, rest, y.flat());
            kernels::sgd_step(exec, x.flat(), {.learning_rate = -correlation}, y.flat());  // y += correlation x
          }};
}

double channel_information(const GaussianChannel& c) {
  const double ratio = c.a * c.input_deviation / c.noise_deviation;
  return 0.5 * std::log1p(ratio * ratio);
}

PairSampler gaussian_channel(const GaussianChannel& c, const Context& context) {
  if (!std::isfinite(c.a) || !std::isfinite(c.b)) refuse("expected a channel with finite a and b");
  if (!(c.input_deviation > 0 && c.noise_deviation > 0 && std::isfinite(c.input_deviation * c.noise_deviation)))
    refuse("expected a channel with positive, finite standard deviations");
  const kernels::Execution exec = kernels::execution(context);
  return {1, 1, [=, seed = context.seed](std::uint32_t number, TensorView x, TensorView y) {
            kernels::philox_normal(exec, {seed, Purpose::pairs, 12, number}, 0, static_cast<float>(c.input_deviation),
                                   x.flat());
            kernels::philox_normal(exec, {seed, Purpose::pairs, 13, number}, static_cast<float>(c.b),
                                   static_cast<float>(c.noise_deviation), y.flat());
            kernels::sgd_step(exec, x.flat(), {.learning_rate = -static_cast<float>(c.a)}, y.flat());
          }};
}

InformationEstimate estimate_information(const PairSampler& pairs, const InformationOptions& options,
                                         const Context& context) {
  check_options(options);
  if (pairs.x_features < 1 || pairs.y_features < 1 || !pairs.draw)
    refuse("expected a sampler with 1 or more features of either kind and a function");
  SamplerSource source(pairs, options, context);
  return run_estimate(source, "information", 0, options, context);
}

InformationEstimate estimate_information(ConstTensorView x, ConstTensorView y, const InformationOptions& options,
                                         const Context& context) {
  check_options(options);
  check_samples("x", x);
  check_samples("y", y);
  if (x.rows() != y.rows()) {
    throw Error(ErrorCode::bad_input,
                fmt::format("information: expected as many samples of x as of y, found {} and {}", x.rows(), y.rows()));
  }
  SampleSource source(x, y, options, context);
  return run_estimate(source, "information", 0, options, context);
}

}  // namespace kindling
