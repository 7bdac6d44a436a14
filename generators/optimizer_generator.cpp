// Optimiser steps over parameters, in place; the semantics of PyTorch's SGD (dampening 0, no Nesterov) and Adam.
#include "common/elementwise.h"

namespace kindling {
namespace {

using namespace Halide;

// Parameters are matrices of one row: Halide 21 takes its own loads from an in-place output of one dimension for
// aligned to a whole vector, which the memory of a caller need not be; a row's unknown stride keeps it from that.
//
// What the three have in common: the gradient with weight decay added, and a schedule of the update that never
// computes an element twice.
template <class T>
class OptimizerStep : public Generator<T> {
 public:
  typename Generator<T>::template Input<Buffer<float, 2>> gradient{"gradient"};
  typename Generator<T>::template Input<float> learning_rate{"learning_rate"};
  typename Generator<T>::template Input<float> weight_decay{"weight_decay"};

 protected:
  Expr decayed(const Expr& parameter) { return gradient(i_, n_) + weight_decay * parameter; }

  void schedule_update(Func f) {
    f.output_buffers()[0].dim(0).set_bounds(0, gradient.dim(0).extent()).dim(1).set_bounds(0, gradient.dim(1).extent());
    gradient.dim(0).set_min(0);
    gradient.dim(1).set_min(0);
    schedule_matrix(f.update(), i_, n_, gradient.dim(0).extent(), this->get_target());
  }

  Var i_{"i"}, n_{"n"};
};

class SgdStep : public OptimizerStep<SgdStep> {
 public:
  Output<Func> parameter{"parameter", {Float(32)}, 2};

  void generate() {
    step_(i_, n_) = undef<float>();
    step_(i_, n_) -= learning_rate * decayed(step_(i_, n_));
    parameter = step_;
  }
  void schedule() { schedule_update(step_); }

 private:
  Func step_{"step"};
};

class MomentumStep : public OptimizerStep<MomentumStep> {
 public:
  Input<float> momentum{"momentum"};
  Output<Func> state{"state", {Float(32), Float(32)}, 2};  // parameter, velocity

  void generate() {
    step_(i_, n_) = Tuple(undef<float>(), undef<float>());
    const Expr old = step_(i_, n_)[0];
    const Expr velocity = momentum * step_(i_, n_)[1] + decayed(old);
    step_(i_, n_) = Tuple(old - learning_rate * velocity, velocity);
    state = step_;
  }
  void schedule() { schedule_update(step_); }

 private:
  Func step_{"step"};
};

class AdamStep : public OptimizerStep<AdamStep> {
 public:
  Input<float> beta1{"beta1"}, beta2{"beta2"}, epsilon{"epsilon"};
  Input<float> one_minus_beta1{"one_minus_beta1"}, one_minus_beta2{"one_minus_beta2"};
  Input<float> correction1{"correction1"}, correction2{"correction2"};  // 1 - beta^t
  Output<Func> state{"state", {Float(32), Float(32), Float(32)}, 2};    // parameter, mean, mean square

  void generate() {
    step_(i_, n_) = Tuple(undef<float>(), undef<float>(), undef<float>());
    const Expr old = step_(i_, n_)[0];
    const Expr g = decayed(old);
    const Expr mean = beta1 * step_(i_, n_)[1] + one_minus_beta1 * g;
    const Expr square = beta2 * step_(i_, n_)[2] + one_minus_beta2 * g * g;
    const Expr denominator = sqrt(square) * (1.0F / sqrt(correction2)) + epsilon;
    step_(i_, n_) = Tuple(old - (learning_rate / correction1) * (mean / denominator), mean, square);
    state = step_;
  }
  void schedule() { schedule_update(step_); }

 private:
  Func step_{"step"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::SgdStep, sgd_step)
HALIDE_REGISTER_GENERATOR(kindling::MomentumStep, momentum_step)
HALIDE_REGISTER_GENERATOR(kindling::AdamStep, adam_step)
