#include "tools/bottleneck_training.h"

#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/targets.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

#include "io/atomic_file.h"
#include "methods/report_json.h"
#include "tools/information_options.h"
#include "tools/result_lines.h"
#include "tools/text_table.h"

namespace kindling::tools {
namespace {

constexpr const char* both[] = {
    "--iterations",         "--beta",         "--noise-variance",   "--critic-updates", "--warmup",
    "--warmup-tolerance",   "--product",      "--estimator",        "--through-copy",   "--checkpoint",
    "--checkpoint-seconds", "--trace-every",  "--results",          "--critic-widths",  "--critic-lr",
    "--leaky-slope",        "--average-rate", "--divergence-limit", "--restarts",       "--restart-factor",
    "--post-iterations",    "--post-lr",      "--cache-mb"};
constexpr const char* layerwise[] = {"--conv-beta"};
constexpr const char* regularized[] = {"--alpha", "--gamma"};
constexpr const char* of_plane[] = {"--noise-variance",   "--estimator",   "--critic-widths",
                                    "--critic-lr",        "--leaky-slope", "--average-rate",
                                    "--divergence-limit", "--restarts",    "--restart-factor"};
constexpr const char* plain[] = {"--epochs", "--optimizer", "--momentum", "--beta1", "--beta2", "--epsilon"};

bool given(const CLI::App& verb, const char* name) { return verb.count(name) > 0; }

template <std::size_t n>
void refuse_given(const CLI::App& verb, const char* const (&names)[n], const std::string& objective) {
  for (const char* name : names)
    if (given(verb, name))
      throw Error(ErrorCode::usage, fmt::format("{} is no option of --objective {}", name, objective));
}

nlohmann::json number(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr); }

nlohmann::json regularized_json(const RegularizedReport& report) {
  nlohmann::json trace = nlohmann::json::array();
  for (const RegularizedPoint& p : report.trace) {
    trace.push_back({{"step", p.step},
                     {"loss", number(p.loss)},
                     {"target_nats", number(p.target_nats)},
                     {"input_nats", number(p.input_nats)},
                     {"test_error", number(p.test_error)}});
  }
  nlohmann::json result = {{"trace", trace}, {"restarts", report.restarts}, {"resumed", report.resumed}};
  if (std::isfinite(report.post_loss)) result["post_loss"] = report.post_loss;
  return result;
}

// Ratios before the last layer with neurons and of the outputs.
nlohmann::json separation(const Model& model, const Dataset& data, const Context& context) {
  if (data.test.count == 0) return nullptr;
  return {{"hidden", number(separation_ratio(model, model.last_neuron_layer(), data, data.test, context))},
          {"outputs", number(separation_ratio(model, model.layers().size(), data, data.test, context))}};
}

void write_whole(const std::string& path, const std::string& text) {
  io::AtomicFile file(path);
  file.write(std::string_view(text));
  file.commit();
}

}  // namespace

void add_objective_options(CLI::App& verb, ObjectiveArguments& a) {
  const std::string group = "Information bottleneck";
  BottleneckOptions& o = a.bottleneck;
  InformationTermOptions& t = o.terms;
  const auto option = [&](const char* name, auto& value, const char* text) {
    verb.add_option(name, value, text)->capture_default_str()->group(group);
  };
  option(
      "--objective", a.objective,
      "cross-entropy; bottleneck: layer by layer, I(Y; L) - beta I(X; L + noise); regularized: end to end, alpha CE - "
      "beta I(Y; Z) + gamma I(X; Z + noise)");
  option("--iterations", a.iterations, "Of each layer, or steps end to end");
  verb.add_option("--beta", a.beta,
                  "Weight of I(X; L + noise) of dense layers (default 0.001); of I(Y; Z) end to end (1)")
      ->group(group);
  option("--conv-beta", o.conv_beta, "Weight of I(X; L + noise) of convolutions");
  option("--alpha", a.alpha, "Weight of the cross entropy, end to end");
  option("--gamma", a.gamma, "Weight of I(X; Z + noise), end to end");
  option("--noise-variance", t.noise_variance, "Of the noise on L");
  option("--critic-updates", t.critic_updates, "Updates of each critic for every step of the network");
  option("--warmup", t.warmup, "Most updates of the critics before the first step");
  option("--warmup-tolerance", t.warmup_tolerance, "They end when the mean of 100 values rises by less, in nats");
  option("--estimator", a.estimator, "For I(X; L + noise): aa-mine or mine");
  option("--product", a.product, "Product pairs: second-batch or permutation");
  verb.add_flag("--through-copy", t.gradient_through_copy, "Gradient also through the copy of the layers in the critic")
      ->group(group);
  option("--post-iterations", o.post.iterations,
         "Of the linear layer that is trained at the end and folded in (end to end: with --alpha 0 alone)");
  option("--post-lr", o.post.learning_rate, "Its learning rate, Adam");
  option("--cache-mb", o.cache_mb, "Memory for frozen outputs, MB");
  option("--trace-every", a.trace_every, "Iterations between two points of the trace (end to end: evaluations too)");
  verb.add_option("--checkpoint", o.checkpoint.path, "A .safetensors file from which a stopped training goes on")
      ->group(group);
  option("--checkpoint-seconds", o.checkpoint.seconds, "Least time between two writings of it");
  verb.add_option("--results", a.results,
                  "File that keeps a line of every finished training; one found there is not repeated")
      ->group(group);
  verb.add_option(
          "--plane", a.plane,
          "File for the information plane, a JSON line a layer and step: with cross entropy from critics trained "
          "anew at the steps of --plane-at, else from the training's own critics; see tools/plot")
      ->group(group);
  verb.add_option("--plane-at", a.plane_at, "Steps at which cross-entropy training is looked at, joined by ','")
      ->delimiter(',')
      ->capture_default_str()
      ->group(group);
  option("--plane-updates", a.plane_updates, "Updates of each critic there");
  add_critic_options(verb, t.critic);
}

