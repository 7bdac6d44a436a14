// End-to-end training with the information of the outputs as regularizer (eq. 8).
#include <fmt/format.h>
#include <kindling/bottleneck.h>
#include <kindling/train.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/loss.h"
#include "kernels/optimizer.h"
#include "methods/checkpoint.h"
#include "methods/information_terms.h"
#include "methods/post_training.h"
#include "nn/batches.h"
#include "nn/pair_indices.h"
#include "nn/stages.h"
#include "nn/trainer.h"

namespace kindling {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr std::uint32_t unit = 900;  // of the random numbers

bool post_trains(const RegularizedOptions& o) { return o.alpha == 0 && o.post.iterations > 0; }

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::usage, "regularized training: " + what); }

void check_options(const Model& model, const Dataset& data, const RegularizedOptions& o) {
  check_options(o.terms);
  for (const auto& [name, value] : {std::pair{"alpha", o.alpha}, {"beta", o.beta}, {"gamma", o.gamma}}) {
    if (!(value >= 0) || !std::isfinite(value))
      refuse(fmt::format("{}: expected a finite number, 0 or more, found {}", name, value));
  }
  if (o.alpha == 0 && o.beta == 0) refuse("expected a positive alpha or beta: nothing else tells the labels");
  if (o.steps < 1) refuse(fmt::format("steps: expected 1 or more, found {}", o.steps));
  if (o.evaluate_every < 0) refuse(fmt::format("evaluate every: expected 0 or more steps, found {}", o.evaluate_every));
  if (!(o.learning_rate > 0) || !std::isfinite(o.learning_rate))
    refuse(fmt::format("learning rate: expected a positive number, found {}", o.learning_rate));
  if (!(o.weight_decay >= 0)) refuse(fmt::format("weight decay: expected 0 or more, found {}", o.weight_decay));
  check_fits(model, data.train.features, data.classes);
  check_finite(model);
  expect_two_classes(data);
  if (output_activation(model).kind != ActivationKind::identity)
    refuse("expected logits: the last activation must be identity, found " + to_string(output_activation(model)));
  if (o.post.iterations < 0) refuse(fmt::format("post iterations: expected 0 or more, found {}", o.post.iterations));
  if (!(o.post.learning_rate > 0) || !std::isfinite(o.post.learning_rate))
    refuse(fmt::format("post learning rate: expected a positive number, found {}", o.post.learning_rate));
  if (post_trains(o)) expect_foldable("regularized training", model);
}

nlohmann::json identity_of(const Model& model, const Dataset& data, const RegularizedOptions& o,
                           const Context& context) {
  nlohmann::json identity = training_identity(model, data, context);
  identity.update({{"kind", "regularized"},
                   {"terms", to_json(o.terms)},
                   {"alpha", o.alpha},
                   {"beta", o.beta},
                   {"gamma", o.gamma},
                   {"steps", o.steps},
                   {"learning_rate", o.learning_rate},
                   {"weight_decay", o.weight_decay},
                   {"post_iterations", post_trains(o) ? o.post.iterations : 0},
                   {"post_learning_rate", o.post.learning_rate},
                   {"evaluate_every", o.evaluate_every}});
  return identity;
}

class RegularizedRun {
 public:
  RegularizedRun(Model& model, const Dataset& data, const RegularizedOptions& o, const Context& context)
      : model_(model),
        data_(data),
        options_(o),
        context_(context),
        exec_(kernels::execution(context)),
        checkpoint_(o.checkpoint, identity_of(model, data, o, context)),
        terms_("outputs", model.outputs(), model.inputs(), data.classes, {.target = o.beta, .input = o.gamma}, o.terms,
               unit, context),
        rows_(terms_.rows()),
        trainer_(model, rows_,
                 {.kind = OptimizerKind::adam, .learning_rate = o.learning_rate, .weight_decay = o.weight_decay},
                 context.seed),
        pass_(model, rows_),
        target_plateau_(o.terms.warmup_window, o.terms.warmup_tolerance),
        input_plateau_(o.terms.warmup_window, o.terms.warmup_tolerance),
        samples_({rows_, model.inputs()}),
        gradient_({rows_, model.outputs()}),
        loss_gradient_({o.terms.batch, model.outputs()}),
        losses_(static_cast<std::size_t>(o.terms.batch)),
        predictions_(losses_.size()),
        residency_(exec_) {
    trainer_.keep_on(residency_, model_);
    pass_.keep_on(residency_);
    keep_samples(residency_, data, data.train);
    for (const Tensor* t : {&samples_, &gradient_, &loss_gradient_})
      residency_.keep(kernels::Residency::Role::scratch, *t);
  }

