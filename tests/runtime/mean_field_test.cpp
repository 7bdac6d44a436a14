#include <kindling/error.h>
#include <kindling/mean_field.h>

#include <cmath>
#include <numbers>

#include "support/catch.h"

using namespace kindling;
using std::numbers::pi;

namespace {

// A piecewise-linear activation that is treated like any other: by quadrature.
Nonlinearity by_quadrature(Nonlinearity f) {
  f.linear.reset();
  return f;
}

}  // namespace

TEST_CASE("quadrature agrees with the closed forms of ReLU and leaky ReLU to 1e-10", "[mean_field]") {
  for (const char* name : {"relu", "leaky_relu:0.2", "leaky_relu:-0.5", "identity"}) {
    const Nonlinearity f = parse_nonlinearity(name), g = by_quadrature(f);
    for (const double q : {1e-6, 0.4, 2.3, 1e6}) {
      INFO(name << " q " << q);
      const double scale = q;
      CHECK(std::abs(gaussian_moments(f, q).mean - gaussian_moments(g, q).mean) < 1e-10 * std::sqrt(q));
      CHECK(std::abs(gaussian_moments(f, q).square - gaussian_moments(g, q).square) < 1e-10 * scale);
      for (const double c : {-1.0, -0.999, -0.5, 0.0, 0.3, 0.9, 0.999, 0.999999, 1 - 1e-10, 1.0}) {
        INFO("c " << c);
        CHECK(std::abs(gaussian_overlap(f, q, 0.7, c) - gaussian_overlap(g, q, 0.7, c)) < 1e-10 * std::sqrt(0.7 * q));
        CHECK(std::abs(gaussian_slope_overlap(f, q, 0.7, c) - gaussian_slope_overlap(g, q, 0.7, c)) < 1e-10);
      }
    }
  }
}

TEST_CASE("quadrature agrees with the arc-sine law of erf, however steep", "[mean_field]") {
  const Nonlinearity f = parse_nonlinearity("erf");
  for (const double q : {0.1, 1.0, 10.0, 1000.0, 1e6}) {
    for (const double c : {-1.0, -0.3, 0.0, 0.5, 0.99, 0.999999, 1.0}) {
      INFO("q " << q << " c " << c);
      CHECK(std::abs(gaussian_overlap(f, q, q, c) - 2 / pi * std::asin(2 * q * c / (1 + 2 * q))) < 1e-10);
      const double slope = 4 / pi / std::sqrt((1 + 2 * q) * (1 + 2 * q) - 4 * q * q * c * c);
      CHECK(std::abs(gaussian_slope_overlap(f, q, q, c) - slope) < 1e-10);
    }
  }
}

TEST_CASE("every activation: slopes are derivatives, c = 1 gives the square, Price's theorem", "[mean_field]") {
  for (const char* name : {"identity", "relu", "leaky_relu:0.1", "tanh", "sigmoid", "erf", "hard_tanh", "gelu", "silu",
                           "elu", "selu", "softplus"}) {
    const Nonlinearity f = parse_nonlinearity(name);
    for (const double u : {-2.3, -0.7, 0.4, 1.9}) {
      INFO(name << " u " << u);
      CHECK(f.slope(u) == Approx((f.value(u + 1e-6) - f.value(u - 1e-6)) / 2e-6).epsilon(1e-7).margin(1e-9));
    }
    for (const double q : {0.3, 3.0}) {
      INFO(name << " q " << q);
      const GaussianMoments m = gaussian_moments(f, q);
      CHECK(gaussian_overlap(f, q, q, 1) == Approx(m.square).epsilon(1e-11));
      CHECK(gaussian_overlap(f, q, q, 0) == Approx(m.mean * m.mean).epsilon(1e-11).margin(1e-14));
      const double c = 0.6, step = 1e-5;
      const double difference =
          (gaussian_overlap(f, q, q, c + step) - gaussian_overlap(f, q, q, c - step)) / (2 * step * q);
      CHECK(gaussian_slope_overlap(f, q, q, c) == Approx(difference).epsilon(1e-7));
    }
  }
}