void check_objective(const CLI::App& verb, const ObjectiveArguments& a) {
  if (a.plane.empty() && (given(verb, "--plane-at") || given(verb, "--plane-updates")))
    throw Error(ErrorCode::usage, "--plane-at and --plane-updates belong to --plane");
  if (a.objective == "cross-entropy") {
    for (const char* name : both) {
      const bool for_plane =
          std::find(std::begin(of_plane), std::end(of_plane), std::string_view(name)) != std::end(of_plane);
      if (given(verb, name) && (a.plane.empty() || !for_plane))
        throw Error(ErrorCode::usage, fmt::format("{} is no option of --objective {}{}", name, a.objective,
                                                  for_plane ? " without --plane" : ""));
    }
    refuse_given(verb, layerwise, a.objective);
    refuse_given(verb, regularized, a.objective);
    return;
  }
  refuse_given(verb, plain, a.objective);
  if (a.objective == "bottleneck") {
    refuse_given(verb, regularized, a.objective);
    if (given(verb, "--weight-decay"))
      throw Error(ErrorCode::usage, "--weight-decay is no option of --objective bottleneck");
  } else if (a.objective == "regularized") {
    refuse_given(verb, layerwise, a.objective);
    for (const char* name : {"--post-iterations", "--post-lr", "--cache-mb"})
      if (given(verb, name) && a.alpha != 0)
        throw Error(ErrorCode::usage,
                    fmt::format("{}: with --objective regularized the outputs are post-trained with --alpha 0 alone, "
                                "found {}",
                                name, a.alpha));
  } else {
    throw Error(ErrorCode::usage,
                fmt::format("--objective: expected cross-entropy, bottleneck or regularized, found '{}'", a.objective));
  }
}

nlohmann::json train_objective(const CLI::App& verb, const ObjectiveArguments& a, const TrainArguments& train,
                               Model& model, const Dataset& data, nlohmann::json run, bool weights_wanted,
                               const Context& context) {
  const bool layer_by_layer = a.objective == "bottleneck";
  BottleneckOptions o = a.bottleneck;
  o.terms.product = parse_product_pairs(a.product);
  o.terms.input_estimator = parse_input_estimator(a.estimator);
  o.terms.batch = train.options.batch;
  o.beta = given(verb, "--beta") ? a.beta : layer_by_layer ? 1e-3 : 1;
  o.iterations = a.iterations;
  o.trace_every = a.trace_every;
  if (given(verb, "--lr")) o.learning_rate = train.options.optimizer.learning_rate;
  const RegularizedOptions end_to_end{.terms = o.terms,
                                      .alpha = a.alpha,
                                      .beta = o.beta,
                                      .gamma = a.gamma,
                                      .steps = a.iterations,
                                      .learning_rate = o.learning_rate,
                                      .weight_decay = train.options.optimizer.weight_decay,
                                      .post = o.post,
                                      .cache_mb = o.cache_mb,
                                      .evaluate_every = a.trace_every,
                                      .checkpoint = o.checkpoint};
  run.update({{"objective", a.objective},
              {"beta", o.beta},
              {"iterations", o.iterations},
              {"batch", o.terms.batch},
              {"lr", o.learning_rate},
              {"noise_variance", o.terms.noise_variance},
              {"critic_updates", o.terms.critic_updates},
              {"warmup", {o.terms.warmup, o.terms.warmup_tolerance}},
              {"estimator", a.estimator},
              {"product", a.product},
              {"through_copy", o.terms.gradient_through_copy},
              {"critic", to_json(o.terms.critic)}});
  if (layer_by_layer)
    run.update({{"conv_beta", o.conv_beta}, {"post", {o.post.iterations, o.post.learning_rate}}});
  else
    run.update({{"alpha", a.alpha}, {"gamma", a.gamma}, {"weight_decay", end_to_end.weight_decay}});
  if (!layer_by_layer && a.alpha == 0) run["post"] = {o.post.iterations, o.post.learning_rate};
  ResultLines results(a.results);
  const nlohmann::json* found = results.find(run);
  if (found != nullptr && !weights_wanted) return *found;
  nlohmann::json report;
  double seconds = 0;
  if (layer_by_layer) {
    const BottleneckReport done = train_bottleneck(model, data, o, context);
    report = to_json(done);
    seconds = done.seconds;
  } else {
    const RegularizedReport done = train_regularized(model, data, end_to_end, context);
    report = regularized_json(done);
    seconds = done.seconds;
  }
  const bool tested = data.test.count > 0;
  const nlohmann::json line = {{"run", run},
                               {"test_error", tested ? nlohmann::json(evaluate(model, data, data.test, context).error)
                                                     : nlohmann::json(nullptr)},
                               {"train_error", evaluate(model, data, data.train, context).error},
                               {"separation", separation(model, data, context)},
                               {"report", report},
                               {"seconds", seconds},
                               {"version", version()}};
  if (found == nullptr) results.add(line);
  if (!a.plane.empty()) {
    std::string text;
    for (const auto& point : report.at("trace")) text += point.dump() + "\n";
    write_whole(a.plane, text);
  }
  return line;
}

