// One pivoted Cholesky step and its weighted arg-max.
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/campaign.h"
#include "support/catch.h"
#include "support/kernel_test.h"

namespace kindling::test {
namespace {

constexpr double unit_roundoff = std::numeric_limits<float>::epsilon() / 2;

}  // namespace

TEST_CASE("campaign_step continues a Cholesky factorisation and finds the largest product", "[campaign_step]") {
  constexpr float spoilt = 1.0F / 128, slack = 0x1p-20F;
  for (const std::int64_t active : {1, 2, 7, 15, 16, 17, 63, 64, 65, 131, 320}) {
    for (const std::int64_t steps : {0, 1, 5, 33}) {
      CAPTURE(active, steps);
      const std::int64_t pool = 5, column = 3, pivot = active / 2;
      const std::vector<float> gram = test_normals(active * (pool + 2), 1);
      const std::vector<float> factor = test_normals(steps * (active + 1), 2, 0.1);
      std::vector<float> weight = test_normals(active, 3, 1.0, 1.5), before = test_normals(active, 4, 0.1, 1.0);
      // One that is out, one whose squared norm is about to fall below nothing.
      std::vector<float> reference(static_cast<std::size_t>(active), 1.0F);
      weight[0] = -1.0F;
      if (active > 2) before[2] = 1e-4F;
      before[static_cast<std::size_t>(pivot)] = 0.81F;
      const kernels::CampaignStep step{.gram = ConstTensorView(gram.data(), active, pool, pool + 2),
                                       .column = column,
                                       .pivot = pivot,
                                       .factor = ConstTensorView(factor.data(), steps, active, active + 1),
                                       .weight = weight,
                                       .reference = reference,
                                       .spoilt = spoilt,
                                       .slack = slack};
      Guarded<float> coefficients(active), squared(active), products(active);
      const kernels::CampaignBest best =
          kernels::campaign_step(test_execution(), step, before, coefficients.flat(), squared.flat(), products.flat());
      coefficients.check();
      squared.check();
      products.check();
      kernels::CampaignBest expected_best;
      for (std::int64_t i = 0; i < active; ++i) {
        const auto n = static_cast<std::size_t>(i);
        double left = step.gram(i, column), magnitude = std::abs(left);
        for (std::int64_t m = 0; m < steps; ++m) {
          const double term = static_cast<double>(step.factor(m, i)) * step.factor(m, pivot);
          left -= term;
          magnitude += std::abs(term);
        }
        const double c = left / 0.9,
                     c_error = (4 * std::sqrt(static_cast<double>(steps) + 4) * magnitude / 0.9 + 4 * std::abs(c)) *
                               unit_roundoff;
        REQUIRE(std::abs(coefficients(0, i) - c) <= c_error);
        // The rest follows from the coefficients as stored.
        const double stored = coefficients(0, i), rest = before[n] - stored * stored;
        REQUIRE(std::abs(squared(0, i) - rest) <= 2 * unit_roundoff * (std::abs(before[n]) + stored * stored));
        const float s = squared(0, i);
        const double bound = s < spoilt ? std::max(s, 0.0F) + static_cast<double>(slack) : s;
        const double product = weight[n] < 0 ? -1.0 : weight[n] * std::sqrt(bound);
        REQUIRE(std::abs(products(0, i) - product) <= 4 * unit_roundoff * std::abs(product));
        if (products(0, i) > expected_best.product) expected_best = {products(0, i), i};
      }
      CHECK(best.product == expected_best.product);
      CHECK(best.position == expected_best.position);
    }
  }
}

TEST_CASE("campaign_step breaks ties to the lower position and sees when all are out", "[campaign_step]") {
  for (const std::int64_t active : {1, 40, 100}) {
    const auto n = static_cast<std::size_t>(active);
    const std::vector<float> gram(n, 0.0F), before(n, 1.0F), reference(n, 1.0F);
    std::vector<float> weight(n, 0.5F), coefficients(n), squared(n), products(n);
    kernels::CampaignStep step{.gram = ConstTensorView(gram.data(), {active, 1}),
                               .factor = ConstTensorView(gram.data(), {0, active}),
                               .weight = weight,
                               .reference = reference,
                               .spoilt = 0.01F,
                               .slack = 1e-6F};
    CHECK(kernels::campaign_step(test_execution(), step, before, coefficients, squared, products).position == 0);
    for (std::int64_t out = 0; out < active; ++out) {
      weight[static_cast<std::size_t>(out)] = -1.0F;
      const kernels::CampaignBest best =
          kernels::campaign_step(test_execution(), step, before, coefficients, squared, products);
      CHECK(best.position == (out + 1 < active ? out + 1 : -1));
      CHECK(best.product == (out + 1 < active ? 0.5F : -1.0F));
    }
    // Products of 0 are still products.
    weight.back() = 0.0F;
    CHECK(kernels::campaign_step(test_execution(), step, before, coefficients, squared, products).position ==
          active - 1);
    CHECK_THROWS_AS(
        kernels::campaign_step(test_execution(), step, before, coefficients, squared, std::span(products).first(n - 1)),
        Error);
  }
}

TEST_CASE("campaign_step never chooses a NaN", "[campaign_step]") {
  for (const std::size_t n : {std::size_t{2}, std::size_t{9}, std::size_t{40}}) {
    const auto active = static_cast<std::int64_t>(n);
    const std::vector<float> gram(n, 0.0F), before(n, 1.0F), reference(n, 1.0F);
    for (const float other : {-1.0F, 0.0F, 0.5F}) {
      for (std::size_t at = 0; at < n; ++at) {
        CAPTURE(n, other, at);
        std::vector<float> weight(n, other), coefficients(n), squared(n), products(n);
        weight[at] = std::numeric_limits<float>::quiet_NaN();
        const kernels::CampaignStep step{.gram = ConstTensorView(gram.data(), {active, 1}),
                                         .factor = ConstTensorView(gram.data(), {0, active}),
                                         .weight = weight,
                                         .reference = reference,
                                         .spoilt = 0.01F,
                                         .slack = 1e-6F};
        const kernels::CampaignBest best =
            kernels::campaign_step(test_execution(), step, before, coefficients, squared, products);
        CHECK(std::isnan(products[at]));
        CHECK(best.product == other);
        CHECK(best.position == (other < 0 ? -1 : at == 0 ? 1 : 0));
      }
    }
  }
}

}  // namespace kindling::test