TEST_CASE("the paper's numbers for ReLU with correlated weights", "[mean_field]") {
  const Nonlinearity relu = parse_nonlinearity("relu");
  CHECK(std::abs(length_boundary(relu, 100) - 2.9204) < 1e-4);
  CHECK(length_boundary(relu, 0) == Approx(2).epsilon(1e-12));
  CHECK(length_boundary(relu, -0.5) == Approx(2 / (1 + 1 / pi)).epsilon(1e-12));

  const PhasePoint chaotic = phase_point(relu, {2.5, 0.1, 100});
  CHECK(chaotic.phase == Phase::chaotic);
  CHECK(std::abs(chaotic.correlation.value - 0.57548) < 1e-4);
  CHECK(chaotic.chi == Approx(1.25).epsilon(1e-12));
  CHECK(chaotic.correlation_slope == Approx(chaotic.chi).epsilon(1e-12));
  const double q = chaotic.length.value;
  CHECK(length_map(relu, {2.5, 0.1, 100}, q) == Approx(q).epsilon(1e-12));
  CHECK(correlation_map(relu, {2.5, 0.1, 100}, q, chaotic.correlation.value) ==
        Approx(chaotic.correlation.value).epsilon(1e-10));

  // ACI as proposed: bounded and vanishing, and c = 1 unstable whatever sigma_w^2 is.
  const PhasePoint aci = phase_point(relu, {2, 0, 100});
  CHECK(aci.length.kind == FixedPointKind::vanishing);
  CHECK(std::abs(aci.length.slope - 0.685) < 2e-4);
  CHECK(aci.length.slope == Approx(1 - 100.0 / 101 / pi).epsilon(1e-12));
  CHECK(std::abs(aci.correlation_slope - 1.4602) < 1e-4);
  CHECK(phase_point(relu, {0.5, 0, 100}).correlation_slope == Approx(aci.correlation_slope).epsilon(1e-12));
  CHECK(length_keeping_variance(relu, 100) == Approx(length_boundary(relu, 100)).epsilon(1e-12));

  CHECK(order_chaos_boundary(relu, 0.1, 100).value() == Approx(2).epsilon(1e-8));
  CHECK_FALSE(order_chaos_boundary(relu, 0, 100));
  CHECK_FALSE(order_chaos_boundary(relu, 0.1, 0));  // no chaotic phase below where the length diverges
  CHECK_FALSE(order_chaos_boundary(relu, 0.1, -0.5));
  CHECK(phase_point(relu, {1.5, 0.1, 0}).phase == Phase::ordered);
  CHECK(phase_point(relu, {2.5, 0.1, 0}).length.kind == FixedPointKind::diverging);
  CHECK(phase_point(relu, {2, 0, 0}).phase == Phase::critical);
}

TEST_CASE("smooth activations: known phase boundaries and fixed points", "[mean_field]") {
  const Nonlinearity tanh = parse_nonlinearity("tanh");
  // Without biases tanh turns chaotic at sigma_w^2 = 1.
  CHECK(phase_point(tanh, {0.9, 0, 0}).phase == Phase::ordered);
  CHECK(phase_point(tanh, {0.9, 0, 0}).length.kind == FixedPointKind::vanishing);
  const PhasePoint complex = phase_point(tanh, {1.5, 0, 0});  // the paper's complex teacher
  CHECK(complex.phase == Phase::chaotic);
  CHECK(complex.correlation.value == Approx(0).margin(1e-12));
  // The fixed points hold, and an independent way to the boundary: chi = 1 at the fixed length.
  for (const char* name : {"tanh", "erf", "selu", "elu", "hard_tanh"}) {
    INFO(name);
    const Nonlinearity f = parse_nonlinearity(name);
    const double boundary = order_chaos_boundary(f, 0.1, 0).value();
    const FixedPoint length = length_fixed_point(f, {boundary, 0.1, 0});
    REQUIRE(length.kind == FixedPointKind::finite);
    CHECK(length_map(f, {boundary, 0.1, 0}, length.value) == Approx(length.value).epsilon(1e-11));
    CHECK(overlap_slope(f, {boundary, 0.1, 0}, length.value, 1) == Approx(1).epsilon(1e-7));
    CHECK(phase_point(f, {0.9 * boundary, 0.1, 0}).phase == Phase::ordered);
    const PhasePoint above = phase_point(f, {1.1 * boundary, 0.1, 0});
    CHECK(above.phase == Phase::chaotic);
    CHECK(above.correlation.value < 1);
    CHECK(above.correlation.slope < 1);
  }
  // SELU without biases keeps mean 0 and variance 1 at sigma_w^2 = 1 (Klambauer et al. 2017).
  CHECK(length_map(parse_nonlinearity("selu"), {1, 0, 0}, 1) == Approx(1).epsilon(1e-9));
  CHECK(gaussian_moments(parse_nonlinearity("selu"), 1).mean == Approx(0).margin(1e-9));
  // Odd activations have no mean to correlate: k changes nothing.
  CHECK(length_map(tanh, {1.3, 0.2, 100}, 0.8) == Approx(length_map(tanh, {1.3, 0.2, 0}, 0.8)).epsilon(1e-12));
  CHECK(std::isinf(length_boundary(tanh, 0)));
}

