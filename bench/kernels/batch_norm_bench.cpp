// Batch normalisation: training and inference with a ReLU, and the backward pass without one (gradients of weight, bias
// and input), beside oneDNN on the same rows. The limit is reading each input and writing each output once.
#include <fmt/format.h>

#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/operations.h"

namespace kindling::bench {
namespace {

struct Rows {
  std::int64_t samples, height, width, channels;  ///< 1 x 1: the outputs of a dense layer
};
constexpr Rows all_rows[] = {{100, 32, 32, 48}, {100, 16, 16, 96}, {1000, 1, 1, 512}};

constexpr float epsilon = 1e-5F;
constexpr double unit = epsilon32 / 2;  // most that one rounding does

// Error of n float32 terms added up in any order, four standard deviations. An addition is off by at most unit times
// the partial sum, whose mean square over the n additions is that of a random walk with the terms' mean and variance.
double sum_error(double n, double mean, double variance) {
  return 4 * unit * std::sqrt(n * n / 2 * variance + n * n * n / 3 * mean * mean);
}

struct NormProblem {
  explicit NormProblem(const Rows& s);

  [[nodiscard]] kernels::BatchNormParameters parameters() const { return {weight.flat(), bias.flat(), epsilon}; }
  [[nodiscard]] BatchNorm operation(Tensor& mean_of_rows, Tensor& variance_of_rows) {
    return {positions,
            channels,
            epsilon,
            x,
            weight.flat(),
            bias.flat(),
            mean_of_rows.flat(),
            variance_of_rows.flat(),
            y,
            dz,
            dx,
            dweight.flat(),
            dbias.flat()};
  }

  void verify_forward(const std::function<void()>& run);
  void verify_inference(const std::function<void()>& run);
  void verify_gradient(const std::function<void()>& run);

  std::int64_t positions, channels;
  Tensor x, y, dz, dx, weight, bias, dweight, dbias, running_mean, running_variance;
  Tensor mean, variance, inverse_std;                    // of x, given to what needs them
  Tensor found_mean, found_variance, found_inverse_std;  // what a forward pass writes; of the last two either

 private:
  [[nodiscard]] double per_channel() const { return static_cast<double>(x.size() / channels); }
  // Compares y with relu(weight (x - mean) / std + bias), `slack(c, |z - bias|)` being the statistics' share of error.
  template <class Slack>
  void verify_outputs(const Slack& slack) const;

