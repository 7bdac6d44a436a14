// Products of Jacobians through a chain of dense layers. S_l (N d x n_l) holds one row for every sample and output:
// dlogits_i / du_l, u_l the pre-activations of layer l. Rows of one sample share one row of activations, whose
// derivative is fused into the product; all samples share one packed W.
#include "common/activation.h"
#include "common/contraction.h"
#include "common/elementwise.h"

namespace kindling {
namespace {

using namespace Halide;

// S(i, n) = f'(Y(n)) * W(i): the last layer's Jacobian with respect to the pre-activations that feed it.
class JacobianTop : public Generator<JacobianTop> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};

  Input<Buffer<float, 2>> w{"w"};  // (width, outputs)
  Input<Buffer<float, 2>> y{"y"};  // (width, samples): outputs of the activation below
  Input<float> slope{"slope"};
  Output<Buffer<float, 2>> s{"s"};  // (width, samples * outputs)

  void generate() {
    const Expr outputs = w.dim(1).extent();
    s(k_, row_) = through_derivative(activation, y(k_, row_ / outputs), slope, w(k_, row_ % outputs));
  }

  void schedule() {
    const Expr width = w.dim(0).extent();
    w.dim(0).set_min(0);
    w.dim(1).set_min(0);
    y.dim(0).set_bounds(0, width);
    y.dim(1).set_min(0);
    s.dim(0).set_bounds(0, width);
    s.dim(1).set_bounds(0, y.dim(1).extent() * w.dim(1).extent());
    schedule_matrix(Func(s), k_, row_, width, get_target());
  }

 private:
  Var k_{"k"}, row_{"row"};
};

// S = f'(Y) * (V W): one step towards the input.
class JacobianProduct : public Generator<JacobianProduct> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};

  Input<Buffer<float, 2>> v{"v"};                     // (fan_out, rows)
  Input<Buffer<float, 2>> w{"w"};                     // (fan_in, fan_out)
  Input<Buffer<float, 2>> y{"y"};                     // (fan_in, samples): outputs of the activation below
  Input<int32_t> rows_per_sample{"rows_per_sample"};  // at least 1
  Input<float> slope{"slope"};
  Output<Buffer<float, 2>> s{"s"};  // (fan_in, rows)

  void generate() {
    const Var feature("feature"), row("row");
    product_ =
        Contraction("product", hardware_facts(get_target()), get_target().has_gpu_feature(),
                    {v.dim(0).extent(), v.dim(1).extent(), w.dim(0).extent(), [&](Expr m, Expr r) { return v(m, r); },
                     [&](Expr m, Expr k) { return w(k, m); }, Layout::column_contiguous});
    result_(feature, row) = undef<float>();
    const Expr last = y.dim(1).extent() - 1;
    product_.store(result_, [&](Expr sum, Expr k, Expr r) {
      const Expr sample = unsafe_promise_clamped(r / rows_per_sample, 0, last);
      return Tuple(through_derivative(activation, y(k, sample), slope, sum));
    });
    s = result_;
  }

  void schedule() {
    const Expr fan_in = w.dim(0).extent(), rows = v.dim(1).extent();
    v.dim(0).set_min(0);
    v.dim(1).set_min(0);
    w.dim(0).set_min(0);
    w.dim(1).set_bounds(0, v.dim(0).extent());
    y.dim(0).set_bounds(0, fan_in);
    y.dim(1).set_min(0);
    s.dim(0).set_bounds(0, fan_in);
    s.dim(1).set_bounds(0, rows);
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Measured against PyTorch's product and a pass for the mask, and this core's multiply-add peak.
  void schedule_cpu() { product_.schedule_cpu(); }

  // Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() { product_.schedule_gpu(); }

  Contraction product_;
  Func result_{"result"};
};

// T = f'(Y) * (V W^T + scale * S): one step towards the output, of tangent vectors (scale * S left out) or of the
// adjoint of the sweep above, where a norm's own gradient joins at every layer.
class JacobianTransposed : public Generator<JacobianTransposed> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};
  GeneratorParam<bool> joined{"joined", false};

  Input<Buffer<float, 2>> v{"v"};                     // (fan_in, rows)
  Input<Buffer<float, 2>> w{"w"};                     // (fan_in, fan_out)
  Input<Buffer<float, 2>> y{"y"};                     // (fan_out, samples): outputs of this layer's activation
  Input<int32_t> rows_per_sample{"rows_per_sample"};  // at least 1
  Input<float> slope{"slope"};
  Output<Buffer<float, 2>> t{"t"};  // (fan_out, rows)

  bool allow_out_of_order_inputs_and_outputs() const override { return true; }  // the joined inputs go before t

  void configure() {
    if (!joined) return;
    s_ = add_input<Buffer<float, 2>>("s");          // (fan_out, rows)
    scale_ = add_input<Buffer<float, 1>>("scale");  // (rows)
  }

  void generate() {
    const Var unit("unit"), row("row");
    product_ = Contraction("transposed", hardware_facts(get_target()), get_target().has_gpu_feature(),
                           {v.dim(0).extent(), v.dim(1).extent(), w.dim(1).extent(),
                            [&](Expr k, Expr r) { return v(k, r); }, [&](Expr k, Expr m) { return w(k, m); }});
    result_(unit, row) = undef<float>();
    const Expr last = y.dim(1).extent() - 1;
    product_.store(result_, [&](Expr sum, Expr m, Expr r) {
      const Expr sample = unsafe_promise_clamped(r / rows_per_sample, 0, last);
      const Expr total = joined ? sum + (*scale_)(r) * (*s_)(m, r) : sum;
      return Tuple(through_derivative(activation, y(m, sample), slope, total));
    });
    t = result_;
  }

  void schedule() {
    const Expr fan_out = w.dim(1).extent(), rows = v.dim(1).extent();
    v.dim(0).set_min(0);
    v.dim(1).set_min(0);
    w.dim(0).set_bounds(0, v.dim(0).extent());
    w.dim(1).set_min(0);
    y.dim(0).set_bounds(0, fan_out);
    y.dim(1).set_min(0);
    t.dim(0).set_bounds(0, fan_out);
    t.dim(1).set_bounds(0, rows);
    if (joined) {
      s_->dim(0).set_bounds(0, fan_out);
      s_->dim(1).set_bounds(0, rows);
      scale_->dim(0).set_bounds(0, rows);
    }
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Measured against PyTorch's product and its passes for mask and sum, and this core's multiply-add peak.
  void schedule_cpu() { product_.schedule_cpu(); }

  // Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() { product_.schedule_gpu(); }

  GeneratorInput<Buffer<float, 2>>* s_ = nullptr;
  GeneratorInput<Buffer<float, 1>>* scale_ = nullptr;
  Contraction product_;
  Func result_{"result"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::JacobianTop, jacobian_top)
HALIDE_REGISTER_GENERATOR(kindling::JacobianProduct, jacobian_product)
HALIDE_REGISTER_GENERATOR(kindling::JacobianTransposed, jacobian_transposed)
