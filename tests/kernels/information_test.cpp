// Donsker-Varadhan values and gradients against float64, and gradients against central differences.
#include "kernels/information.h"

#include <cmath>
#include <limits>

#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

using Row = std::vector<double>;

double log_mean_exp(const Row& t) {
  double top = t[0], sum = 0;
  for (const double v : t) top = std::max(top, v);
  for (const double v : t) sum += std::exp(v - top);
  return top + std::log(sum / static_cast<double>(t.size()));
}

double value_of(const Row& joint, const Row& product) {
  double mean = 0;
  for (const double v : joint) mean += v / static_cast<double>(joint.size());
  return mean - log_mean_exp(product);
}

struct Scores {
  std::int64_t b, n, m, gap;
  std::vector<float> joint, product;
  Scores(std::int64_t b, std::int64_t n, std::int64_t m, std::int64_t gap, double spread, double mean)
      : b(b),
        n(n),
        m(m),
        gap(gap),
        joint(test_normals(b * (n + gap), 71, spread, mean + 1)),
        product(test_normals(b * (m + gap), 72, spread, mean)) {}
  [[nodiscard]] ConstTensorView joint_view() const { return {joint.data(), b, n, n + gap}; }
  [[nodiscard]] ConstTensorView product_view() const { return {product.data(), b, m, m + gap}; }
  [[nodiscard]] Row joint_row(std::int64_t e) const {
    return {joint.data() + e * (n + gap), joint.data() + e * (n + gap) + n};
  }
  [[nodiscard]] Row product_row(std::int64_t e) const {
    return {product.data() + e * (m + gap), product.data() + e * (m + gap) + m};
  }
};

void check_scores(const Scores& s, float scale) {
  CAPTURE(s.b, s.n, s.m, s.gap, scale);
  Guarded<float> value(s.b), joint(s.b, s.n, s.gap), product(s.b, s.m, s.gap);
  kernels::donsker_varadhan(test_execution(), s.joint_view(), s.product_view(), {.scale = scale}, {}, value.flat(),
                            joint.view(), product.view());
  value.check();
  joint.check();
  product.check();
  for (std::int64_t e = 0; e < s.b; ++e) {
    const Row j = s.joint_row(e), p = s.product_row(e);
    double top = p[0], away = 0;
    for (const double v : p) top = std::max(top, v);
    for (const double v : j) away += std::abs(v - top) / static_cast<double>(s.n);
    // Of at most 512 terms in a float32 lane, and a handful of roundings behind.
    const double steps = (2 * std::sqrt(512.0) + 8) * 0x1p-24;
    const double lme = log_mean_exp(p);
    REQUIRE(std::abs(value(0, e) - value_of(j, p)) <= steps * (1 + away + std::abs(lme - top)));
    for (std::int64_t i = 0; i < s.n; ++i)
      REQUIRE(std::abs(joint(e, i) - scale / static_cast<double>(s.n)) <= 2 * 0x1p-24 * std::abs(joint(e, i)));
    for (std::int64_t i = 0; i < s.m; ++i) {
      const double wanted = -scale * std::exp(p[i] - lme) / static_cast<double>(s.m);
      // x - max rounds once before the exponential, which itself is good to 2.5e-7, or 0 below 2^-126.
      const double relative = steps + 4e-7 + 0x1p-24 * (top - p[i]);
      REQUIRE(std::abs(product(e, i) - wanted) <= relative * std::abs(wanted) + std::abs(scale) * 0x1p-126);
    }
  }
}

}  // namespace

TEST_CASE("donsker_varadhan against float64", "[donsker_varadhan]") {
  for (const auto& [b, n, m] : {std::array<std::int64_t, 3>{1, 1, 1},
                                {3, 7, 5},
                                {2, 31, 33},
                                {1, 512, 512},
                                {5, 1000, 999},
                                {1, 16384, 16385},
                                {2, 40000, 50001},
                                {40, 17, 3}})
    check_scores(Scores(b, n, m, b % 2 == 0 ? 3 : 0, 2.0, 0.5), 1.0F);
  check_scores(Scores(2, 300, 301, 0, 30.0, 0.0), -0.5F);  // most exponentials vanish beside the largest
  check_scores(Scores(2, 300, 301, 0, 1.0, 1e4), 1.0F);    // would overflow unshifted
  check_scores(Scores(2, 300, 301, 0, 1.0, -1e4), 1.0F);   // would underflow
}

TEST_CASE("donsker_varadhan gradient against central differences", "[donsker_varadhan]") {
  const Scores s(2, 9, 11, 0, 1.5, 0.3);
  std::vector<float> value(2), joint(18), product(22);
  kernels::donsker_varadhan(test_execution(), s.joint_view(), s.product_view(), {}, {}, value, {joint.data(), {2, 9}},
                            {product.data(), {2, 11}});
  constexpr double h = 1e-6;
  for (std::int64_t e = 0; e < 2; ++e) {
    for (std::int64_t i = 0; i < 9; ++i) {
      Row up = s.joint_row(e), down = up;
      up[i] += h, down[i] -= h;
      const double slope = (value_of(up, s.product_row(e)) - value_of(down, s.product_row(e))) / (2 * h);
      REQUIRE(joint[e * 9 + i] == Approx(slope).epsilon(1e-3).margin(1e-5));
    }
    for (std::int64_t i = 0; i < 11; ++i) {
      Row up = s.product_row(e), down = up;
      up[i] += h, down[i] -= h;
      const double slope = (value_of(s.joint_row(e), up) - value_of(s.joint_row(e), down)) / (2 * h);
      REQUIRE(product[e * 11 + i] == Approx(slope).epsilon(1e-3).margin(1e-5));
    }
  }
}

