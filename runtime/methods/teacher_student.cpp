#include <fmt/format.h>
#include <kindling/correlated.h>
#include <kindling/error.h>
#include <kindling/initialize.h>
#include <kindling/random.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "kernels/loss.h"
#include "kernels/scatter.h"
#include "methods/teacher.h"
#include "nn/forward_pass.h"
#include "nn/trainer.h"

namespace kindling {
namespace {

constexpr std::int64_t simple_units = 10;
constexpr std::int64_t pass_most = 1000;

Model teacher_model(const TeacherOptions& options, TeacherTask task, const Context& context) {
  // A teacher's numbers depend on the seed in another way than a student's: the two must not be the same network.
  Context own{.seed = philox_block({context.seed, Purpose::teacher, 0, 0}, 0)[0],
              .threads = context.threads,
              .target = context.target};
  if (task == TeacherTask::simple) {
    Model model = Model::mlp({options.width, simple_units}, {ActivationKind::relu}, {ActivationKind::relu});
    initialize_baseline(model, {.law = Law::he}, own);
    return model;
  }
  const std::vector<std::int64_t> widths(static_cast<std::size_t>(options.depth) + 1, options.width);
  Model model = Model::mlp(widths, {task == TeacherTask::complex ? ActivationKind::tanh : ActivationKind::relu});
  if (task == TeacherTask::complex) {
    initialize_correlated(model, {.k = 0, .weight_variance = 1.5}, std::nullopt, own);
  } else {
    initialize_baseline(model, {.law = Law::he}, own);
  }
  return model;
}

// A batch's columns are taken as they are.
struct NoScaling {
  std::vector<float> mean, inverse_std;
  explicit NoScaling(std::int64_t columns)
      : mean(static_cast<std::size_t>(columns), 0.0F), inverse_std(static_cast<std::size_t>(columns), 1.0F) {}
};

// Mean squared error of the validation samples, and the same without the mean error of each output.
class Validation {
 public:
  Validation(const Model& model, const TeacherData& data)
      : data_(data),
        pass_(model, pass_rows(model, pass_most)),
        outputs_({data.validation_inputs.shape()[0], model.outputs()}),
        gradient_({data.validation_inputs.shape()[0], model.outputs()}),
        losses_(static_cast<std::size_t>(data.validation_inputs.shape()[0])),
        target_mean_(static_cast<std::size_t>(model.outputs())),
        mean_(target_mean_.size()) {}

  void measure(const kernels::Execution& exec, const Model& model, TeacherRun& run) {
    pass_.run_all(exec, model, data_.validation_inputs, outputs_);
    kernels::squared_error(exec, outputs_, data_.validation_targets, 1, losses_, gradient_);
    double sum = 0, offset = 0;
    for (const float loss : losses_) sum += loss;
    // The gradient at scale 1 is 2 / D (y - t).
    kernels::column_mean(exec, gradient_, mean_);
    const auto outputs = static_cast<double>(mean_.size());
    for (const float m : mean_) offset += std::pow(m * outputs / 2, 2) / outputs;
    const double loss = sum / static_cast<double>(losses_.size());
    run.validation_loss.push_back(loss);
    run.centred_loss.push_back(loss - offset);
  }