  std::vector<double> exact_mean_, exact_variance_;
};

NormProblem::NormProblem(const Rows& s)
    : positions(s.height * s.width),
      channels(s.channels),
      x({s.samples, positions * channels}),
      y({s.samples, positions * channels}),
      dz({s.samples, positions * channels}),
      dx({s.samples, positions * channels}),
      weight({channels}),
      bias({channels}),
      dweight({channels}),
      dbias({channels}),
      running_mean({channels}),
      running_variance({channels}),
      mean({channels}),
      variance({channels}),
      inverse_std({channels}),
      found_mean({channels}),
      found_variance({channels}),
      found_inverse_std({channels}),
      exact_mean_(static_cast<std::size_t>(channels)),
      exact_variance_(exact_mean_.size()) {
  fill_random(x.flat(), 61);
  fill_random(dz.flat(), 62);
  fill_random(weight.flat(), 63);
  fill_random(bias.flat(), 64);
  // Means that are not 0, and small against the deviation so that sums stay exact enough to show a missing row.
  for (std::int64_t i = 0; i < x.size(); ++i) x.data()[i] += i % channels % 2 == 0 ? 0.1F : -0.1F;
  const auto c_of = [&](std::int64_t i) { return static_cast<std::size_t>(i % channels); };
  for (std::int64_t i = 0; i < x.size(); ++i) exact_mean_[c_of(i)] += x.data()[i] / per_channel();
  for (std::int64_t i = 0; i < x.size(); ++i)
    exact_variance_[c_of(i)] += std::pow(x.data()[i] - exact_mean_[c_of(i)], 2) / per_channel();
  for (std::int64_t c = 0; c < channels; ++c) {
    mean.data()[c] = static_cast<float>(exact_mean_[c_of(c)]);
    variance.data()[c] = static_cast<float>(exact_variance_[c_of(c)]);
    inverse_std.data()[c] = static_cast<float>(1 / std::sqrt(exact_variance_[c_of(c)] + double{epsilon}));
  }
}

template <class Slack>
void NormProblem::verify_outputs(const Slack& slack) const {
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const std::int64_t c = i % channels;
    const double m = exact_mean_[static_cast<std::size_t>(c)], v = exact_variance_[static_cast<std::size_t>(c)];
    const double w = weight.data()[c], b = bias.data()[c], scaled = w * (x.data()[i] - m) / std::sqrt(v + epsilon);
    // Difference, variance + epsilon, root, quotient, two products and a sum.
    const double rounding = 7 * unit * (std::abs(scaled) + std::abs(b));
    expect_near("y", i, y.data()[i], std::max(0.0, scaled + b), rounding + slack(c, std::abs(scaled)));
  }
}

void NormProblem::verify_forward(const std::function<void()>& run) {
  for (Tensor* t : {&y, &found_mean, &found_variance, &found_inverse_std}) poison(t->flat());
  run();
  const double n = per_channel();
  std::vector<double> mean_error(exact_mean_.size()), relative(mean_error.size());
  for (std::int64_t c = 0; c < channels; ++c) {
    const auto at = static_cast<std::size_t>(c);
    const double m = exact_mean_[at], v = exact_variance_[at];
    mean_error[at] = sum_error(n, m, v) / n + 2 * unit * std::abs(m);
    // Squares of uniform numbers: their deviation is 0.9 of their mean. A mean that is off adds its square.
    relative[at] = sum_error(n, 1, 0.8) / n + 4 * unit + mean_error[at] * mean_error[at] / v;
    expect_near("mean", c, found_mean.data()[c], m, mean_error[at]);
    // The kernels give 1 / std, oneDNN the variance.
    if (const double r = found_inverse_std.data()[c]; !std::isnan(r)) {
      const double wanted = 1 / std::sqrt(v + double{epsilon});
      expect_near("1 / std", c, r, wanted, (relative[at] / 2 + 2 * unit) * wanted);
    } else {
      expect_near("variance", c, found_variance.data()[c], v, relative[at] * v);
    }
  }
  verify_outputs([&](std::int64_t c, double scaled) {
    const auto at = static_cast<std::size_t>(c);
    return mean_error[at] * std::abs(weight.data()[c]) * inverse_std.data()[c] + scaled * relative[at] / 2;
  });
}

void NormProblem::verify_inference(const std::function<void()>& run) {
  poison(y.flat());
  run();
  // Mean and variance are given as float32.
  verify_outputs([&](std::int64_t c, double scaled) {
    return unit * (std::abs(weight.data()[c] * mean.data()[c]) * inverse_std.data()[c] + scaled / 2);
  });
}

void NormProblem::verify_gradient(const std::function<void()>& run) {
  for (Tensor* t : {&dx, &dweight, &dbias}) poison(t->flat());
  run();
  const double n = per_channel();
  std::vector<double> sum(exact_mean_.size()), product(sum.size());
  const auto normalised = [&](std::int64_t i, std::int64_t c) {
    return (double{x.data()[i]} - double{mean.data()[c]}) * double{inverse_std.data()[c]};
  };
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const auto at = static_cast<std::size_t>(i % channels);
    sum[at] += dz.data()[i];
    product[at] += dz.data()[i] * normalised(i, i % channels);
  }
  // Terms have mean 0 and variance 1/3, that of dz. Those of dweight are rounded four times themselves.
  const double sum_off = sum_error(n, 0, 1.0 / 3),
               product_off = sum_error(n, 0, 1.0 / 3) + 4 * 4 * unit * std::sqrt(n / 3);
  for (std::int64_t c = 0; c < channels; ++c) {
    const auto at = static_cast<std::size_t>(c);
    expect_near("dbias", c, dbias.data()[c], sum[at], sum_off + unit * std::abs(sum[at]));
    // 1 / std may come as a float32 or be made of a variance that is one.
    expect_near("dweight", c, dweight.data()[c], product[at], product_off + 4 * unit * std::abs(product[at]));
  }
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const std::int64_t c = i % channels;
    const auto at = static_cast<std::size_t>(c);
    const double scale = double{weight.data()[c]} * double{inverse_std.data()[c]}, z = normalised(i, c);
    const double terms[] = {double{dz.data()[i]}, -z * product[at] / n, -sum[at] / n};
    const double size = std::abs(terms[0]) + std::abs(terms[1]) + std::abs(terms[2]);
    expect_near("dx", i, dx.data()[i], scale * (terms[0] + terms[1] + terms[2]),
                std::abs(scale) * (12 * unit * size + (sum_off + std::abs(z) * product_off) / n));
  }
}

