// Optimiser steps against the recurrences in float64, over several steps.
#include "kernels/optimizer.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr double epsilon = 0x1p-24;
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
// Around vectors, unrolled vectors and one task of 16384.
const std::int64_t sizes[] = {0, 1, 3, 15, 16, 17, 31, 33, 63, 65, 1009, 16383, 16385, 40009};

void load(Guarded<float>& to, const std::vector<float>& from) { std::copy(from.begin(), from.end(), to.data()); }

}  // namespace

TEST_CASE("sgd step", "[sgd_step]") {
  for (const std::int64_t size : sizes) {
    CAPTURE(size);
    const auto p0 = test_normals(size, 1), g = test_normals(size, 2);
    Guarded<float> p(size);
    load(p, p0);
    const kernels::SgdStep step{.learning_rate = 0.3F, .weight_decay = 0.01F};
    kernels::sgd_step(test_execution(), g, step, p.flat());
    p.check();
    for (std::int64_t i = 0; i < size; ++i) {
      const double d = static_cast<double>(g[i]) + static_cast<double>(step.weight_decay) * p0[i];
      const double expected = p0[i] - static_cast<double>(step.learning_rate) * d;
      const double magnitude = std::abs(p0[i]) + 0.3 * (std::abs(g[i]) + 0.01 * std::abs(p0[i]));
      REQUIRE(std::abs(p(0, i) - expected) <= 4 * epsilon * magnitude);
    }
  }
  std::vector<float> p(37, 1.0F), g(37, 0.0F);
  g[20] = not_a_number;
  kernels::sgd_step(test_execution(), g, {}, p);
  for (std::size_t i = 0; i < p.size(); ++i) CHECK(std::isnan(p[i]) == (i == 20));
  CHECK_THROWS_WITH(kernels::sgd_step(test_execution(), g, {}, std::span(p).first(36)),
                    Catch::Contains("parameters of 37 elements, found 36"));
}

TEST_CASE("momentum step", "[momentum_step]") {
  for (const std::int64_t size : sizes) {
    CAPTURE(size);
    Guarded<float> p(size), v(size);
    load(p, test_normals(size, 1));
    v.fill(0.0F);
    std::vector<double> p_ref(p.flat().begin(), p.flat().end()), v_ref(static_cast<std::size_t>(size));
    const kernels::MomentumStep step{.learning_rate = 0.1F, .momentum = 0.9F, .weight_decay = 0.05F};
    for (std::uint32_t t = 0; t < 3; ++t) {
      const auto g = test_normals(size, 10 + t);
      kernels::momentum_step(test_execution(), g, step, p.flat(), v.flat());
      for (std::size_t i = 0; i < g.size(); ++i) {
        v_ref[i] = static_cast<double>(step.momentum) * v_ref[i] + static_cast<double>(g[i]) +
                   static_cast<double>(step.weight_decay) * p_ref[i];
        p_ref[i] -= static_cast<double>(step.learning_rate) * v_ref[i];
      }
    }
    p.check();
    v.check();
    // Three steps of four roundings each; normals stay below 6, velocities below 3 * 6.
    for (std::int64_t i = 0; i < size; ++i) {
      REQUIRE(std::abs(v(0, i) - v_ref[i]) <= 12 * epsilon * 20);
      REQUIRE(std::abs(p(0, i) - p_ref[i]) <= 12 * epsilon * 12);
    }
  }
  std::vector<float> p(5, 1.0F), v(5, 0.0F), g(5, 0.0F);
  v[3] = not_a_number;
  kernels::momentum_step(test_execution(), g, {}, p, v);
  CHECK(std::isnan(p[3]));
  CHECK(p[2] == 1.0F);
  CHECK_THROWS_AS(kernels::momentum_step(test_execution(), g, {}, p, std::span(v).first(4)), Error);
}

TEST_CASE("adam step", "[adam_step]") {
  for (const std::int64_t size : sizes) {
    CAPTURE(size);
    Guarded<float> p(size), m(size), s(size);
    load(p, test_normals(size, 1));
    m.fill(0.0F);
    s.fill(0.0F);
    std::vector<double> p_ref(p.flat().begin(), p.flat().end()), m_ref(static_cast<std::size_t>(size)), s_ref(m_ref);
    kernels::AdamStep step{
        .learning_rate = 0.01F, .beta1 = 0.9F, .beta2 = 0.999F, .epsilon = 1e-8F, .weight_decay = 0.02F};
    const double beta1 = step.beta1, beta2 = step.beta2;
    for (int t = 1; t <= 4; ++t) {
      auto g = test_normals(size, static_cast<std::uint32_t>(20 + t));
      step.step = t;
      kernels::adam_step(test_execution(), g, step, p.flat(), m.flat(), s.flat());
      for (std::size_t i = 0; i < g.size(); ++i) {
        const double d = static_cast<double>(g[i]) + static_cast<double>(step.weight_decay) * p_ref[i];
        m_ref[i] = beta1 * m_ref[i] + (1 - beta1) * d;
        s_ref[i] = beta2 * s_ref[i] + (1 - beta2) * d * d;
        const double m_hat = m_ref[i] / (1 - std::pow(beta1, t)), s_hat = s_ref[i] / (1 - std::pow(beta2, t));
        p_ref[i] -=
            static_cast<double>(step.learning_rate) * m_hat / (std::sqrt(s_hat) + static_cast<double>(step.epsilon));
      }
    }
    p.check();
    m.check();
    s.check();
    for (std::int64_t i = 0; i < size; ++i) {
      REQUIRE(std::abs(m(0, i) - m_ref[i]) <= 24 * epsilon * 2.2);
      REQUIRE(std::abs(s(0, i) - s_ref[i]) <= 24 * epsilon * (s_ref[i] + 1e-6));
      // A step is at most learning_rate sqrt(4) long, with ten roundings or so; the parameter itself rounds four times.
      // The gradient's own cancellation with the decay, g + 0.02 p, changes a step where |g'| is tiny.
      REQUIRE(std::abs(p(0, i) - p_ref[i]) <= 4 * epsilon * (std::abs(p_ref[i]) + 1) + 4 * 0.02 * 40 * epsilon);
    }
  }
  std::vector<float> p(5, 1.0F), m(5, 0.0F), s(5, 0.0F), g(5, 0.0F);
  g[4] = not_a_number;
  kernels::adam_step(test_execution(), g, {}, p, m, s);
  CHECK(std::isnan(p[4]));
  CHECK(p[0] == 1.0F);  // a zero gradient divides by epsilon, not by zero
  CHECK_THROWS_AS(kernels::adam_step(test_execution(), g, {}, p, m, std::span(s).first(4)), Error);
  CHECK_THROWS_WITH(kernels::adam_step(test_execution(), g, {.step = 0}, p, m, s),
                    Catch::Contains("count from 1, found 0"));
}
