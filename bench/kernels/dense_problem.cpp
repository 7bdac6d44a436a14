#include "kernels/dense_problem.h"

#include <algorithm>
#include <cmath>

namespace kindling::bench {
namespace {

void copy(const Tensor& from, Tensor& to) { std::copy(from.flat().begin(), from.flat().end(), to.flat().begin()); }

}  // namespace

ForwardProblem::ForwardProblem(const DenseShape& s)
    : x({s.batch, s.fan_in}), w({s.fan_out, s.fan_in}), bias({s.fan_out}), y({s.batch, s.fan_out}) {
  fill_random(x.flat(), 1);
  fill_random(w.flat(), 2, 1.0F / std::sqrt(static_cast<float>(s.fan_in)));
  fill_random(bias.flat(), 3);
}

void ForwardProblem::verify(const std::function<void()>& run) {
  const ConstTensorView xv = x.view();
  if (!expected_) {
    const std::int64_t k = xv.cols();
    const std::int64_t m = bias.size();
    expected_ = product(
        rows_to_check(xv.rows(), k * m), k, m, [&](std::int64_t i, std::int64_t j) { return double{xv(i, j)}; },
        transposed(w.view()));
    for (std::size_t i = 0; i < expected_->value.size(); ++i) {
      const double b = bias.data()[i % static_cast<std::size_t>(m)];
      expected_->value[i] = std::max(0.0, expected_->value[i] + b);  // ReLU does not enlarge an error
      expected_->tolerance[i] += 2 * epsilon32 * std::abs(b);
    }
  }
  poison(y.flat());
  run();
  check("Y", y, *expected_);
}

BackwardProblem::BackwardProblem(const DenseShape& s)
    : x({s.batch, s.fan_in}),
      w({s.fan_out, s.fan_in}),
      bias({s.fan_out}),
      dz({s.batch, s.fan_out}),
      dx({s.batch, s.fan_in}) {
  fill_random(x.flat(), 1);
  for (float& v : x.flat()) v = std::max(v, 0.0F);
  fill_random(w.flat(), 2, 1.0F / std::sqrt(static_cast<float>(s.fan_in)));
  fill_random(bias.flat(), 3);
  fill_random(dz.flat(), 4, 1.0F / static_cast<float>(s.batch));
  initial_w_ = w.clone();
  initial_bias_ = bias.clone();
}

BackwardProblem::Answer BackwardProblem::right_answer() const {
  const ConstTensorView xv = x.view();
  const ConstTensorView dzv = dz.view();
  const std::int64_t n = xv.rows();
  const std::int64_t k = xv.cols();
  const std::int64_t m = dzv.cols();
  Answer a;
  a.dx = product(
      rows_to_check(n, k * m), m, k, [&](std::int64_t i, std::int64_t j) { return double{dzv(i, j)}; },
      initial_w_.view());
  for (std::size_t r = 0; r < a.dx.rows.size(); ++r) {
    for (std::int64_t c = 0; c < k; ++c) {
      if (xv(a.dx.rows[r], c) > 0) continue;
      a.dx.value[r * static_cast<std::size_t>(k) + static_cast<std::size_t>(c)] = 0;
      a.dx.tolerance[r * static_cast<std::size_t>(k) + static_cast<std::size_t>(c)] = 0;
    }
  }
  // parameter - rate * gradient, in place of the gradient
  const double rate = learning_rate;
  const auto step = [rate](Expected& e, ConstTensorView initial) {
    for (std::size_t i = 0; i < e.value.size(); ++i) {
      const double old = initial(e.rows[i / static_cast<std::size_t>(e.cols)], static_cast<std::int64_t>(i) % e.cols);
      e.value[i] = old - rate * e.value[i];
      e.tolerance[i] = rate * e.tolerance[i] + 2 * epsilon32 * (std::abs(old) + std::abs(e.value[i]));
    }
  };
  a.w = product(
      rows_to_check(m, n * k), n, k, [&](std::int64_t i, std::int64_t j) { return double{dzv(j, i)}; }, xv);
  step(a.w, initial_w_.view());
  // Added one by one, rounding errors meet the running parameter, not the running gradient alone.
  a.bias = product(
      {0}, n, m, [](std::int64_t, std::int64_t) { return 1.0; }, dzv);
  step(a.bias, ConstTensorView(initial_bias_.data(), {1, m}));
  for (std::size_t i = 0; i < a.bias.tolerance.size(); ++i) {
    a.bias.tolerance[i] += std::sqrt(static_cast<double>(n)) * epsilon32 * (std::abs(a.bias.value[i]) + 1);
  }
  return a;
}

void BackwardProblem::verify(const std::function<void()>& run) {
  const float timed_rate = learning_rate;
  learning_rate = 0.5F;
  if (!expected_) expected_ = right_answer();
  copy(initial_w_, w);
  copy(initial_bias_, bias);
  poison(dx.flat());
  run();
  learning_rate = timed_rate;
  check("dX", dx, expected_->dx);
  check("W", w, expected_->w);
  check("b", ConstTensorView(bias.data(), {1, bias.size()}), expected_->bias);
}

void report_missing_peers(Registry& registry, const std::string& kernel, const std::vector<std::string>& names) {
  for (const PeerRow& row : peers()) {
    if (row.peer == nullptr && std::find(names.begin(), names.end(), row.name) != names.end()) {
      registry.missing({kernel, row.name, row.absent_because});
    }
  }
}

}  // namespace kindling::bench