 private:
  const TeacherData& data_;
  ForwardPass pass_;
  Tensor outputs_, gradient_;
  std::vector<float> losses_, target_mean_, mean_;
};

}  // namespace

Model student_model(const TeacherOptions& options, TeacherTask task) {
  std::vector<std::int64_t> widths(static_cast<std::size_t>(options.depth) + 1, options.width);
  if (task == TeacherTask::simple) widths.back() = simple_units;
  return Model::mlp(widths);
}

TeacherData teacher_data(const kernels::Execution& execution, const TeacherOptions& options, TeacherTask task,
                         const Context& context) {
  const Model teacher = teacher_model(options, task, context);
  const std::int64_t outputs = teacher.outputs();
  TeacherData data{.inputs = Tensor({options.samples, options.width}),
                   .targets = Tensor({options.samples, outputs}),
                   .validation_inputs = Tensor({options.validation, options.width}),
                   .validation_targets = Tensor({options.validation, outputs})};
  fill_normal({context.seed, Purpose::synthetic, 0, 1}, 0, 1, data.inputs.flat(), context);
  fill_normal({context.seed, Purpose::synthetic, 1, 1}, 0, 1, data.validation_inputs.flat(), context);
  ForwardPass pass(teacher, pass_rows(teacher, pass_most));
  pass.run_all(execution, teacher, data.inputs, data.targets);
  pass.run_all(execution, teacher, data.validation_inputs, data.validation_targets);
  std::vector<double> mean(static_cast<std::size_t>(outputs)), variance(mean.size());
  kernels::feature_moments(execution, data.validation_targets, mean, variance);
  for (const double v : variance) data.target_variance += v / static_cast<double>(outputs);
  return data;
}

TeacherRun train_student(const kernels::Execution& execution, const TeacherOptions& options, TeacherTask task,
                         const MethodSpec& method, const TeacherData& data, const Context& context) {
  const auto start = std::chrono::steady_clock::now();
  Model student = student_model(options, task);
  initialize(student, method, nullptr, context);
  TeacherRun run{.task = task,
                 .method = method.text(),
                 .seed = context.seed,
                 .train_loss = {std::numeric_limits<double>::quiet_NaN()},
                 .target_variance = data.target_variance};
  Validation validation(student, data);
  validation.measure(execution, student, run);
  const std::int64_t batch = std::min(options.batch, options.samples);
  Trainer trainer(student, batch, options.optimizer, context.seed);
  Tensor batch_targets({batch, student.outputs()}), gradient({batch, student.outputs()});
  std::vector<float> losses(static_cast<std::size_t>(batch));
  const NoScaling inputs(options.width), targets(student.outputs());
  std::vector<std::int32_t> indices(static_cast<std::size_t>(options.samples));
  for (int epoch = 1; epoch <= options.epochs && run.failure.empty(); ++epoch) {
    const auto order =
        random_permutation({context.seed, Purpose::shuffle, 0, static_cast<std::uint32_t>(epoch)}, options.samples);
    std::transform(order.begin(), order.end(), indices.begin(),
                   [](std::int64_t i) { return static_cast<std::int32_t>(i); });
    double sum = 0;
    for (std::int64_t first = 0; first < options.samples; first += batch) {
      context.check_stop();
      const std::int64_t rows = std::min(batch, options.samples - first);
      const std::span<const std::int32_t> chosen(indices.data() + first, static_cast<std::size_t>(rows));
      kernels::gather_rows(execution, data.inputs, chosen, inputs.mean, inputs.inverse_std, trainer.inputs(rows));
      const TensorView wanted = batch_targets.view().rows(0, rows), slope = gradient.view().rows(0, rows);
      kernels::gather_rows(execution, data.targets, chosen, targets.mean, targets.inverse_std, wanted);
      const std::span<float> of_rows(losses.data(), static_cast<std::size_t>(rows));
      kernels::squared_error(execution, trainer.forward_step(execution, student, rows), wanted,
                             1.0F / static_cast<float>(rows), of_rows, slope);
      trainer.backward_step(execution, student, slope);
      double loss = 0;
      for (const float l : of_rows) loss += l / static_cast<double>(rows);
      sum += loss * static_cast<double>(rows);
      if (!std::isfinite(loss)) {
        run.failure = fmt::format("the loss is {} in epoch {}, step {}", loss, epoch, first / batch + 1);
        break;
      }
    }
    if (!run.failure.empty()) break;
    run.train_loss.push_back(sum / static_cast<double>(options.samples));
    validation.measure(execution, student, run);
  }
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return run;
}

}  // namespace kindling
