// Losses with their gradient and the class they predict; the derivative of an output layer's activation.
#include <limits>

#include "common/activation.h"
#include "common/class_sums.h"
#include "common/elementwise.h"
#include "common/nan.h"
#include "common/polynomials.h"

namespace kindling {
namespace {

using namespace Halide;

class SoftmaxCrossEntropy : public Generator<SoftmaxCrossEntropy> {
 public:
  GeneratorParam<bool> with_gradient{"with_gradient", true};

  Input<Buffer<float, 2>> logits{"logits"};             // (classes, batch)
  Input<Buffer<int32_t, 1>> label{"label"};             // (batch)
  Output<Buffer<float, 1>> loss{"loss"};                // (batch)
  Output<Buffer<int32_t, 1>> prediction{"prediction"};  // (batch)

  bool allow_out_of_order_inputs_and_outputs() const override { return true; }  // scale goes before loss

  void configure() {
    if (!with_gradient) return;
    scale_ = add_input<float>("scale");
    gradient_ = add_output<Buffer<float, 2>>("gradient");  // (classes, batch)
  }

  void generate() {
    const Expr classes = logits.dim(0).extent(), last_row = logits.dim(1).extent() - 1;
    classes_ = RDom(0, classes, "classes");
    const auto z = [&](const Expr& c, const Expr& n) { return logits(c, min(likely(n), last_row)); };

    // A NaN never wins, by whichever comparison a processor has; it comes back through the sum below.
    top_(n_) = Tuple(-std::numeric_limits<float>::infinity(), 0);
    const Expr candidate = z(classes_, n_), best = top_(n_)[0], wins = candidate > best && !is_nan_bits(candidate);
    top_(n_) = Tuple(select(wins, candidate, best), select(wins, classes_.x, top_(n_)[1]));
    total_(n_) += exp_nonpositive(z(classes_, n_) - top_(n_)[0], get_target());

    const Expr target = clamp(label(min(likely(n_), last_row)), 0, classes - 1);
    // Strict, or LLVM adds the large maximum to the small logarithm first.
    const Expr below_top = strict_float(top_(n_)[0] - z(target, n_));
    rows_(n_) = Tuple(top_(n_)[0], 1.0F / total_(n_), log_poly(total_(n_)) + below_top, top_(n_)[1]);

    loss(n_) = rows_(n_)[2];
    prediction(n_) = rows_(n_)[3];
    if (with_gradient) {
      const Expr p = exp_nonpositive(logits(c_, n_) - rows_(n_)[0], get_target()) * rows_(n_)[1];
      (*gradient_)(c_, n_) = (p - select(c_ == label(n_), 1.0F, 0.0F)) * *scale_;
    }
  }

  void schedule() {
    const Expr classes = logits.dim(0).extent(), batch = logits.dim(1).extent();
    logits.dim(0).set_min(0);
    logits.dim(1).set_min(0);
    label.dim(0).set_bounds(0, batch);
    loss.dim(0).set_bounds(0, batch);
    prediction.dim(0).set_bounds(0, batch);
    if (with_gradient) {
      gradient_->dim(0).set_bounds(0, classes);
      gradient_->dim(1).set_bounds(0, batch);
    }
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Lanes are rows, since classes are few (10) and vectors wide; the price is loads one by one. The gradient runs along
  // the classes. Measured against a training step, of which it must stay under 2 %.
  void schedule_cpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const int v = facts.vector_width, task_rows = class_sum_task_rows(facts);
    const Var task("task"), row("row");
    schedule_class_sums_cpu(rows_, {top_, total_}, n_, classes_, facts);
    loss.vectorize(n_, v, TailStrategy::GuardWithIf);
    prediction.vectorize(n_, v, TailStrategy::GuardWithIf);
    if (with_gradient) {
      gradient_->split(n_, task, row, task_rows, TailStrategy::GuardWithIf)
          .vectorize(c_, v, TailStrategy::GuardWithIf)
          .parallel(task);
    }
  }

  // A thread per row for the sums, a thread per element for the gradient. Measured by registers under ptxas.
  void schedule_gpu() {
    schedule_class_sums_gpu(rows_, {top_, total_}, n_, hardware_facts(get_target()));
    schedule_elements(Func(loss), n_, get_target());
    schedule_elements(Func(prediction), n_, get_target());
    if (with_gradient) schedule_matrix(Func(*gradient_), c_, n_, logits.dim(0).extent(), get_target());
  }