  RegularizedReport run() {
    if (const std::optional<Weights> state = checkpoint_.load()) {
      StateReader reader(*state, checkpoint_.path());
      archive(reader);
      report_.resumed = true;
    }
    while (steps_ == 0 && critics() && !warm()) {
      save_if_due();
      const auto values = update_critics();
      ++warmup_;
      if (options_.beta > 0) target_plateau_.add(values.target);
      if (options_.gamma > 0) input_plateau_.add(values.input);
    }
    if (report_.trace.empty()) add_point();
    while (steps_ < options_.steps) {
      save_if_due();
      step();
      const bool due = options_.evaluate_every > 0 && steps_ % options_.evaluate_every == 0;
      if (due || steps_ == options_.steps) add_point();
    }
    // Before the linear layer, which takes seconds and is trained anew by whoever goes on from here.
    checkpoint_.write([this](StateArchive& a) { archive(a); });
    residency_.finish();
    report_.post_loss = post_trains(options_) ? post_train() : nan;
    report_.restarts = terms_.restarts();
    return std::move(report_);
  }

 private:
  [[nodiscard]] bool critics() const { return options_.beta > 0 || options_.gamma > 0; }
  [[nodiscard]] bool warm() const {
    return warmup_ >= options_.terms.warmup ||
           ((options_.beta == 0 || target_plateau_.reached()) && (options_.gamma == 0 || input_plateau_.reached()));
  }

  void draw(TensorView samples) {
    const std::int64_t n = options_.terms.batch;
    index_ = random_pairs({context_.seed, Purpose::pairs, unit, static_cast<std::uint32_t>(batches_)}, n,
                          data_.train.count, options_.terms.product);
    ++batches_;
    labels_.resize(index_.size());
    gather_labels(data_.train, index_, labels_);
    gather_rows(exec_, data_, data_.train, std::span(index_).first(static_cast<std::size_t>(rows_)), samples);
  }

  TermBatch batch(ConstTensorView outputs, const TensorView& samples) {
    return {labels_, outputs, samples.rows(0, options_.terms.batch), static_cast<std::uint32_t>(batches_)};
  }

  InformationTerms::Values update_critics() {
    draw(samples_);
    const ConstTensorView outputs = pass_.run(exec_, model_, samples_.view(), model_.layers().size());
    const auto values = terms_.update(exec_, batch(outputs, samples_));
    target_sum_ += values.target;
    input_sum_ += values.input;
    ++updates_;
    return values;
  }

  void step() {
    for (std::int64_t u = 0; critics() && u < options_.terms.critic_updates; ++u) update_critics();
    const TensorView samples = trainer_.inputs(rows_);
    draw(samples);
    const ConstTensorView outputs = trainer_.forward_step(exec_, model_, rows_);
    kernels::zero(exec_, gradient_.flat());
    if (critics()) terms_.add_gradient(exec_, batch(outputs, samples), gradient_);
    const std::int64_t n = options_.terms.batch;
    kernels::softmax_cross_entropy(
        exec_, outputs.rows(0, n), std::span<const std::int32_t>(labels_).first(losses_.size()),
        static_cast<float>(options_.alpha / static_cast<double>(n)), losses_, loss_gradient_, predictions_);
    kernels::sgd_step(exec_, std::as_const(loss_gradient_).flat(), {.learning_rate = -1},
                      gradient_.view().rows(0, n).flat());
    trainer_.backward_step(exec_, model_, gradient_);
    ++steps_;
    double loss = 0;
    for (const float l : losses_) loss += l;
    loss_sum_ += loss / static_cast<double>(n);
    ++losses_summed_;
    if (!std::isfinite(loss)) {
      throw Error(ErrorCode::numerical,
                  fmt::format("regularized training diverged: the loss is {} at step {} (learning rate {})", loss,
                              steps_, options_.learning_rate));
    }
  }

