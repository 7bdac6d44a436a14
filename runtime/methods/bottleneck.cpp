#include <fmt/format.h>
#include <kindling/bottleneck.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "methods/bottleneck_stage.h"
#include "methods/checkpoint.h"
#include "methods/post_training.h"
#include "nn/batches.h"

namespace kindling {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::usage, "bottleneck: " + what); }

void check_beta(const char* name, double beta) {
  if (beta >= 0 && std::isfinite(beta)) return;
  refuse(
      fmt::format("{}: expected a finite number, 0 or more, found {}: a negative weight would reward the information "
                  "that it is to suppress",
                  name, beta));
}

void check_options(const Model& model, const Dataset& data, const BottleneckOptions& o) {
  check_options(o.terms);
  check_beta("beta", o.beta);
  check_beta("conv_beta", o.conv_beta);
  if (o.iterations < 0) refuse(fmt::format("iterations: expected 0 or more, found {}", o.iterations));
  if (o.post.iterations < 0) refuse(fmt::format("post iterations: expected 0 or more, found {}", o.post.iterations));
  for (const double rate : {o.learning_rate, o.post.learning_rate})
    if (!(rate > 0) || !std::isfinite(rate))
      refuse(fmt::format("learning rate: expected a positive number, found {}", rate));
  if (o.trace_every < 1) refuse(fmt::format("trace: expected 1 or more iterations, found {}", o.trace_every));
  if (!(o.cache_mb >= 0)) refuse(fmt::format("cache: expected 0 or more MB, found {}", o.cache_mb));
  check_fits(model, data.train.features, data.classes);
  check_finite(model);
  expect_two_classes(data);
  if (o.post.iterations > 0) expect_foldable("bottleneck", model);
}

nlohmann::json identity_of(const Model& model, const Dataset& data, const BottleneckOptions& o,
                           const Context& context) {
  nlohmann::json identity = training_identity(model, data, context);
  identity.update({{"kind", "bottleneck"},
                   {"terms", to_json(o.terms)},
                   {"beta", o.beta},
                   {"conv_beta", o.conv_beta},
                   {"iterations", o.iterations},
                   {"learning_rate", o.learning_rate},
                   {"post_iterations", o.post.iterations},
                   {"post_learning_rate", o.post.learning_rate},
                   {"trace_every", o.trace_every}});
  return identity;
}

class BottleneckRun {
 public:
  BottleneckRun(Model& model, const Dataset& data, const BottleneckOptions& options, const Context& context)
      : model_(model),
        data_(data),
        options_(options),
        context_(context),
        checkpoint_(options.checkpoint, identity_of(model, data, options, context)),
        stages_(stages(model)),
        residency_(kernels::execution(context)) {
    keep_samples(residency_, data, data.train);  // once for all stages
  }

  BottleneckReport run() {
    restore();
    while (position_ < static_cast<std::int64_t>(stages_.size())) train_stage();
    if (options_.post.iterations > 0) post_train();
    report_.post_loss = options_.post.iterations > 0 ? post_loss_ : nan;
    return std::move(report_);
  }

 private:
  void make_stage() {
    const auto number = static_cast<std::size_t>(position_);
    if (number < stages_.size()) {
      stage_ = std::make_unique<BottleneckStage>(model_, stages_[number], number, data_, options_, context_);
    } else if (options_.post.iterations > 0 && !folded_) {
      post_ = std::make_unique<PostTraining>(model_, data_, options_.post, options_.terms.batch, options_.cache_mb,
                                             context_);
    }
  }

  void restore() {
    const std::optional<Weights> state = checkpoint_.load();
    if (!state) return make_stage();
    StateReader reader(*state, checkpoint_.path());
    archive(reader, true);
    report_.resumed = true;
  }

  void archive(StateArchive& archive, bool restoring) {
    archive.count("position", position_);
    archive.number("post_loss", post_loss_);
    std::int64_t folded = folded_ ? 1 : 0;
    archive.count("folded", folded);
    folded_ = folded != 0;
    archive_model(archive, "model", model_);
    archive_report(archive);
    if (restoring) make_stage();
    if (stage_) stage_->archive(archive);
    if (post_) post_->archive(archive);
  }