  GeneratorInput<float>* scale_ = nullptr;
  GeneratorOutput<Buffer<float, 2>>* gradient_ = nullptr;
  Var c_{"c"}, n_{"n"};
  RDom classes_;
  Func top_{"top"}, total_{"total"}, rows_{"rows"};
};

class SquaredError : public Generator<SquaredError> {
 public:
  Input<Buffer<float, 2>> y{"y"};                          // (features, batch)
  Input<Buffer<float, 2>> target_values{"target_values"};  // (features, batch)
  Input<float> scale{"scale"};
  Output<Buffer<float, 1>> loss{"loss"};          // (batch)
  Output<Buffer<float, 2>> gradient{"gradient"};  // (features, batch)

  void generate() {
    lanes_ = hardware_facts(get_target()).vector_width;
    const Expr features = y.dim(0).extent();
    // One partial sum per lane and row: rows are long in an autoencoder.
    steps_ = RDom(0, (features + lanes_ - 1) / lanes_, "steps");
    const Expr d = steps_ * lanes_ + lane_;
    const Expr inside = min(likely(d), features - 1);
    const Expr difference = y(inside, n_) - target_values(inside, n_);
    partial_(lane_, n_) += select(likely(d < features), difference * difference, 0.0F);
    all_lanes_ = RDom(0, lanes_, "all_lanes");
    total_(n_) += partial_(all_lanes_, n_);
    loss(n_) = total_(n_) / cast<float>(features);
    gradient(d_, n_) = (y(d_, n_) - target_values(d_, n_)) * (scale * 2.0F / cast<float>(features));
  }

  void schedule() {
    const Expr features = y.dim(0).extent(), batch = y.dim(1).extent();
    y.dim(0).set_min(0);
    y.dim(1).set_min(0);
    target_values.dim(0).set_bounds(0, features);
    target_values.dim(1).set_bounds(0, batch);
    gradient.dim(0).set_bounds(0, features);
    gradient.dim(1).set_bounds(0, batch);
    loss.dim(0).set_bounds(0, batch);
    schedule_matrix(Func(gradient), d_, n_, features, get_target());
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Measured against memcpy of both inputs.
  void schedule_cpu() {
    const Var task("task"), row("row");
    const HardwareFacts facts = hardware_facts(get_target());
    loss.split(n_, task, row, max(1, facts.parallel_grain / max(y.dim(0).extent(), 1)), TailStrategy::GuardWithIf)
        .parallel(task);
    partial_.compute_at(loss, row)
        .bound_extent(lane_, lanes_)
        .vectorize(lane_)
        .update()
        .reorder(lane_, steps_)
        .vectorize(lane_);
    total_.compute_at(loss, row).update().unroll(all_lanes_);
  }

  // A thread per row. Measured by registers under ptxas.
  void schedule_gpu() {
    const Var block("block"), thread("thread");
    loss.gpu_tile(n_, block, thread, hardware_facts(get_target()).gpu_threads, TailStrategy::GuardWithIf);
    partial_.compute_at(loss, thread)
        .bound_extent(lane_, lanes_)
        .unroll(lane_)
        .update()
        .reorder(lane_, steps_)
        .unroll(lane_);
    total_.compute_at(loss, thread).update().unroll(all_lanes_);
  }

  int lanes_ = 0;
  Var d_{"d"}, n_{"n"}, lane_{"lane"};
  RDom steps_, all_lanes_;
  Func partial_{"partial"}, total_{"total"};
};

class ActivationGradient : public Generator<ActivationGradient> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};

  Input<Buffer<float, 2>> y{"y"};    // (features, batch), the activation's output
  Input<Buffer<float, 2>> dy{"dy"};  // (features, batch)
  Input<float> slope{"slope"};
  Output<Buffer<float, 2>> dz{"dz"};  // (features, batch); may be dy

  void generate() { dz(m_, n_) = through_derivative(activation, y(m_, n_), slope, dy(m_, n_)); }

  void schedule() {
    y.dim(0).set_min(0);
    y.dim(1).set_min(0);
    dy.dim(0).set_bounds(0, y.dim(0).extent());
    dy.dim(1).set_bounds(0, y.dim(1).extent());
    dz.dim(0).set_bounds(0, y.dim(0).extent());
    dz.dim(1).set_bounds(0, y.dim(1).extent());
    schedule_matrix(Func(dz), m_, n_, y.dim(0).extent(), get_target());
  }

 private:
  Var m_{"m"}, n_{"n"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::SoftmaxCrossEntropy, softmax_cross_entropy)
HALIDE_REGISTER_GENERATOR(kindling::SquaredError, squared_error)
HALIDE_REGISTER_GENERATOR(kindling::ActivationGradient, activation_gradient)
