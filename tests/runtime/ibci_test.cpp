#include <kindling/ibci.h>
#include <kindling/random.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "support/catch.h"
#include "support/small_data.h"

using namespace kindling;

namespace {

using Rows = std::vector<std::vector<double>>;

// The paper's method in plain double arithmetic, one layer: criteria, scores, Gram-Schmidt campaign.
struct PlainLayer {
  std::vector<double> input, target, score;
  std::vector<std::int64_t> selected;
  double smallest_gap = 1;  // relative distance of best and second at any step
};

PlainLayer plain_campaign(const Rows& x, const std::vector<std::int32_t>& labels, int classes, const Rows& candidates,
                          bool relu, double alpha, std::size_t count) {
  PlainLayer out;
  for (const auto& w : candidates) {
    std::vector<double> z;
    for (const auto& row : x) {
      const double a = std::inner_product(w.begin(), w.end(), row.begin(), 0.0);
      z.push_back(relu ? std::max(a, 0.0) : a);
    }
    const double mean = std::accumulate(z.begin(), z.end(), 0.0) / static_cast<double>(z.size());
    std::vector<double> mu(static_cast<std::size_t>(classes)), n(mu), within_c(mu);
    double total = 0;
    for (std::size_t i = 0; i < z.size(); ++i) {
      total += (z[i] - mean) * (z[i] - mean);
      mu[static_cast<std::size_t>(labels[i])] += z[i];
      n[static_cast<std::size_t>(labels[i])] += 1;
    }
    for (std::size_t c = 0; c < mu.size(); ++c) mu[c] /= n[c];
    for (std::size_t i = 0; i < z.size(); ++i) {
      const auto c = static_cast<std::size_t>(labels[i]);
      within_c[c] += (z[i] - mu[c]) * (z[i] - mu[c]) / n[c];
    }
    const double grand = std::accumulate(mu.begin(), mu.end(), 0.0) / classes;
    double between = 0;
    double within = 0;
    for (std::size_t c = 0; c < mu.size(); ++c) {
      between += (mu[c] - grand) * (mu[c] - grand) / classes;
      within += within_c[c] / classes;
    }
    out.input.push_back(total / static_cast<double>(z.size()));
    out.target.push_back(between - within);
  }
  const auto norm = [](const std::vector<double>& v) {
    return std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
  };
  for (std::size_t j = 0; j < candidates.size(); ++j) {
    out.score.push_back(alpha * out.input[j] / norm(out.input) + (1 - alpha) * out.target[j] / norm(out.target));
  }
  const double shift = std::min(0.0, *std::min_element(out.score.begin(), out.score.end()));
  for (double& s : out.score) s -= shift;

  Rows residual = candidates;
  std::set<std::size_t> taken;
  while (out.selected.size() < count) {
    double best = -1;
    double second = -1;
    std::size_t winner = 0;
    for (std::size_t j = 0; j < candidates.size(); ++j) {
      if (taken.contains(j)) continue;
      const double product = out.score[j] * norm(residual[j]) / norm(candidates[j]);
      if (product > best) {
        second = best;
        best = product;
        winner = j;
      } else {
        second = std::max(second, product);
      }
    }
    out.smallest_gap = std::min(out.smallest_gap, (best - second) / best);
    taken.insert(winner);
    out.selected.push_back(static_cast<std::int64_t>(winner));
    std::vector<double> q = residual[winner];
    const double length = norm(q);
    for (double& v : q) v /= length;
    for (auto& r : residual) {
      const double along = std::inner_product(q.begin(), q.end(), r.begin(), 0.0);
      for (std::size_t k = 0; k < r.size(); ++k) r[k] -= along * q[k];
    }
  }
  return out;
}

Rows candidates_of(std::uint64_t seed, std::uint32_t layer, std::int64_t count, std::int64_t fan_in, double stddev) {
  std::vector<float> values(static_cast<std::size_t>(count * fan_in));
  fill_normal({seed, Purpose::candidates, layer, 0}, 0, static_cast<float>(stddev), values, {});
  Rows rows;
  for (std::int64_t j = 0; j < count; ++j)
    rows.emplace_back(values.begin() + j * fan_in, values.begin() + (j + 1) * fan_in);
  return rows;
}

bool same_weights(const Model& a, const Model& b) {
  for (std::size_t l = 0; l < a.layers().size(); ++l) {
    const auto p = a.layers()[l].weight.flat();
    const auto q = b.layers()[l].weight.flat();
    if (!std::equal(p.begin(), p.end(), q.begin())) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("IBCI makes the choices of the paper's algorithm in plain double arithmetic", "[ibci]") {
  const Dataset data = test::small_data(1200);
  Model model = Model::parse("20-12-4");
  const Context context{.seed = 21};
  IbciOptions options;
  options.k = 4;
  options.alpha.values = {0.8, 0.3};
  const IbciReport report = initialize_ibci(model, data, options, context);
  REQUIRE(report.layers.size() == 2);

  Rows x;
  for (std::int64_t i = 0; i < data.train.count; ++i)
    x.emplace_back(data.train.floats.begin() + i * 20, data.train.floats.begin() + (i + 1) * 20);
  std::int64_t fan_in = 20;
  const std::int64_t widths[] = {12, 4};
  for (std::uint32_t l = 0; l < 2; ++l) {
    const std::int64_t fan_out = widths[l];
    const Rows candidates =
        candidates_of(21, l, 4 * fan_out, fan_in, std::sqrt(2.0 / static_cast<double>(fan_in + fan_out)));
    const PlainLayer plain = plain_campaign(x, data.train.labels, 4, candidates, l == 0, l == 0 ? 0.8 : 0.3,
                                            static_cast<std::size_t>(fan_out));
    INFO("layer " << l << ", smallest gap " << plain.smallest_gap);
    REQUIRE(plain.smallest_gap > 1e-4);  // else the comparison would say nothing
    CHECK(report.layers[l].selected == plain.selected);
    for (std::size_t t = 0; t < plain.selected.size(); ++t) {
      const auto j = static_cast<std::size_t>(plain.selected[t]);
      CHECK(report.layers[l].selected_score[t] == Approx(plain.score[j]).epsilon(1e-4));
      for (std::int64_t k = 0; k < fan_in; ++k) {
        CHECK(model.layers()[l].weight.data()[static_cast<std::int64_t>(t) * fan_in + k] ==
              static_cast<float>(candidates[j][static_cast<std::size_t>(k)]));
      }
    }
    Rows next;
    for (const auto& row : x) {
      std::vector<double> h;
      for (const std::int64_t j : plain.selected) {
        const auto& w = candidates[static_cast<std::size_t>(j)];
        h.push_back(std::max(0.0, std::inner_product(w.begin(), w.end(), row.begin(), 0.0)));
      }
      next.push_back(h);
    }
    x = next;
    fan_in = fan_out;
  }
}

TEST_CASE("neither threads nor the cache nor the batch change a bit", "[ibci]") {
  const Dataset data = test::small_data(5000);
  const auto run = [&](int threads, double cache_mb, std::int64_t batch) {
    Model model = Model::parse("20-30-15-4");
    IbciOptions options;
    options.cache_mb = cache_mb;
    options.batch = batch;
    const IbciReport report = initialize_ibci(model, data, options, {.seed = 3, .threads = threads});
    CHECK(report.layers[0].cached == (cache_mb > 0));
    return model;
  };
  const Model reference = run(1, 150, 0);
  CHECK(same_weights(reference, run(2, 150, 0)));
  CHECK(same_weights(reference, run(4, 0, 0)));
  CHECK(same_weights(reference, run(1, 150, 960)));
}

TEST_CASE("a wide layer starts new rounds when directions run out", "[ibci]") {
  const Dataset data = test::small_data(500);
  Model model = Model::parse("20-50-4");
  const IbciReport report = initialize_ibci(model, data, {}, {.seed = 1});
  CHECK(report.layers[0].rounds == 3);  // 20 directions a round
  std::vector<std::int64_t> selected = report.layers[0].selected;
  std::sort(selected.begin(), selected.end());
  CHECK(std::adjacent_find(selected.begin(), selected.end()) == selected.end());
  CHECK(selected.size() == 50);
}

TEST_CASE("ablations and variants choose by what they say", "[ibci]") {
  const Dataset data = test::small_data(1000);
  const auto run = [&](const IbciOptions& options) {
    Model model = Model::parse("20-12-4");
    return initialize_ibci(model, data, options, {.seed = 2});
  };
  IbciOptions input;
  input.criteria = IbciCriteria::input;
  input.use_campaign = false;
  const IbciReport by_input = run(input);
  // Without a campaign the chosen are the best: no refused candidate has a higher criterion.
  CHECK(std::is_sorted(by_input.layers[0].selected_score.rbegin(), by_input.layers[0].selected_score.rend()));
  CHECK(by_input.layers[0].input_criterion_chosen > by_input.layers[0].input_criterion_refused);
  IbciOptions target = input;
  target.criteria = IbciCriteria::target;
  const IbciReport by_target = run(target);
  CHECK(by_target.layers[0].target_criterion_chosen > by_target.layers[0].target_criterion_refused);
  CHECK(by_target.layers[0].selected != by_input.layers[0].selected);
  IbciOptions directions;
  directions.use_scores = false;
  const IbciReport by_direction = run(directions);
  for (const double s : by_direction.layers[0].selected_score) CHECK(s == 1);
  IbciOptions one;
  one.k = 1;
  std::vector<std::int64_t> everyone = run(one).layers[0].selected;
  std::sort(everyone.begin(), everyone.end());
  for (std::int64_t j = 0; j < 12; ++j) CHECK(everyone[static_cast<std::size_t>(j)] == j);
  IbciOptions pre;
  pre.score_on = ScoreOn::pre_activation;
  CHECK(run(pre).layers[0].selected != run({}).layers[0].selected);

  IbciOptions program;
  program.variant = IbciVariant::program;
  program.law.law = Law::he;
  program.k = 3;
  const IbciReport by_program = run(program);
  CHECK(by_program.layers[0].law_stddev == Approx(std::sqrt(2.0 / 36)));
  CHECK(by_program.layers[0].selected.size() == 12);
  program.max_program_candidates = 20;
  CHECK(run(program).layers[0].candidates == 20);
  program.max_program_candidates = 11;
  CHECK_THROWS_WITH(run(program), Catch::Contains("layers.0") && Catch::Contains("11"));
}

TEST_CASE("a subset of samples is used where one is asked for", "[ibci]") {
  const Dataset data = test::small_data(3000);
  IbciOptions options;
  options.samples = 1000;
  Model a = Model::parse("20-12-4");
  Model b = a.clone();
  Model c = a.clone();
  initialize_ibci(a, data, options, {.seed = 2});
  initialize_ibci(b, data, {}, {.seed = 2});
  options.samples = 3000;
  initialize_ibci(c, data, options, {.seed = 2});
  CHECK_FALSE(same_weights(a, b));
  CHECK(same_weights(b, c));
}

TEST_CASE("the control has the scale and not the choice", "[ibci]") {
  const Dataset data = test::small_data(1000);
  Model chosen = Model::parse("20-40-4");
  Model control = chosen.clone();
  const IbciReport report = initialize_ibci(chosen, data, {}, {.seed = 2});
  const IbciReport other = initialize_ibci_control(control, data, {}, {.seed = 2});
  CHECK_FALSE(same_weights(chosen, control));
  for (std::size_t l = 0; l < 2; ++l) {
    CHECK(other.layers[l].weight_stddev == Approx(report.layers[l].weight_stddev).epsilon(1e-5));
    CHECK(other.layers[l].selected.empty());
  }
}

TEST_CASE("alpha runs over the layers as asked", "[ibci]") {
  const AlphaSchedule linear{{0.9, 0.1}};
  CHECK(linear.at(0, 3) == Approx(0.9));
  CHECK(linear.at(1, 3) == Approx(0.5));
  CHECK(linear.at(2, 3) == Approx(0.1));
  CHECK(AlphaSchedule{{0.4}}.at(2, 3) == 0.4);
  CHECK(AlphaSchedule{{0.1, 0.7, 0.2, 0.3}}.at(1, 4) == 0.7);
  CHECK_THROWS_AS((AlphaSchedule{{0.1, 0.2, 0.3}}.at(0, 4)), Error);
  CHECK_THROWS_AS((AlphaSchedule{{1.5}}.at(0, 1)), Error);
}

TEST_CASE("the random search for alpha keeps the draw of lowest validation error", "[ibci]") {
  const Dataset data = test::small_data(600);
  const Model model = Model::parse("20-10-8-4");
  AlphaSearchOptions search;
  search.draws = 4;
  search.epochs = 1;
  const AlphaSearchReport report = search_alpha(model, data, {}, search, {.seed = 1});
  REQUIRE(report.alphas.size() == 4);
  for (const auto& alpha : report.alphas) CHECK(std::is_sorted(alpha.rbegin(), alpha.rend()));
  CHECK(report.validation_errors[report.best] ==
        *std::min_element(report.validation_errors.begin(), report.validation_errors.end()));
  Dataset without = test::small_data(600);
  without.validation = {};
  CHECK_THROWS_WITH(search_alpha(model, without, {}, search, {}), Catch::Contains("validation"));
}

TEST_CASE("IBCI survives odd data and refuses impossible requests", "[ibci]") {
  Dataset constant = test::small_data(300);
  std::fill(constant.train.floats.begin(), constant.train.floats.end(), 1.0F);
  Model model = Model::parse("20-12-4");
  initialize_ibci(model, constant, {}, {});
  CHECK_NOTHROW(check_finite(model));
  Dataset few = test::small_data(8);
  initialize_ibci(model, few, {}, {});
  CHECK_NOTHROW(check_finite(model));
  Dataset lone = test::small_data(300);
  std::fill(lone.train.labels.begin(), lone.train.labels.end(), 2);  // three classes have no samples
  initialize_ibci(model, lone, {}, {});
  CHECK_NOTHROW(check_finite(model));
  IbciOptions options;
  options.k = 0;
  CHECK_THROWS_AS(initialize_ibci(model, few, options, {}), Error);
  options = {};
  options.batch = 100;
  CHECK_THROWS_AS(initialize_ibci(model, few, options, {}), Error);
  Model wide = Model::parse("21-12-4");
  CHECK_THROWS_AS(initialize_ibci(wide, few, {}, {}), Error);
}
