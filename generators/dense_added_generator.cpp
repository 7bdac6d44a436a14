// A dense layer whose input is two parts, of which the first was multiplied before: Y = f(X W^T + A), A repeating from
// row to row. Critics of mutual information score each x beside several y, and x's part is then computed once.
#include "common/activation.h"
#include "common/contraction.h"

namespace kindling {
namespace {

using namespace Halide;

class DenseForwardAdded : public Generator<DenseForwardAdded> {
 public:
  Input<Buffer<float, 2>> x{"x"};          // (fan_in, batch)
  Input<Buffer<float, 2>> w{"w"};          // (fan_in, fan_out)
  Input<Buffer<float, 2>> added{"added"};  // (fan_out, period): row n of the batch gets row n mod period
  Input<float> slope{"slope"};             // of the activation for negative arguments
  Output<Buffer<float, 2>> y{"y"};         // (fan_out, batch)

  void generate() {
    const Var unit("unit"), sample("sample");
    const Tile::Operands operands{x.dim(0).extent(), x.dim(1).extent(), w.dim(1).extent(),
                                  [&](Expr k, Expr n) { return x(k, n); }, [&](Expr k, Expr m) { return w(k, m); }};
    const Expr period = added.dim(1).extent();
    product_ = Contraction("added", hardware_facts(get_target()), get_target().has_gpu_feature(), operands);
    result_(unit, sample) = undef<float>();
    product_.store(result_, [&](Expr sum, Expr m, Expr n) {
      // What the remainder is, said to the bounds inference.
      const Expr row = unsafe_promise_clamped(n % period, 0, period - 1);
      return Tuple(activate(ActivationForm::slope, sum + added(m, row), slope));
    });
    y = result_;
  }

  void schedule() {
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    w.dim(0).set_bounds(0, x.dim(0).extent());
    w.dim(1).set_min(0);
    added.dim(0).set_bounds(0, w.dim(1).extent());
    added.dim(1).set_min(0);
    y.dim(0).set_bounds(0, w.dim(1).extent());
    y.dim(1).set_bounds(0, x.dim(1).extent());
    if (get_target().has_gpu_feature()) {
      product_.schedule_gpu();  // measured by registers and spills under ptxas; executed on PoCL
    } else {
      product_.schedule_cpu();  // measured against dense_forward on the same shape
    }
  }

 private:
  Contraction product_;
  Func result_{"result"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::DenseForwardAdded, dense_forward_added)