TrainObserver plane_observer(const CLI::App& verb, const ObjectiveArguments& a, const Dataset& data,
                             const Context& context) {
  if (a.plane.empty()) return {};
  LayerInformationOptions o;
  o.estimate.critic = a.bottleneck.terms.critic;
  // Critics that look, unlike those that a layer chases, can afford the correction that keeps them sound.
  if (!given(verb, "--average-rate")) o.estimate.critic.average_rate = 0.01;
  o.estimate.batch = 500;
  o.estimate.updates = a.plane_updates;
  o.estimate.evaluation_pairs = 20'000;
  o.input_estimator = parse_input_estimator(a.estimator);
  o.noise_variance = a.bottleneck.terms.noise_variance;
  return {a.plane_at, [o, &a, &data, context, text = std::string()](std::int64_t steps, const Model& model) mutable {
            Context silent = context;
            silent.progress = {};
            for (std::size_t i = 0; i < model.neuron_layers(); ++i) {
              const LayerInformation found = estimate_layer_information(model, i, data, o, silent);
              text += nlohmann::json{{"step", steps},
                                     {"layer", found.layer},
                                     {"input_nats", found.input.nats},
                                     {"input_error", found.input.standard_error},
                                     {"target_nats", found.target.nats},
                                     {"target_error", found.target.standard_error}}
                          .dump() +
                      "\n";
              write_whole(a.plane, text);
            }
          }};
}

std::string objective_text(const nlohmann::json& line) {
  std::string text;
  const nlohmann::json& report = line.at("report");
  const auto nats = [](const nlohmann::json& v) {
    return v.is_null() ? std::string("-") : fmt::format("{:.3f}", v.get<double>());
  };
  if (report.contains("layers")) {
    TextTable table({"layer", "beta", "warm-up", "iterations", "I(Y; L)", "I(X; L + noise)"});
    for (const auto& l : report.at("layers")) {
      table.add({l.at("layer").get<std::string>(), fmt::format("{}", l.at("beta").get<double>()),
                 std::to_string(l.at("warmup_updates").get<std::int64_t>()),
                 std::to_string(l.at("iterations").get<std::int64_t>()), nats(l.at("target_nats")),
                 nats(l.at("input_nats"))});
    }
    text = table.text();
  } else {
    TextTable table({"step", "loss", "I(Y; Z)", "I(X; Z + noise)", "test error %"});
    for (const auto& p : report.at("trace")) {
      table.add({std::to_string(p.at("step").get<std::int64_t>()), nats(p.at("loss")), nats(p.at("target_nats")),
                 nats(p.at("input_nats")),
                 p.at("test_error").is_null() ? "-" : fmt::format("{:.2f}", 100 * p.at("test_error").get<double>())});
    }
    text = table.text();
  }
  const auto percent = [&](const char* name) {
    return line.at(name).is_null() ? std::string("no test split")
                                   : fmt::format("{:.2f} %", 100 * line.at(name).get<double>());
  };
  const bool post_trained = report.contains("post_loss") && !report.at("post_loss").is_null();
  if (post_trained) text += fmt::format("post-trained linear layer: loss {}\n", nats(report.at("post_loss")));
  text += fmt::format("\ntest error: {}, training error: {}, in {}\n", percent("test_error"), percent("train_error"),
                      duration_text(line.at("seconds").get<double>()));
  if (!line.at("separation").is_null()) {
    text += fmt::format("separation ratio: {} before the last layer, {} of the outputs\n",
                        nats(line.at("separation").at("hidden")), nats(line.at("separation").at("outputs")));
  }
  return text;
}

}  // namespace kindling::tools
