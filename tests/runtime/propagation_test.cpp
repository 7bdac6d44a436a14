#include <kindling/error.h>
#include <kindling/mean_field.h>
#include <kindling/propagation.h>

#include <cmath>

#include "support/catch.h"
#include "support/temp_dir.h"

using namespace kindling;

namespace {

PropagationOptions small() {
  return {.law = {.k = 100, .bias_variance = 0.1},
          .weight_variances = {1.5, 2.5},
          .layers = {1, 2, 8, 20},
          .width = 300,
          .inputs = 40,
          .networks = 3};
}

}  // namespace

TEST_CASE("random networks follow the mean-field maps layer by layer", "[propagation]") {
  for (const char* activation : {"relu", "tanh"}) {
    PropagationOptions options = small();
    options.activation = parse_activation(activation);
    options.width = 600;
    options.input_correlation = 0.6;
    const Propagation p = simulate_propagation(options, {.seed = 4});
    REQUIRE(p.rows.size() == 8);
    for (const PropagationRow& r : p.rows) {
      INFO(activation << " variance " << r.weight_variance << ", layer " << r.layer);
      // A layer adds relative noise of about sqrt(5 / N) to the length, which later layers damp by chi: a few of them
      // over three networks.
      CHECK(r.length / r.theory_length == Approx(1).margin(0.2));
      CHECK(r.correlation == Approx(r.theory_correlation).margin(0.08));
    }
    // Layer 1 is linear in the inputs: q = sigma_w^2 + sigma_b^2.
    CHECK(p.rows[0].theory_length == Approx(1.6));
    CHECK(p.rows[0].theory_correlation == Approx((1.5 * 0.6 + 0.1) / 1.6));
  }
}

TEST_CASE("looking at a layer changes nothing in later ones", "[propagation]") {
  for (const ActivationKind kind :
       {ActivationKind::relu, ActivationKind::leaky_relu, ActivationKind::identity, ActivationKind::tanh}) {
    PropagationOptions options = small();
    options.activation.kind = kind;
    INFO(static_cast<int>(kind));
    options.networks = 1;
    options.layers = {1, 2, 3, 8};
    const PropagationRun often = simulate_propagation(options, {.seed = 3}).runs.front();
    options.layers = {8};
    const PropagationRun once = simulate_propagation(options, {.seed = 3}).runs.front();
    CHECK(often.layers.back().length == once.layers.back().length);
    CHECK(often.layers.back().correlation == once.layers.back().correlation);
    // A piecewise linear activation needs no second product.
    CHECK(often.flops / once.flops == Approx(kind == ActivationKind::tanh ? 11.0 / 8 : 1));
  }
}

TEST_CASE("lengths beyond float32 are carried", "[propagation]") {
  PropagationOptions options = small();
  options.law.bias_variance = 0;
  options.weight_variances = {0.02, 400};
  options.layers = {1, 40, 80};
  options.networks = 1;
  const Propagation p = simulate_propagation(options, {});
  const Nonlinearity relu = parse_nonlinearity("relu");
  for (const PropagationRow& r : p.rows) {
    INFO(r.weight_variance << " layer " << r.layer);
    const double growth = length_map(relu, {r.weight_variance, 0, 100}, 1);
    CHECK(r.theory_length == Approx(r.weight_variance * std::pow(growth, r.layer - 1)).epsilon(1e-9));
    // ln q wanders by about sqrt(5 layers / N).
    CHECK(std::abs(std::log(r.length / r.theory_length)) < 4 * std::sqrt(5.0 * r.layer / 300));
  }
  CHECK(p.rows.back().length > 1e100);
  CHECK(p.rows[2].length < 1e-100);
}

TEST_CASE("RAAI's networks follow the population at their width", "[propagation]") {
  PropagationOptions options = small();
  options.law = raai_options();
  options.weight_variances = {0.9};
  options.width = 600;
  options.networks = 4;
  const Propagation p = simulate_propagation(options, {.seed = 1});
  for (const PropagationRow& r : p.rows) {
    INFO("layer " << r.layer);
    CHECK(std::abs(std::log(r.length / r.theory_length)) < 0.5);
    CHECK(r.correlation == Approx(r.theory_correlation).margin(0.15));
  }
}

TEST_CASE("a simulation goes on from its file and does not depend on threads", "[propagation]") {
  const test::TempDir folder;
  PropagationOptions options = small();
  options.results = (folder / "runs.jsonl").string();
  options.networks = 1;
  const Propagation first = simulate_propagation(options, {.seed = 2, .threads = 1});
  options.networks = 2;
  const Propagation more = simulate_propagation(options, {.seed = 2, .threads = 3});
  REQUIRE(more.runs.size() == 4);
  int resumed = 0;
  for (const PropagationRun& run : more.runs) resumed += run.resumed ? 1 : 0;
  CHECK(resumed == 2);
  options.results.clear();
  const Propagation fresh = simulate_propagation(options, {.seed = 2, .threads = 2});
  for (std::size_t i = 0; i < fresh.rows.size(); ++i) {
    CHECK(fresh.rows[i].length == more.rows[i].length);
    CHECK(fresh.rows[i].correlation == more.rows[i].correlation);
  }
  // Another law in the same file is another run; foreign lines are refused.
  options.results = (folder / "runs.jsonl").string();
  options.law.k = 0;
  options.networks = 1;
  CHECK_FALSE(simulate_propagation(options, {.seed = 2}).runs.front().resumed);
  folder.write("foreign.jsonl", "{\"a\": 1}\n");
  options.results = (folder / "foreign.jsonl").string();
  CHECK_THROWS_WITH(simulate_propagation(options, {}), Catch::Contains("line 1"));
}

TEST_CASE("propagation refuses what makes no sense", "[propagation]") {
  const auto refuses = [](auto change, const std::string& part) {
    PropagationOptions options = small();
    change(options);
    CHECK_THROWS_WITH(simulate_propagation(options, {}), Catch::Contains(part));
  };
  refuses([](PropagationOptions& o) { o.width = 1; }, "width");
  refuses([](PropagationOptions& o) { o.inputs = 1; }, "inputs");
  refuses([](PropagationOptions& o) { o.networks = 0; }, "networks");
  refuses([](PropagationOptions& o) { o.law.k = -1; }, "k");
  refuses([](PropagationOptions& o) { o.law.bias_variance = -1; }, "bias_variance");
  refuses([](PropagationOptions& o) { o.weight_variances = {}; }, "none");
  refuses([](PropagationOptions& o) { o.weight_variances = {1, 1}; }, "different");
  refuses([](PropagationOptions& o) { o.weight_variances = {-1}; }, "-1");
  refuses([](PropagationOptions& o) { o.layers = {2, 1}; }, "ascending");
  refuses([](PropagationOptions& o) { o.input_correlation = 2; }, "correlation");
}
