#include "methods/method_options.h"

#include <cmath>

namespace kindling {
namespace {

std::vector<std::pair<std::string, CorrelatedOptions>> correlated_laws() {
  return {{"aci", aci_options()}, {"rai", rai_options()}, {"raai", raai_options()}};
}

CorrelatedOptions read_correlated_law(OptionReader& reader, CorrelatedOptions o) {
  o.k = reader.number("k", o.k);
  o.keep_length = reader.text("weight_variance", "") == "keep";
  if (!o.keep_length) o.weight_variance = reader.number("weight_variance", o.weight_variance);
  o.bias_variance = reader.number("bias_variance", o.bias_variance);
  o.bias_entry = reader.choice<bool>("bias", o.bias_entry, {{"entry", true}, {"independent", false}});
  o.beta_entry = reader.flag("beta", o.beta_entry);
  return o;
}

}  // namespace

BaselineOptions read_baseline(OptionReader& reader, Law fallback, const std::string& law_option) {
  BaselineOptions options;
  options.law = fallback;
  if (!law_option.empty()) {
    options.law = reader.choice<Law>(
        law_option, fallback,
        {{"xavier", Law::xavier}, {"he", Law::he}, {"lecun", Law::lecun}, {"orthogonal", Law::orthogonal}});
  }
  options.distribution = reader.choice<Distribution>(
      "distribution", Distribution::normal, {{"normal", Distribution::normal}, {"uniform", Distribution::uniform}});
  options.fan = reader.choice<FanMode>(
      "fan", FanMode::fan_in, {{"in", FanMode::fan_in}, {"out", FanMode::fan_out}, {"average", FanMode::average}});
  options.gain = reader.number("gain", 0);
  options.bias =
      reader.choice<BiasRule>("bias", BiasRule::zero, {{"zero", BiasRule::zero}, {"uniform", BiasRule::uniform}});
  return options;
}

LsuvOptions read_lsuv(OptionReader& reader) {
  LsuvOptions options;
  options.base = read_baseline(reader, Law::orthogonal, "base");
  options.target_variance = reader.number("variance", options.target_variance);
  options.tolerance = reader.number("tolerance", options.tolerance);
  options.max_iterations = static_cast<int>(reader.integer("iterations", options.max_iterations));
  options.samples = reader.integer("samples", options.samples);
  options.last_layer = reader.flag("last_layer", options.last_layer);
  return options;
}

JacobianOptions read_jacobian(OptionReader& reader) {
  JacobianOptions options;
  options.simulate = reader.flag("simulate", options.simulate);
  options.norm = reader.number("norm", options.norm);
  options.samples = reader.integer("samples", options.samples);
  options.tolerance = reader.number("tolerance", options.tolerance);
  options.max_iterations = static_cast<int>(reader.integer("iterations", options.max_iterations));
  options.distribution = reader.choice<Distribution>(
      "distribution", options.distribution, {{"normal", Distribution::normal}, {"uniform", Distribution::uniform}});
  options.bias =
      reader.choice<BiasRule>("bias", options.bias, {{"zero", BiasRule::zero}, {"uniform", BiasRule::uniform}});
  return options;
}

IbciRequest read_ibci(OptionReader& reader) {
  IbciRequest request;
  IbciOptions& o = request.options;
  o.variant = reader.choice<IbciVariant>("variant", o.variant,
                                         {{"paper", IbciVariant::paper}, {"program", IbciVariant::program}});
  o.law = read_baseline(reader, o.variant == IbciVariant::program ? Law::he : Law::xavier, "law");
  o.k = static_cast<int>(reader.integer("k", o.k));
  request.search = reader.text("alpha", "") == "search";
  if (!request.search) o.alpha.values = reader.numbers("alpha", o.alpha.values);
  request.search_options.draws = static_cast<int>(reader.integer("draws", request.search_options.draws));
  request.search_options.epochs = static_cast<int>(reader.integer("search_epochs", request.search_options.epochs));
  request.search_options.learning_rate = reader.number("search_lr", request.search_options.learning_rate);
  o.criteria = reader.choice<IbciCriteria>(
      "criteria", o.criteria,
      {{"both", IbciCriteria::both}, {"input", IbciCriteria::input}, {"target", IbciCriteria::target}});
  o.score_on = reader.choice<ScoreOn>(
      "score_on", o.score_on,
      {{"auto", ScoreOn::automatic}, {"pre", ScoreOn::pre_activation}, {"post", ScoreOn::post_activation}});
  o.use_scores = reader.flag("scores", o.use_scores);
  o.use_campaign = reader.flag("campaign", o.use_campaign);
  o.samples = reader.integer("samples", o.samples);
  o.cache_mb = reader.number("cache_mb", o.cache_mb);
  o.max_program_candidates = static_cast<int>(reader.integer("max_candidates", o.max_program_candidates));
  return request;
}

BottleneckRequest read_bottleneck(OptionReader& reader) {
  BottleneckRequest request;
  request.base = read_baseline(reader, Law::he, "base");
  BottleneckOptions& o = request.options;
  InformationTermOptions& t = o.terms;
  o.beta = reader.number("beta", o.beta);
  o.conv_beta = reader.number("conv_beta", o.conv_beta);
  o.iterations = reader.integer("iterations", o.iterations);
  o.learning_rate = reader.number("lr", o.learning_rate);
  o.post.iterations = reader.integer("post", o.post.iterations);
  o.post.learning_rate = reader.number("post_lr", o.post.learning_rate);
  o.cache_mb = reader.number("cache_mb", o.cache_mb);
  t.batch = reader.integer("batch", t.batch);
  t.noise_variance = reader.number("noise_variance", t.noise_variance);
  t.critic_updates = reader.integer("critic_updates", t.critic_updates);
  t.warmup = reader.integer("warmup", t.warmup);
  t.warmup_tolerance = reader.number("warmup_tolerance", t.warmup_tolerance);
  t.input_estimator = reader.choice<InputEstimator>(
      "estimator", t.input_estimator, {{"aa-mine", InputEstimator::aa_mine}, {"mine", InputEstimator::mine}});
  t.product = reader.choice<ProductPairs>(
      "product", t.product, {{"second-batch", ProductPairs::second_batch}, {"permutation", ProductPairs::permutation}});
  t.gradient_through_copy = reader.flag("through_copy", t.gradient_through_copy);
  t.critic.hidden.clear();
  for (const double width : reader.numbers("critic", {1500, 1500})) {
    // A width that is no whole number is refused as a negative one is.
    t.critic.hidden.push_back(width == std::floor(width) && width < 1e9 ? static_cast<std::int64_t>(width) : -1);
  }
  t.critic.learning_rate = reader.number("critic_lr", t.critic.learning_rate);
  t.critic.average_rate = reader.number("average_rate", t.critic.average_rate);
  t.critic.restarts = static_cast<int>(reader.integer("restarts", t.critic.restarts));
  return request;
}

CorrelatedRequest read_correlated(OptionReader& reader, const CorrelatedOptions& law) {
  CorrelatedRequest request{.options = read_correlated_law(reader, law)};
  if (reader.text("match", "none") != "none")
    request.match = reader.choice<CorrelatedOptions>("match", law, correlated_laws());
  return request;
}

CorrelatedRequest read_he_matched(OptionReader& reader) {
  const CorrelatedOptions like = reader.choice<CorrelatedOptions>("like", raai_options(), correlated_laws());
  return {.options = {.k = 0}, .match = read_correlated_law(reader, like)};
}

MmdOptions read_mmd(OptionReader& reader) {
  MmdOptions o;
  o.law = read_baseline(reader, Law::xavier, "law");
  o.perturbations = reader.integer("perturbations", o.perturbations);
  o.batch = reader.integer("batch", o.batch);
  o.steps = reader.integer("steps", o.steps);
  o.learning_rate = reader.number("lr", o.learning_rate);
  o.schedule = reader.choice<RateSchedule>(
      "schedule", o.schedule,
      {{"constant", RateSchedule::constant}, {"linear", RateSchedule::linear}, {"cosine", RateSchedule::cosine}});
  o.scale_squared = reader.number("s2", o.scale_squared);
  o.uniformity = reader.number("uniformity", o.uniformity);
  o.lambda = reader.number("lambda", o.lambda);
  o.xi = reader.number("xi", o.xi);
  o.statistic = reader.choice<MmdStatistic>("statistic", o.statistic, {{"v", MmdStatistic::v}, {"u", MmdStatistic::u}});
  if (reader.text("bandwidth", "median") != "median") o.bandwidth = reader.number("bandwidth", 0);
  o.hinge = reader.choice<SoftmaxHinge>(
      "hinge", o.hinge,
      {{"auto", SoftmaxHinge::automatic}, {"printed", SoftmaxHinge::printed}, {"share", SoftmaxHinge::share}});
  o.span = reader.flag("span", o.span);
  o.window = reader.integer("window", o.window);
  o.patience = reader.integer("patience", o.patience);
  o.checkpoint = reader.text("checkpoint", o.checkpoint);
  return o;
}

bool read_mmd_match(OptionReader& reader) {
  return reader.choice<bool>("match", false, {{"norm", false}, {"jacobian", true}});
}

RandomLabelOptions read_random_label(OptionReader& reader) {
  RandomLabelOptions o;
  o.law = read_baseline(reader, Law::xavier, "law");
  o.batch = reader.integer("batch", o.batch);
  o.steps = reader.integer("steps", o.steps);
  o.learning_rate = reader.number("lr", o.learning_rate);
  o.window = reader.integer("window", o.window);
  o.patience = reader.integer("patience", o.patience);
  return o;
}

}  // namespace kindling