const Operation<NormProblem> operations[] = {
    {.name = "batch_norm_forward",
     .run =
         [](const kernels::Execution& e, NormProblem& p) {
           kernels::batch_norm_forward(e, p.x, p.parameters(), {ActivationKind::relu},
                                       {p.found_mean.flat(), p.found_inverse_std.flat()},
                                       {p.running_mean.flat(), p.running_variance.flat()}, p.y);
         },
     .verify = &NormProblem::verify_forward,
     .peers = {"onednn"},
     .bind = [](const Peer& peer,
                NormProblem& p) { return peer.batch_norm_forward(p.operation(p.found_mean, p.found_variance)); }},
    {.name = "batch_norm_inference",
     .run =
         [](const kernels::Execution& e, NormProblem& p) {
           kernels::batch_norm_inference(e, p.x, p.parameters(), p.mean.flat(), p.variance.flat(),
                                         {ActivationKind::relu}, p.y);
         },
     .verify = &NormProblem::verify_inference,
     .peers = {"onednn"},
     .bind = [](const Peer& peer,
                NormProblem& p) { return peer.batch_norm_inference(p.operation(p.mean, p.variance)); }},
    {.name = "batch_norm_gradient",
     .run =
         [](const kernels::Execution& e, NormProblem& p) {
           const kernels::BatchNormSaved saved{p.mean.flat(), p.inverse_std.flat()};
           kernels::batch_norm_weight_gradient(e, p.dz, p.x, saved, p.dweight.flat(), p.dbias.flat());
           kernels::batch_norm_input_gradient(e, p.dz, p.x, p.weight.flat(), saved, p.dweight.flat(), p.dbias.flat(),
                                              {ActivationKind::identity}, p.dx);
         },
     .verify = &NormProblem::verify_gradient,
     .peers = {"onednn"},
     .bind = [](const Peer& peer,
                NormProblem& p) { return peer.batch_norm_gradient(p.operation(p.mean, p.variance)); }}};

void add_rows(Registry& registry, const Settings& settings) {
  for (const auto& operation : operations) {
    report_missing_peers(registry, operation.name, operation.peers);
    for (const Rows& s : all_rows) {
      const auto elements = static_cast<double>(s.samples * s.height * s.width * s.channels);
      const bool gradient = operation.name == "batch_norm_gradient";
      const Shared<NormProblem> shared([s] { return std::make_shared<NormProblem>(s); });
      add_operation(registry, settings, operation, shared,
                    {.shape = s.height * s.width > 1 ? shape_name({s.samples, s.height, s.width, s.channels})
                                                     : shape_name({s.samples, s.channels}),
                     .work = {.bytes = 4 * elements * (gradient ? 3 : 2)},
                     .limit = Limit::memory,
                     .goal = {.ratio = 1}});
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
