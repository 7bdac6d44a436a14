// The second derivative of softmax cross-entropy, applied to a vector for every sample.
#include <limits>

#include "common/class_sums.h"
#include "common/elementwise.h"
#include "common/polynomials.h"

namespace kindling {
namespace {

using namespace Halide;

// T(n) = scale (diag p - p p^T) R(n), p = softmax(Z(n)): the derivative of the gradient scale (p - onehot) along R.
class SoftmaxHessianProduct : public Generator<SoftmaxHessianProduct> {
 public:
  Input<Buffer<float, 2>> logits{"logits"};    // (classes, batch)
  Input<Buffer<float, 2>> tangent{"tangent"};  // (classes, batch)
  Input<float> scale{"scale"};
  Output<Buffer<float, 2>> product{"product"};  // (classes, batch)

  void generate() {
    const Expr last_row = logits.dim(1).extent() - 1;
    classes_ = RDom(0, logits.dim(0).extent(), "classes");
    const auto at = [&](const auto& matrix, const Expr& c, const Expr& n) {
      return matrix(c, min(likely(n), last_row));
    };
    // A NaN never wins; it comes back through the sums below.
    top_(n_) = -std::numeric_limits<float>::infinity();
    const Expr candidate = at(logits, classes_, n_);
    top_(n_) = select(candidate > top_(n_), candidate, top_(n_));
    sums_(n_) = Tuple(0.0F, 0.0F);
    const Expr weight = exp_nonpositive(at(logits, classes_, n_) - top_(n_), get_target());
    sums_(n_) = Tuple(sums_(n_)[0] + weight, sums_(n_)[1] + weight * at(tangent, classes_, n_));
    rows_(n_) = Tuple(top_(n_), 1.0F / sums_(n_)[0], sums_(n_)[1] / sums_(n_)[0]);
    const Expr p = exp_nonpositive(logits(c_, n_) - rows_(n_)[0], get_target()) * rows_(n_)[1];
    product(c_, n_) = p * (tangent(c_, n_) - rows_(n_)[2]) * scale;
  }

  void schedule() {
    const Expr classes = logits.dim(0).extent(), batch = logits.dim(1).extent();
    logits.dim(0).set_min(0);
    logits.dim(1).set_min(0);
    tangent.dim(0).set_bounds(0, classes);
    tangent.dim(1).set_bounds(0, batch);
    product.dim(0).set_bounds(0, classes);
    product.dim(1).set_bounds(0, batch);
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // As softmax_cross_entropy: lanes are rows for the sums, classes for the product. Measured against
  // softmax_cross_entropy, which moves as many bytes.
  void schedule_cpu() {
    const HardwareFacts facts = hardware_facts(get_target());
    const int v = facts.vector_width, task_rows = class_sum_task_rows(facts);
    const Var task("task"), row("row");
    schedule_class_sums_cpu(rows_, {top_, sums_}, n_, classes_, facts);
    Func(product)
        .split(n_, task, row, task_rows, TailStrategy::GuardWithIf)
        .vectorize(c_, v, TailStrategy::GuardWithIf)
        .parallel(task);
  }

  // A thread per row for the sums, a thread per element for the product. Measured by registers under ptxas.
  void schedule_gpu() {
    schedule_class_sums_gpu(rows_, {top_, sums_}, n_, hardware_facts(get_target()));
    schedule_matrix(Func(product), c_, n_, logits.dim(0).extent(), get_target());
  }

  Var c_{"c"}, n_{"n"};
  RDom classes_;
  Func top_{"top"}, sums_{"sums"}, rows_{"rows"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::SoftmaxHessianProduct, softmax_hessian_product)
