// Neural estimates of mutual information against closed forms, and the critic's gradients against central differences.
#include <kindling/information.h>
#include <kindling/initialize.h>

#include <cmath>
#include <limits>

#include "nn/critic.h"
#include "nn/pair_indices.h"
#include "support/catch.h"
#include "support/expect_error.h"
#include "support/small_data.h"

using namespace kindling;
using namespace kindling::test;

namespace {

// A small critic that learns in seconds.
InformationOptions quick(std::int64_t updates = 1500) {
  InformationOptions options;
  options.critic.hidden = {64, 64};
  options.critic.learning_rate = 2e-3;
  options.batch = 256;
  options.updates = updates;
  options.evaluation_pairs = 50'000;
  return options;
}

Tensor normals(std::int64_t rows, std::int64_t cols, std::uint32_t unit) {
  Tensor t({rows, cols});
  fill_normal({5, Purpose::test, unit, 0}, 0, 1, t.flat(), {});
  return t;
}

// The critic in plain float64, from its parameters: x and y concatenated, as the paper has it.
struct PlainCritic {
  std::vector<std::vector<double>> parameters;
  std::int64_t a, b;
  std::vector<std::int64_t> hidden;
  double slope;

  double score(const double* x, const double* y) const {
    const auto h = static_cast<std::size_t>(hidden.front());
    std::vector<double> below(h);
    const auto leaky = [&](double z) { return z > 0 ? z : slope * z; };
    for (std::size_t m = 0; m < h; ++m) {
      double z = parameters[1][m];
      for (std::int64_t k = 0; k < a; ++k)
        z += parameters[0][m * static_cast<std::size_t>(a) + static_cast<std::size_t>(k)] * x[k];
      for (std::int64_t k = 0; k < b; ++k)
        z += parameters[2][m * static_cast<std::size_t>(b) + static_cast<std::size_t>(k)] * y[k];
      below[m] = leaky(z);
    }
    for (std::size_t p = 3; p < parameters.size(); p += 2) {
      const bool last = p + 2 == parameters.size();
      std::vector<double> above(parameters[p + 1]);
      for (std::size_t m = 0; m < above.size(); ++m) {
        for (std::size_t k = 0; k < below.size(); ++k) above[m] += parameters[p][m * below.size() + k] * below[k];
        if (!last) above[m] = leaky(above[m]);
      }
      below = above;
    }
    return below.front();
  }

  double value(const std::vector<double>& x, const std::vector<double>& y, std::int64_t n) const {
    double joint = 0, sum = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      joint += score(x.data() + i * a, y.data() + i * b) / static_cast<double>(n);
      sum += std::exp(score(x.data() + i * a, y.data() + (n + i) * b)) / static_cast<double>(n);
    }
    return joint - std::log(sum);
  }
};

std::vector<double> doubles(std::span<const float> v) { return {v.begin(), v.end()}; }

}  // namespace