  void add_point() {
    const auto n = static_cast<double>(updates_);  // NaN where there was no update
    RegularizedPoint point{steps_, loss_sum_ / static_cast<double>(losses_summed_), target_sum_ / n, input_sum_ / n,
                           nan};
    if (data_.test.count > 0) point.test_error = evaluate(model_, data_, data_.test, context_).error;
    target_sum_ = input_sum_ = loss_sum_ = 0;
    updates_ = losses_summed_ = 0;
    report_.trace.push_back(point);
    context_.report({"regularized training", steps_, options_.steps,
                     fmt::format("loss {:.4f}, I(Y; Z) {:.3f}, I(X; Z + noise) {:.3f} nats, test error {:.2f} %",
                                 point.loss, point.target_nats, point.input_nats, 100 * point.test_error)});
  }

  double post_train() {
    PostTraining post(model_, data_, options_.post, options_.terms.batch, options_.cache_mb, context_);
    while (!post.done()) {
      context_.check_stop();
      post.step();
    }
    post.fold_into(model_.layers().back());
    return post.loss();
  }

  void save_if_due() {
    checkpoint_.pass(context_, [this](StateArchive& a) { archive(a); });
  }

  void archive(StateArchive& archive) {
    archive_model(archive, "model", model_);
    trainer_.archive(archive, "trainer");
    terms_.archive(archive, "critic");
    target_plateau_.archive(archive, "plateau.target");
    input_plateau_.archive(archive, "plateau.input");
    archive.count("steps", steps_);
    archive.count("warmup", warmup_);
    archive.count("batches", batches_);
    archive.count("updates", updates_);
    archive.count("losses_summed", losses_summed_);
    archive.number("target_sum", target_sum_);
    archive.number("input_sum", input_sum_);
    archive.number("loss_sum", loss_sum_);
    auto points = static_cast<std::int64_t>(report_.trace.size());
    archive.count("points", points);
    report_.trace.resize(static_cast<std::size_t>(points));
    for (std::size_t i = 0; i < report_.trace.size(); ++i) {
      RegularizedPoint& p = report_.trace[i];
      const std::string name = fmt::format("points.{}", i);
      archive.count(name + ".step", p.step);
      archive.number(name + ".loss", p.loss);
      archive.number(name + ".target", p.target_nats);
      archive.number(name + ".input", p.input_nats);
      archive.number(name + ".error", p.test_error);
    }
  }

  Model& model_;
  const Dataset& data_;
  const RegularizedOptions& options_;
  const Context& context_;
  kernels::Execution exec_;
  Checkpoint checkpoint_;
  InformationTerms terms_;
  std::int64_t rows_;
  Trainer trainer_;
  ForwardPass pass_;
  Plateau target_plateau_, input_plateau_;
  Tensor samples_, gradient_, loss_gradient_;
  std::vector<float> losses_;
  std::vector<std::int32_t> predictions_, index_, labels_;
  std::int64_t steps_ = 0, warmup_ = 0, batches_ = 0, updates_ = 0, losses_summed_ = 0;
  double target_sum_ = 0, input_sum_ = 0, loss_sum_ = 0;
  RegularizedReport report_;
  kernels::Residency residency_;
};

}  // namespace

RegularizedReport train_regularized(Model& model, const Dataset& data, const RegularizedOptions& options,
                                    const Context& context) {
  check_options(model, data, options);
  const auto start = std::chrono::steady_clock::now();
  Model trained = model.clone();
  RegularizedReport report = RegularizedRun(trained, data, options, context).run();
  model = std::move(trained);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace kindling
