// Optimiser steps over flat parameters.
#include "kernels/optimizer.h"

#include "fuzz/fuzz.h"

namespace kindling::fuzz {
namespace {

std::int64_t draw_size(Case& c) { return c.long_extent(300, 40000, 1); }

void sgd(Case& c) {
  const std::int64_t size = draw_size(c);
  auto p = c.normals(size), g = c.normals(size);
  c.spoil(p, g);
  auto before = p;
  const kernels::SgdStep step{.learning_rate = c.scalar(0.01, 0.9), .weight_decay = c.scalar(0, 0.5)};
  c.run([&] { kernels::sgd_step(c.execution, g.cflat(), step, p.flat()); }, p);
  const double rate = step.learning_rate, decay = step.weight_decay;
  for (std::int64_t i = 0; i < size; ++i) {
    const double magnitude = std::abs(g[i]) + decay * std::abs(before[i]);
    c.expect(p[i], before[i] - rate * (g[i] + decay * before[i]),
             eps * (2 * std::abs(before[i]) + 5 * rate * magnitude), "parameter", i);
  }
}

void momentum(Case& c) {
  const std::int64_t size = draw_size(c);
  auto p = c.normals(size), v = c.normals(size), g = c.normals(size);
  c.spoil(p, v, g);
  auto p0 = p, v0 = v;
  const kernels::MomentumStep step{
      .learning_rate = c.scalar(0.01, 0.9), .momentum = c.scalar(0, 1), .weight_decay = c.scalar(0, 0.5)};
  c.run([&] { kernels::momentum_step(c.execution, g.cflat(), step, p.flat(), v.flat()); }, p, v);
  const double rate = step.learning_rate, decay = step.weight_decay, mu = step.momentum;
  for (std::int64_t i = 0; i < size; ++i) {
    const double expected = mu * v0[i] + g[i] + decay * p0[i];
    const double v_bound = 4 * eps * (mu * std::abs(v0[i]) + std::abs(g[i]) + decay * std::abs(p0[i]));
    c.expect(v[i], expected, v_bound, "velocity", i);
    c.expect(p[i], p0[i] - rate * expected, rate * v_bound + 2 * eps * (std::abs(p0[i]) + rate * std::abs(expected)),
             "parameter", i);
  }
}

void adam(Case& c) {
  const std::int64_t size = draw_size(c);
  auto p = c.normals(size), m = c.normals(size), s = c.normals(size), g = c.normals(size);
  for (float& value : s.flat()) value = std::abs(value) + 0.01F;
  s.bounded = true;
  c.spoil(p, m, s, g);
  auto p0 = p, m0 = m, s0 = s;
  const kernels::AdamStep step{.learning_rate = c.scalar(0.001, 0.1),
                               .beta1 = c.scalar(0.5, 0.99),
                               .beta2 = c.scalar(0.6, 0.999),
                               .epsilon = c.scalar(1e-8, 1e-3),
                               .weight_decay = c.scalar(0, 0.2),
                               .step = 1 + c.below(50)};
  c.run([&] { kernels::adam_step(c.execution, g.cflat(), step, p.flat(), m.flat(), s.flat()); }, p, m, s);
  const double b1 = step.beta1, b2 = step.beta2, t = static_cast<double>(step.step), rate = step.learning_rate;
  const double c1 = 1 - std::pow(b1, t), c2 = 1 - std::pow(b2, t);
  const auto denominator = [&](double v) {
    return std::sqrt(std::max(v, 0.0) / c2) + static_cast<double>(step.epsilon);
  };
  for (std::int64_t i = 0; i < size; ++i) {
    const double extra = static_cast<double>(step.weight_decay) * p0[i], d = g[i] + extra;
    const double error = 2 * eps * (std::abs(g[i]) + std::abs(extra));
    const double mean = b1 * m0[i] + (1 - b1) * d, square = b2 * s0[i] + (1 - b2) * d * d;
    const double m_bound = (1 - b1) * error + 4 * eps * (std::abs(b1 * m0[i]) + (1 - b1) * std::abs(d));
    const double s_bound = (1 - b2) * (2 * std::abs(d) + error) * error + 6 * eps * square;
    c.expect(m[i], mean, m_bound, "mean", i);
    c.expect(s[i], square, s_bound, "mean_square", i);
    const double move = rate / c1 * mean / denominator(square);
    const double furthest = rate / c1 * (std::abs(mean) + m_bound) / denominator(square - s_bound);
    c.expect(p[i], p0[i] - move, furthest - std::abs(move) + 12 * eps * furthest + 2 * eps * std::abs(p0[i]),
             "parameter", i);
  }
}

[[maybe_unused]] const bool all[] = {fuzz("sgd_step", sgd), fuzz("momentum_step", momentum), fuzz("adam_step", adam)};

}  // namespace
}  // namespace kindling::fuzz