TEST_CASE("donsker_varadhan: the moving average of MINE", "[donsker_varadhan]") {
  constexpr float rate = 0.1F;
  std::vector<float> average(2, -std::numeric_limits<float>::infinity()), value(2), joint(2 * 20), product(2 * 30);
  Row expected(2);
  for (int step = 0; step < 4; ++step) {
    CAPTURE(step);
    // The scores rise by a hundred nats on the way: exponentials outside float32 on either side.
    const Scores s(2, 20, 30, 0, 1.0, -50.0 + 40.0 * step);
    kernels::donsker_varadhan(test_execution(), s.joint_view(), s.product_view(), {.rate = rate}, average, value,
                              {joint.data(), {2, 20}}, {product.data(), {2, 30}});
    for (std::int64_t e = 0; e < 2; ++e) {
      const Row p = s.product_row(e);
      const double batch = log_mean_exp(p), r = static_cast<double>(rate);
      const double fresh = std::log(r) + batch, kept = std::log1p(-r) + expected[e];
      expected[e] = step == 0 ? batch : std::max(fresh, kept) + std::log1p(std::exp(-std::abs(fresh - kept)));
      REQUIRE(average[e] == Approx(expected[e]).epsilon(2e-6).margin(2e-6));
      REQUIRE(value[e] == Approx(value_of(s.joint_row(e), p)).epsilon(1e-5).margin(1e-5));
      for (std::int64_t i = 0; i < 30; ++i)
        REQUIRE(product[e * 30 + i] == Approx(-std::exp(p[i] - expected[e]) / 30).epsilon(5e-5));
    }
  }
}

TEST_CASE("donsker_varadhan: threads, bad numbers, bad arguments", "[donsker_varadhan]") {
  Scores s(3, 70000, 50000, 0, 2.0, 0.0);
  const auto run = [&](int threads) {
    std::vector<float> out(3 + s.joint.size() + s.product.size());
    kernels::donsker_varadhan(test_execution(threads), s.joint_view(), s.product_view(), {}, {},
                              std::span(out).first(3), {out.data() + 3, {3, s.n}},
                              {out.data() + 3 + s.joint.size(), {3, s.m}});
    return out;
  };
  const auto one = run(1);
  CHECK(run(2) == one);
  CHECK(run(4) == one);
  constexpr float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  // A product score of -inf counts as an exponential of 0; the other ones have no answer.
  s.product[5] = -infinity;
  s.product[s.m + 7] = infinity;
  s.joint[2 * s.n + 9] = nan;
  const auto odd = run(2);
  CHECK(std::isfinite(odd[0]));
  CHECK(odd[3 + s.joint.size() + 5] == 0.0F);
  CHECK(std::isnan(odd[1]));
  CHECK(std::isnan(odd[2]));
  s.product[2 * s.m + 1] = nan;
  const auto bad = run(2);
  CHECK(bad[0] == odd[0]);
  for (std::int64_t i = 0; i < s.m; ++i) REQUIRE(std::isnan(bad[3 + s.joint.size() + 2 * s.m + i]));

  std::vector<float> value(3), average(2), joint(s.joint.size()), product(s.product.size());
  const TensorView jg(joint.data(), {3, s.n}), pg(product.data(), {3, s.m});
  const auto call = [&](const kernels::DonskerVaradhanOptions& options, std::span<float> state, std::int64_t n) {
    kernels::donsker_varadhan(test_execution(), ConstTensorView(s.joint.data(), {3, n}), s.product_view(), options,
                              state, value, TensorView(joint.data(), {3, n}), pg);
  };
  CHECK_THROWS_WITH(call({.rate = 0}, {}, s.n), Catch::Contains("rate above 0 and at most 1, found 0"));
  CHECK_THROWS_WITH(call({.rate = nan}, {}, s.n), Catch::Contains("rate above 0"));
  CHECK_THROWS_WITH(call({.rate = 0.5F}, average, s.n), Catch::Contains("log_average of 3 elements, found 2"));
  CHECK_THROWS_WITH(call({.rate = 0.5F}, {}, s.n), Catch::Contains("log_average of 3 elements, found 0"));
  CHECK_THROWS_WITH(call({}, {}, 0), Catch::Contains("found 0 joint and 50000 product"));
  CHECK_NOTHROW(kernels::donsker_varadhan(test_execution(), s.joint_view().rows(0, 0), s.product_view().rows(0, 0), {},
                                          {}, {}, jg.rows(0, 0), pg.rows(0, 0)));
}
