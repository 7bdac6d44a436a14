#include <kindling/error.h>
#include <kindling/mean_field.h>
#include <kindling/population.h>

#include <cmath>

#include "support/catch.h"

using namespace kindling;

namespace {

PopulationOptions law(double weight_variance, double k) { return {.weight_variance = weight_variance, .k = k}; }

}  // namespace

TEST_CASE("population dynamics: boundaries of RAI and RAAI", "[population]") {
  CHECK(std::abs(population_length_boundary(law(1, 0), {}) - 0.717) < 0.005);
  CHECK(std::abs(population_length_boundary(law(1, 100), {}) - 1.2205) < 0.005);
  CHECK(std::abs(population_perturbation_boundary(law(1, 0), {}) - 0.966) < 0.005);
  CHECK(std::abs(population_perturbation_boundary(law(1, 100), {}) - 0.882) < 0.005);
}

TEST_CASE("RAI is not chaotic: perturbations shrink beside the length at every variance", "[population]") {
  for (const double variance : {0.36, 0.7, 1.0}) {
    const PopulationGrowth g = population_growth(law(variance, 0), {});
    INFO(variance << ": " << g.length << ", " << g.perturbation << ", dead " << g.dead);
    CHECK(g.relative < 0.9);
    CHECK(g.relative > 0.84);
    CHECK(g.length_error < 1e-3);
    CHECK(g.perturbation_error < 1e-3);
  }
  // RAAI is: near the end of its bounded range perturbations outgrow the length.
  CHECK(population_growth(law(0.9, 100), {}).relative > 1.1);
}

TEST_CASE("population dynamics: dead units layer by layer, and signals that meet or part", "[population]") {
  PopulationOptions rai = law(0.36, 0), raai = law(0.9, 100);
  rai.layers = raai.layers = 40;
  const PopulationTrace a = population_trace(rai, 0.5, 0, {}), b = population_trace(raai, 0.5, 0, {});
  // A share of n particles: standard error at most 0.5 / sqrt(n) = 0.001.
  CHECK(std::abs(a.dead[0] - 0.5) < 0.004);
  CHECK(std::abs(b.dead[0] - 0.5) < 0.004);
  CHECK(std::abs(a.dead[1] - 0.35) < 0.008);
  CHECK(std::abs(b.dead[1] - 0.37) < 0.008);
  CHECK(std::abs(a.dead.back() - 0.31) < 0.008);
  CHECK(std::abs(b.dead.back() - 0.33) < 0.008);
  CHECK(a.correlation.back() > 0.99);
  CHECK(b.correlation.back() < 0.9);
  // Layer 1 mixes independent inputs: q = sigma_w^2 + E u^2, c that of the inputs.
  CHECK(a.length[0] == Approx(0.36 + 0.5).epsilon(0.02));
  CHECK(a.correlation[0] == Approx(0.5).margin(0.01));
}

TEST_CASE("the paper's approximations: what its Table 2 says and what comes out", "[population]") {
  using A = AsymmetricApproximation;
  const auto rms = SpecialUnit::root_mean_square;
  // These two entries come out.
  CHECK(approximate_boundary(rms, &A::length, 0) == Approx(0.566).margin(0.001));
  CHECK(approximate_boundary(rms, &A::perturbation, 0) == Approx(1.41).margin(0.001));
  // The text's 0.56 does not come from eq. 10 as printed.
  CHECK(approximate_boundary(rms, &A::length_as_printed, 0) == Approx(0.550).margin(0.001));
  // Derivatives of the length map: f^2 is homogeneous of degree 1 in the length.
  CHECK(asymmetric_approximation(rms, 0.5, 100).length < asymmetric_approximation(rms, 0.5, 0).length);
}

TEST_CASE("without Beta entries the population agrees with the Gaussian maps", "[population]") {
  PopulationOptions options = law(2.5, 100);
  options.beta_entry = false;
  const Nonlinearity relu = parse_nonlinearity("relu");
  const MeanFieldLaw gaussian{2.5, 0, 100};
  const PopulationGrowth g = population_growth(options, {});
  CHECK(std::abs(g.length - length_map(relu, gaussian, 1)) < 5 * g.length_error);
  CHECK(std::abs(g.perturbation - overlap_slope(relu, gaussian, 1, 1)) < 5 * g.perturbation_error);
  options.layers = 3;
  const PopulationTrace trace = population_trace(options, 0.3, 0, {});
  double c = 0.3, q = 2.5;
  for (int l = 1; l < 3; ++l) {
    c = correlation_map(relu, gaussian, q, c);
    q = length_map(relu, gaussian, q);
    CHECK(trace.length[static_cast<std::size_t>(l)] == Approx(q).epsilon(0.02));
    CHECK(trace.correlation[static_cast<std::size_t>(l)] == Approx(c).margin(0.01));
  }
}

TEST_CASE("population dynamics refuses what makes no sense", "[population]") {
  CHECK_THROWS_WITH(population_growth(law(0, 0), {}), Catch::Contains("weight_variance"));
  CHECK_THROWS_WITH(population_growth(law(1, -1), {}), Catch::Contains("k") && Catch::Contains("-1"));
  PopulationOptions few = law(1, 0);
  few.particles = 10;
  CHECK_THROWS_WITH(population_growth(few, {}), Catch::Contains("particles") && Catch::Contains("10"));
  CHECK_THROWS_WITH(population_trace(law(1, 0), 2, 0, {}), Catch::Contains("correlation"));
  CHECK_THROWS_WITH(asymmetric_approximation(SpecialUnit::mean, 1, -2), Catch::Contains("-2"));
}