  void archive_report(StateArchive& archive) {
    auto size = static_cast<std::int64_t>(report_.layers.size());
    archive.count("layers", size);
    report_.layers.resize(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < report_.layers.size(); ++i) {
      BottleneckLayerReport& l = report_.layers[i];
      const std::string name = fmt::format("layers.{}", i);
      std::int64_t restarts = l.restarts, cached = l.cached ? 1 : 0;
      l.layer = model_.layers()[stages_[i].neurons].name;
      archive.number(name + ".beta", l.beta);
      archive.count(name + ".warmup_updates", l.warmup_updates);
      archive.count(name + ".iterations", l.iterations);
      archive.number(name + ".target", l.target_nats);
      archive.number(name + ".input", l.input_nats);
      archive.number(name + ".mean", l.weight_mean);
      archive.number(name + ".stddev", l.weight_stddev);
      archive.count(name + ".restarts", restarts);
      archive.count(name + ".cached", cached);
      l.restarts = static_cast<int>(restarts);
      l.cached = cached != 0;
    }
    auto points = static_cast<std::int64_t>(report_.trace.size());
    archive.count("points", points);
    report_.trace.resize(static_cast<std::size_t>(points));
    for (std::size_t i = 0; i < report_.trace.size(); ++i) {
      BottleneckPoint& p = report_.trace[i];
      const std::string name = fmt::format("points.{}", i);
      std::int64_t stage = stage_number(p.layer);
      archive.count(name + ".stage", stage);
      p.layer = model_.layers()[stages_.at(static_cast<std::size_t>(stage)).neurons].name;
      archive.count(name + ".iteration", p.iteration);
      archive.number(name + ".target", p.target_nats);
      archive.number(name + ".input", p.input_nats);
    }
  }

  [[nodiscard]] std::int64_t stage_number(const std::string& layer) const {
    for (std::size_t s = 0; s < stages_.size(); ++s)
      if (model_.layers()[stages_[s].neurons].name == layer) return static_cast<std::int64_t>(s);
    return 0;
  }

  void save_if_due() {
    checkpoint_.pass(context_, [this](StateArchive& a) { archive(a, false); });
  }

  void add_point() {
    const auto means = stage_->take_means();
    const std::string& layer = model_.layers()[stages_[static_cast<std::size_t>(position_)].neurons].name;
    report_.trace.push_back({layer, stage_->iterations(), means.target, means.input});
    context_.report({fmt::format("bottleneck {}", layer), stage_->iterations(), options_.iterations,
                     fmt::format("I(Y; L) {:.3f}, I(X; L + noise) {:.3f} nats", means.target, means.input)});
  }

  void train_stage() {
    const Stage& stage = stages_[static_cast<std::size_t>(position_)];
    while (!stage_->warm() && stage_->iterations() == 0) {
      save_if_due();
      if (!stage_->warm_up()) break;
    }
    if (stage_->iterations() == 0) add_point_once();
    while (stage_->iterations() < options_.iterations) {
      save_if_due();
      stage_->iterate();
      if (stage_->iterations() % options_.trace_every == 0 || stage_->iterations() == options_.iterations) add_point();
    }
    stage_->finish(model_);
    report_.layers.push_back(layer_report(stage));
    ++position_;
    stage_.reset();
    make_stage();
  }

  // The point after the warm-up; a resumed run may have it already.
  void add_point_once() {
    const std::string& layer = model_.layers()[stages_[static_cast<std::size_t>(position_)].neurons].name;
    if (!report_.trace.empty() && report_.trace.back().layer == layer) return;
    add_point();
  }

  BottleneckLayerReport layer_report(const Stage& stage) {
    const Layer& layer = model_.layers()[stage.neurons];
    BottleneckLayerReport report{.layer = layer.name, .beta = BottleneckStage::beta_of(layer, options_)};
    report.warmup_updates = stage_->warmup_updates();
    report.iterations = stage_->iterations();
    report.restarts = stage_->restarts();
    report.cached = stage_->cached();
    report.target_nats = report_.trace.back().target_nats;
    report.input_nats = report_.trace.back().input_nats;
    const auto n = static_cast<double>(layer.weight.size());
    for (const float w : layer.weight.flat()) report.weight_mean += static_cast<double>(w) / n;
    for (const float w : layer.weight.flat())
      report.weight_stddev += std::pow(static_cast<double>(w) - report.weight_mean, 2) / n;
    report.weight_stddev = std::sqrt(report.weight_stddev);
    return report;
  }

  void post_train() {
    while (!folded_) {
      save_if_due();
      if (!post_->done()) {
        post_->step();
        continue;
      }
      post_loss_ = post_->loss();
      post_->fold_into(model_.layers().back());
      folded_ = true;
      post_.reset();
    }
    checkpoint_.write([this](StateArchive& a) { archive(a, false); });
  }

  Model& model_;
  const Dataset& data_;
  const BottleneckOptions& options_;
  const Context& context_;
  Checkpoint checkpoint_;
  std::vector<Stage> stages_;
  std::int64_t position_ = 0;
  double post_loss_ = 0;
  bool folded_ = false;
  std::unique_ptr<BottleneckStage> stage_;
  std::unique_ptr<PostTraining> post_;
  BottleneckReport report_;
  kernels::Residency residency_;
};

}  // namespace

BottleneckReport train_bottleneck(Model& model, const Dataset& data, const BottleneckOptions& options,
                                  const Context& context) {
  check_options(model, data, options);
  const auto start = std::chrono::steady_clock::now();
  // A failure leaves the caller's model as it was.
  Model trained = model.clone();
  BottleneckReport report = BottleneckRun(trained, data, options, context).run();
  model = std::move(trained);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace kindling
