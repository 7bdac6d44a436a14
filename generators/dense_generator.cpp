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
    } else {
      // Packing the weights pays from a few samples on; below that each output is a dot product along k, whose fixed
      // cost, the sum over the lanes, needs a large fan-in. So is what does not fill a vector of outputs.
      const int v = facts.vector_width;
      const Expr few_rows =
          operands.rows <= facts.few_rows && operands.depth >= operands.rows * facts.dot_depth_per_row;
      const Expr edge = !few_rows && operands.depth >= v && !Contraction::is_deep(operands, facts);
      const DotProducts::Shape square{facts.tile_rows, facts.tile_vectors};
      dots_ = {DotProducts("few_rows", facts, {1, facts.dot_columns}, operands, 0, few_rows),
               DotProducts("edge", facts, square, operands, operands.cols / v * v, edge)};
      for (DotProducts& d : dots_) d.store(result_, epilogue);
      product_ = Contraction("forward", facts, gpu, operands, {.enabled = !few_rows, .edge = !edge});
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
    for (DotProducts& d : dots_) d.schedule_cpu();
    product_.schedule_cpu();
  }

  // Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() { product_.schedule_gpu(); }

  std::vector<DotProducts> dots_;
  Contraction product_;
  Func result_{"result"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::DenseForward, dense_forward)