TEST_CASE("the critic's value and gradients are those of the plain formula", "[information]") {
  const std::int64_t n = 7, a = 3, b = 5;
  CriticOptions options;
  options.hidden = {11, 6};
  Critic critic(a, b, 9, options, {3, Purpose::critic, 0, 0}, {});
  for (Tensor* t : critic.parameters())  // biases away from zero
    if (t->shape().size() == 1)
      fill_normal({4, Purpose::test, 50, static_cast<std::uint32_t>(t->size())}, 0, 0.5F, t->flat(), {});
  const Tensor first = normals(n, a, 1), second = normals(2 * n, b, 2);
  const kernels::Execution exec = kernels::execution({});
  PlainCritic plain{{}, a, b, options.hidden, 0.2};
  plain.slope = static_cast<double>(options.leaky_slope);
  for (const Tensor* t : critic.parameters()) plain.parameters.push_back(doubles(t->flat()));
  auto x = doubles(first.flat()), y = doubles(second.flat());
  critic.forward(exec, first, second);
  CHECK(critic.value(exec) == Approx(plain.value(x, y, n)).margin(1e-5));

  Tensor dfirst({n, a}), dsecond({2 * n, b});
  const double scale = -0.7, step = 1e-6;
  critic.gradients(exec, scale, dfirst, dsecond);
  const auto check = [&](std::vector<double>& at, std::size_t i, double found) {
    const double before = at[i];
    at[i] = before + step;
    const double up = plain.value(x, y, n);
    at[i] = before - step;
    const double down = plain.value(x, y, n);
    at[i] = before;
    CHECK(found == Approx(scale * (up - down) / (2 * step)).epsilon(1e-3).margin(1e-5));
  };
  for (std::size_t i = 0; i < x.size(); ++i) check(x, i, dfirst.data()[i]);
  for (std::size_t i = 0; i < y.size(); ++i) check(y, i, dsecond.data()[i]);

  // Adam's first step is learning_rate g / (|g| + epsilon): with a large epsilon, the gradient itself.
  options.epsilon = 1e6;
  options.learning_rate = 1e6;
  Critic linear(a, b, n, options, {3, Purpose::critic, 0, 0}, {});
  const auto from = critic.parameters(), to = linear.parameters();
  for (std::size_t p = 0; p < from.size(); ++p) std::copy_n(from[p]->data(), from[p]->size(), to[p]->data());
  linear.forward(exec, first, second);
  CHECK(linear.ascend(exec) == Approx(plain.value(x, y, n)).margin(1e-5));
  double largest = 0;
  for (std::size_t p = 0; p < to.size(); ++p) {
    for (std::int64_t i = 0; i < to[p]->size(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double found = static_cast<double>(to[p]->data()[i]) - plain.parameters[p][at];
      const double before = plain.parameters[p][at];
      plain.parameters[p][at] = before + step;
      const double up = plain.value(x, y, n);
      plain.parameters[p][at] = before - step;
      const double down = plain.value(x, y, n);
      plain.parameters[p][at] = before;
      CHECK(found == Approx((up - down) / (2 * step)).epsilon(1e-3).margin(1e-5));
      largest = std::max(largest, std::abs(found));
    }
  }
  CHECK(largest > 0.01);
}

TEST_CASE("correlated Gaussians have the information that the formula gives", "[information]") {
  const Context context{.seed = 1};
  struct Case {
    std::int64_t dimensions;
    double nats, tolerance;
    std::int64_t updates;
  };
  for (const Case& c : {Case{2, 0.5, 0.1, 1500}, {2, 2, 0.1, 1500}, {10, 0.5, 0.1, 1500}, {10, 2, 0.2, 3000}}) {
    const InformationEstimate found =
        estimate_information(correlated_gaussians(c.dimensions, c.nats, context), quick(c.updates), context);
    INFO(c.dimensions << " dimensions, " << c.nats << " nats: " << found.nats << " +- " << found.standard_error);
    CHECK(std::abs(found.nats - c.nats) < c.tolerance);
    CHECK(found.nats < c.nats + 4 * found.standard_error);  // a lower bound
    CHECK(found.evaluation_pairs == 50'000);
    CHECK(found.trace.size() == static_cast<std::size_t>((c.updates + 199) / 200));
  }
}

TEST_CASE("independent variables share nothing, and a scalar channel what eq. 4 says", "[information]") {
  const Context context{.seed = 2};
  const auto independent = estimate_information(correlated_gaussians(5, 0, context), quick(600), context);
  CHECK(std::abs(independent.nats) < 0.05);
  InformationOptions corrected = quick();
  corrected.critic.average_rate = 0.1;
  corrected.product = ProductPairs::permutation;
  const GaussianChannel channel{.a = -3, .b = 0.5, .input_deviation = 0.8, .noise_deviation = 1.2};
  const auto found = estimate_information(gaussian_channel(channel, context), corrected, context);
  INFO(found.nats << " of " << channel_information(channel));
  CHECK(channel_information(channel) == Approx(0.5 * std::log(1 + 9 * 0.64 / 1.44)));
  CHECK(std::abs(found.nats - channel_information(channel)) < 0.1);
}

TEST_CASE("samples that are kept back show what a critic learned by heart", "[information]") {
  // 40 independent pairs: the critic tells them apart, and knows nothing about others.
  const Tensor x = normals(40, 8, 7), y = normals(40, 8, 8);
  InformationOptions options = quick(600);
  options.held_out = 0.5;
  options.batch = 64;
  const auto found = estimate_information(x, y, options, {.seed = 3});
  CHECK(found.training_nats > 1);
  CHECK(found.nats < 0.1);
  // Dependent samples, enough of them.
  Tensor z = normals(4000, 2, 9), w({4000, 1});
  for (std::int64_t i = 0; i < 4000; ++i) w.data()[i] = z.data()[2 * i] + 0.1F * z.data()[2 * i + 1];
  const auto dependent = estimate_information(z, w, quick(600), {.seed = 3});
  CHECK(dependent.nats > 2);
}

TEST_CASE("the same seed gives the same estimate for any number of threads", "[information]") {
  const auto run = [](int threads, std::uint64_t seed) {
    const Context context{.seed = seed, .threads = threads};
    InformationOptions options = quick(50);
    options.evaluation_pairs = 1000;
    return estimate_information(correlated_gaussians(3, 1, context), options, context).nats;
  };
  CHECK(run(1, 4) == run(3, 4));
  CHECK(run(1, 4) != run(1, 5));
}

TEST_CASE("training stops on a plateau", "[information]") {
  const Context context{.seed = 1};
  InformationOptions options = quick(3000);
  options.tolerance = 0.01;
  options.window = 100;
  const auto found = estimate_information(correlated_gaussians(2, 0.5, context), options, context);
  CHECK(found.converged);
  CHECK(found.updates < 3000);
  CHECK(found.updates % 100 == 0);
  CHECK(std::abs(found.nats - 0.5) < 0.1);
}

TEST_CASE("a critic that diverges is reported, or begins anew with a smaller step", "[information]") {
  const Context context{.seed = 1};
  InformationOptions options = quick(400);
  options.critic.learning_rate = 100;
  const PairSampler pairs = correlated_gaussians(2, 1, context);
  expect_error(ErrorCode::numerical, {"diverged", "update", "learning rate 100"},
               [&] { (void)estimate_information(pairs, options, context); });
  options.critic.restarts = 5;
  options.critic.restart_factor = 1e-5;
  const auto found = estimate_information(pairs, options, context);
  CHECK(found.restarts >= 1);
  CHECK(found.learning_rate == Approx(100 * std::pow(1e-5, found.restarts)));
  CHECK(std::abs(found.nats) < 2);
}

TEST_CASE("bad options and samples are named", "[information]") {
  const Context context{};
  const PairSampler pairs = correlated_gaussians(2, 1, context);
  const auto refused = [&](const char* part, auto change) {
    InformationOptions options = quick(1);
    change(options);
    expect_error(ErrorCode::usage, {part}, [&] { (void)estimate_information(pairs, options, context); });
  };
  refused("batch of 2", [](auto& o) { o.batch = 1; });
  refused("updates", [](auto& o) { o.updates = 0; });
  refused("learning rate", [](auto& o) { o.critic.learning_rate = -1; });
  refused("hidden", [](auto& o) { o.critic.hidden = {}; });
  refused("hidden", [](auto& o) { o.critic.hidden = {5, 0}; });
  refused("moving average", [](auto& o) { o.critic.average_rate = 0; });
  refused("held-out", [](auto& o) { o.held_out = 1; });
  refused("tolerance", [](auto& o) { o.tolerance = std::nan(""); });
  expect_error(ErrorCode::usage, {"nats"}, [&] { (void)correlated_gaussians(2, -1, context); });
  expect_error(ErrorCode::usage, {"dimensions"}, [&] { (void)correlated_gaussians(0, 1, context); });
  expect_error(ErrorCode::usage, {"positive"}, [&] { (void)gaussian_channel({.noise_deviation = 0}, context); });
  Tensor x = normals(20, 2, 1), y = normals(20, 2, 2);
  y.data()[5] = std::numeric_limits<float>::quiet_NaN();
  expect_error(ErrorCode::bad_input, {"y is nan", "sample 2", "feature 1"},
               [&] { (void)estimate_information(x, y, quick(1), context); });
  expect_error(ErrorCode::bad_input, {"20", "19"},
               [&] { (void)estimate_information(x, normals(19, 2, 2), quick(1), context); });
  expect_error(ErrorCode::bad_input, {"split"},
               [&] { (void)estimate_information(normals(3, 2, 1), normals(3, 2, 2), quick(1), context); });
}

TEST_CASE("a random cycle leaves nobody in place", "[information]") {
  for (std::uint32_t step = 0; step < 50; ++step) {
    PhiloxReader reader({1, Purpose::test, 0, step});
    const auto cycle = random_cycle(reader, 2 + step);
    std::int32_t at = 0;
    std::size_t length = 0;
    do {
      CHECK(cycle[static_cast<std::size_t>(at)] != at);
      at = cycle[static_cast<std::size_t>(at)];
      ++length;
    } while (at != 0);
    CHECK(length == cycle.size());
  }
}

TEST_CASE("no product pair is a sample beside itself", "[information]") {
  const auto index = random_pairs({1, Purpose::test, 0, 0}, 500, 3);
  REQUIRE(index.size() == 1000);
  int seen[3] = {};
  for (std::size_t i = 0; i < 500; ++i) {
    CHECK(index[i] != index[500 + i]);
    ++seen[index[500 + i]];
  }
  for (const int count : seen) CHECK(count > 100);
  const auto turn = pairs_in_turn({1, Purpose::test, 0, 0}, 5, 4, 3);
  CHECK(std::vector<std::int32_t>(turn.begin(), turn.begin() + 4) == std::vector<std::int32_t>{2, 0, 1, 2});
  for (std::size_t i = 0; i < 4; ++i) CHECK(turn[i] != turn[4 + i]);
}

TEST_CASE("layers: labels are known at most to their entropy, AA-MINE grows as the noise vanishes", "[information]") {
  const Dataset data = small_data(2000, 20, 4);
  Model model = Model::parse("20-32-4");
  initialize_baseline(model, {}, {.seed = 1});
  LayerInformationOptions options;
  options.estimate.critic.hidden = {64, 64};
  options.estimate.critic.learning_rate = 1e-3;
  options.estimate.critic.average_rate = 0.01;  // without it the critic of a quiet layer runs away with single pairs
  options.estimate.batch = 512;
  options.estimate.updates = 1000;
  options.estimate.evaluation_pairs = 20'000;
  const auto at = [&](double variance, InputEstimator estimator) {
    options.noise_variance = variance;
    options.input_estimator = estimator;
    options.target = false;
    return estimate_layer_information(model, 1, data, options, {.seed = 1}).input.nats;
  };
  const double aware[] = {at(2, InputEstimator::aa_mine), at(0.1, InputEstimator::aa_mine),
                          at(0.01, InputEstimator::aa_mine)};
  const double plain[] = {at(0.1, InputEstimator::mine), at(0.01, InputEstimator::mine)};
  INFO(aware[0] << " " << aware[1] << " " << aware[2] << "; " << plain[0] << " " << plain[1]);
  CHECK(aware[0] > 0.5);
  CHECK(aware[1] > aware[0] + 2);
  CHECK(aware[2] > aware[1] + 2);
  CHECK(plain[1] < plain[0] + 1);
  options.input = false;
  options.target = true;
  const LayerInformation target = estimate_layer_information(model, 0, data, options, {.seed = 1});
  CHECK(target.layer == "layers.0");
  CHECK(target.target.nats > 0.7);
  CHECK(target.target.nats < std::log(4.0) + 3 * target.target.standard_error);
  CHECK(target.input.updates == 0);

  expect_error(ErrorCode::usage, {"layer 2", "2 layers with neurons"},
               [&] { (void)estimate_layer_information(model, 2, data, options, {}); });
  options.noise_variance = -1;
  expect_error(ErrorCode::usage, {"noise variance"},
               [&] { (void)estimate_layer_information(model, 0, data, options, {}); });
  options.noise_variance = 1;
  Dataset one = small_data(200, 20, 4);
  std::fill(one.train.labels.begin(), one.train.labels.end(), 3);
  expect_error(ErrorCode::bad_input, {"training labels are 3"},
               [&] { (void)estimate_layer_information(model, 0, one, options, {}); });
}
