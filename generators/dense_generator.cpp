// Dense layer forward: Y = f(X W^T + b), the bias and the activation applied while the tile is in registers.
#include "common/activation.h"
#include "common/contraction.h"
#include "common/dot_products.h"

namespace kindling {
namespace {

using namespace Halide;

class DenseForward : public Generator<DenseForward> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};
  // A kernel of dot products alone, for few samples of many features: runtime/kernels/dense.cpp chooses. Any extents
  // are right for either, but dot products need a fan-in of one vector at least.
  GeneratorParam<bool> few_rows{"few_rows", false};

  Input<Buffer<float, 2>> x{"x"};        // (fan_in, batch)
  Input<Buffer<float, 2>> w{"w"};        // (fan_in, fan_out)
  Input<Buffer<float, 1>> bias{"bias"};  // (fan_out)
  Input<float> slope{"slope"};           // of a piecewise-linear activation for negative arguments
  Output<Buffer<float, 2>> y{"y"};       // (fan_out, batch)

  void generate() {
    const Var unit("unit"), sample("sample");
    const bool gpu = get_target().has_gpu_feature();
    const Tile::Operands operands{x.dim(0).extent(), x.dim(1).extent(), w.dim(1).extent(),
                                  [&](Expr k, Expr n) { return x(k, n); }, [&](Expr k, Expr m) { return w(k, m); }};
    const Contraction::Epilogue epilogue = [&](Expr sum, Expr m, Expr) {
      return Tuple(activate(activation, sum + bias(m), slope));
    };
    const HardwareFacts facts = hardware_facts(get_target());
    result_(unit, sample) = undef<float>();
    if (gpu) {
      product_ = Contraction("forward", facts, gpu, operands);
    } else if (few_rows) {
      dots_ = DotProducts("few_rows", facts, {1, facts.dot_columns, facts.dot_vectors}, operands, 0, true);
      dots_.store(result_, epilogue);
      y = result_;
      return;
    } else {
      // What does not fill a vector of outputs may be a dot product along k, too.
      const int v = facts.vector_width;
      const Expr edge = DotProducts::pay_at_edge(operands, facts) && !Contraction::is_deep(operands, facts);
      dots_ =
          DotProducts("edge", facts, {facts.tile_rows, facts.tile_vectors, 1}, operands, operands.cols / v * v, edge);
      dots_.store(result_, epilogue);
      product_ = Contraction("forward", facts, gpu, operands, {.edge = !edge, .fresh = true});
    }
    product_.store(result_, epilogue);
    y = result_;
  }

  void schedule() {
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    w.dim(0).set_bounds(0, x.dim(0).extent());
    w.dim(1).set_min(0);
    bias.dim(0).set_bounds(0, w.dim(1).extent());
    y.dim(0).set_bounds(0, w.dim(1).extent());
    y.dim(1).set_bounds(0, x.dim(1).extent());
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Measured against OpenBLAS and oneDNN sgemm plus a pass for bias and activation, and this core's multiply-add peak.
  void schedule_cpu() {
    dots_.schedule_cpu();
    if (!few_rows) product_.schedule_cpu();
  }

  // Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() { product_.schedule_gpu(); }

  DotProducts dots_;
  Contraction product_;
  Func result_{"result"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::DenseForward, dense_forward)