TEST_CASE("depth scales", "[mean_field]") {
  CHECK(depth_scale(std::exp(-0.1)) == Approx(10));
  CHECK(depth_scale(std::exp(0.1)) == Approx(10));
  CHECK(std::isinf(depth_scale(1)));
  CHECK(depth_scale(0) == 0);
  CHECK_THROWS_WITH(depth_scale(-1), Catch::Contains("-1"));
}

TEST_CASE("mean field refuses what makes no sense and says when it did not converge", "[mean_field]") {
  const Nonlinearity relu = parse_nonlinearity("relu"), tanh = parse_nonlinearity("tanh");
  CHECK_THROWS_WITH(length_map(relu, {2, 0, -1}, 1), Catch::Contains("k") && Catch::Contains("-1"));
  CHECK_THROWS_WITH(length_map(relu, {-2, 0, 0}, 1), Catch::Contains("weight_variance") && Catch::Contains("-2"));
  CHECK_THROWS_WITH(length_map(relu, {2, -0.5, 0}, 1), Catch::Contains("bias_variance") && Catch::Contains("-0.5"));
  CHECK_THROWS_WITH(length_map(relu, {2, NAN, 0}, 1), Catch::Contains("nan"));
  CHECK_THROWS_WITH(length_map(relu, {2, 0, 0}, -1), Catch::Contains("length"));
  CHECK_THROWS_WITH(correlation_map(relu, {2, 0, 0}, 1, 1.5), Catch::Contains("1.5"));
  CHECK_THROWS_WITH(correlation_map(relu, {2, 0, 0}, 0, 0.5), Catch::Contains("no correlation"));
  CHECK_THROWS_WITH(parse_nonlinearity("swish"), Catch::Contains("swish") && Catch::Contains("selu"));
  Nonlinearity bare = tanh;
  bare.slope = nullptr;
  CHECK_THROWS_WITH(overlap_slope(bare, {1, 0.1, 0}, 1, 1), Catch::Contains("tanh") && Catch::Contains("derivative"));
  CHECK_THROWS_WITH(phase_point(bare, {1, 0.1, 0}), Catch::Contains("derivative"));
  // At sigma_w^2 = 1 tanh's length falls like 1 / depth: no end within the iterations.
  const FixedPoint slow = length_fixed_point(tanh, {1, 0, 0}, {.max_iterations = 100});
  CHECK(slow.kind == FixedPointKind::not_converged);
  CHECK(slow.iterations == 100);
  CHECK(slow.residual > 0);
  CHECK_THROWS_WITH(length_fixed_point(relu, {1, 0, 0}, {.tolerance = 0}), Catch::Contains("tolerance"));
  CHECK_THROWS_WITH(length_fixed_point(relu, {1, 0, 0}, {.max_iterations = 0}), Catch::Contains("iterations"));
  CHECK_THROWS_WITH(order_chaos_boundary(tanh, 0.1, 0, 2, 1), Catch::Contains("2 to 1"));
}
