// Dense layer backward. The input gradient carries the derivative of the activation below as its epilogue; the weight
// gradient either is stored or, with an optimiser, is consumed tile by tile and never exists in memory.
#include "common/activation.h"
#include "common/contraction.h"
#include "common/few_rows.h"

namespace kindling {
namespace {

using namespace Halide;

// dX = f'(X) * (dZ W), X the output of the activation below.
class DenseInputGradient : public Generator<DenseInputGradient> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};
  // A kernel for so few samples that packing the weights does not pay; runtime/kernels/dense.cpp chooses.
  GeneratorParam<bool> few_rows{"few_rows", false};

  Input<Buffer<float, 2>> dz{"dz"};  // (fan_out, batch): gradient at this layer's pre-activations
  Input<Buffer<float, 2>> w{"w"};    // (fan_in, fan_out)
  Input<Buffer<float, 2>> x{"x"};    // (fan_in, batch)
  Input<float> slope{"slope"};
  Output<Buffer<float, 2>> dx{"dx"};  // (fan_in, batch)

  void generate() {
    const Var feature("feature"), sample("sample");
    const HardwareFacts facts = hardware_facts(get_target());
    const bool gpu = get_target().has_gpu_feature();
    const Tile::Operands operands{dz.dim(0).extent(),
                                  dz.dim(1).extent(),
                                  w.dim(0).extent(),
                                  [&](Expr m, Expr n) { return dz(m, n); },
                                  [&](Expr m, Expr k) { return w(k, m); },
                                  Layout::column_contiguous};
    const Contraction::Epilogue epilogue = [&](Expr sum, Expr k, Expr n) {
      return Tuple(through_derivative(activation, x(k, n), slope, sum));
    };
    result_(feature, sample) = undef<float>();
    if (few_rows && !gpu) {
      few_ = FewRows("input_gradient", facts, operands);
      few_.store(result_, epilogue);
    } else {
      product_ = Contraction("input_gradient", facts, gpu, operands, {.fresh = true});
      product_.store(result_, epilogue);
    }
    dx = result_;
  }

  void schedule() {
    const Expr fan_in = w.dim(0).extent(), batch = dz.dim(1).extent();
    dz.dim(0).set_min(0);
    dz.dim(1).set_min(0);
    w.dim(0).set_min(0);
    w.dim(1).set_bounds(0, dz.dim(0).extent());
    x.dim(0).set_bounds(0, fan_in);
    x.dim(1).set_bounds(0, batch);
    dx.dim(0).set_bounds(0, fan_in);
    dx.dim(1).set_bounds(0, batch);
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Measured against OpenBLAS sgemm plus a pass for the mask, and this core's multiply-add peak.
  void schedule_cpu() { few_rows ? few_.schedule_cpu() : product_.schedule_cpu(); }

  // Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() { product_.schedule_gpu(); }

  Contraction product_;
  FewRows few_;
  Func result_{"result"};
};

enum class WeightUpdate { store, sgd, momentum, adam };

// dW(k, m) = sum_n dZ(m, n) X(k, n) and db(m) = sum_n dZ(m, n): stored, or used at once for a step of the optimiser.
// The steps are those of PyTorch's SGD (dampening 0, no Nesterov) and Adam; weight decay is added to the gradient of
// the weights, not of the biases.
class DenseWeightGradient : public Generator<DenseWeightGradient> {
 public:
  GeneratorParam<WeightUpdate> update{"update",
                                      WeightUpdate::store,
                                      {{"store", WeightUpdate::store},
                                       {"sgd", WeightUpdate::sgd},
                                       {"momentum", WeightUpdate::momentum},
                                       {"adam", WeightUpdate::adam}}};
  GeneratorParam<bool> few_rows{"few_rows", false};  // few samples: as in the input gradient

  Input<Buffer<float, 2>> x{"x"};    // (fan_in, batch)
  Input<Buffer<float, 2>> dz{"dz"};  // (fan_out, batch)

  void configure() {
    const auto scalars = [&](std::initializer_list<const char*> names) {
      for (const char* name : names) scalars_[name] = add_input<float>(name);
    };
    const WeightUpdate kind = update;
    if (kind != WeightUpdate::store) scalars({"learning_rate", "weight_decay"});
    if (kind == WeightUpdate::momentum) scalars({"momentum"});
    if (kind == WeightUpdate::adam)
      scalars({"beta1", "beta2", "rest1", "rest2", "epsilon", "correction1", "correction2"});
    // Value and state of the optimiser side by side: one pass over memory updates them all.
    const std::size_t arrays = kind == WeightUpdate::adam ? 3 : kind == WeightUpdate::momentum ? 2 : 1;
    weights_ = add_output<Func>(kind == WeightUpdate::store ? "dw" : "w", std::vector<Type>(arrays, Float(32)),
                                2);  // (fan_in, fan_out)
    biases_ = add_output<Func>(kind == WeightUpdate::store ? "db" : "b", std::vector<Type>(arrays, Float(32)),
                               1);  // (fan_out)
  }

  void generate() {
    const Var feature("feature"), unit("unit");
    const Expr batch = x.dim(1).extent();
    weight_result_(feature, unit) = nothing();
    Tile::Operands operands{batch,
                            dz.dim(0).extent(),
                            x.dim(0).extent(),
                            [&](Expr n, Expr m) { return dz(m, n); },
                            [&](Expr n, Expr k) { return x(k, n); },
                            Layout::column_contiguous};
    // Of SGD's one array the hardware sees to that by itself.
    if (weights_->types().size() > 1) operands.read_back = weight_result_.output_buffers();
    const Contraction::Epilogue epilogue = [&](Expr gradient, Expr k, Expr m) {
      return step(weight_result_(k, m), gradient, true);
    };
    if (in_few_rows()) {
      few_ = FewRows("weight_gradient", hardware_facts(get_target()), operands);
      few_.store(weight_result_, epilogue);
    } else {
      product_ = Contraction("weight_gradient", hardware_facts(get_target()), get_target().has_gpu_feature(), operands,
                             {.over_samples = true});
      product_.store(weight_result_, epilogue);
    }

    // Blocks of samples first, then the blocks' sums, both in a fixed order: the error grows with 128 + N / 128, not N.
    if (in_few_rows()) {
      block_ = RDom(0, batch, "sample");
      block_sum_(unit, block_index_) = dz(unit, block_index_);
    } else {
      sum_blocks(batch);
    }
    bias_sum_(unit) = 0.0F;
    bias_sum_(unit) += block_sum_(unit, block_);
    if (update == WeightUpdate::store) {
      bias_result_(unit) = bias_sum_(unit);
    } else {
      bias_result_(unit) = nothing();
      bias_result_(unit) = step(bias_result_(unit), bias_sum_(unit), false);
    }
    *weights_ = weight_result_;
    *biases_ = bias_result_;
  }

  void schedule() {
    const Expr fan_in = x.dim(0).extent(), fan_out = dz.dim(0).extent();
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    dz.dim(0).set_min(0);
    dz.dim(1).set_bounds(0, x.dim(1).extent());
    // The optimiser's state has the same extents as the value; Halide checks that by itself. The minimum along the rows
    // stays unknown to the compiler: Halide 21 takes vector reads of an output for reads of its own, aligned memory
    // wherever it can prove the index aligned, and faults.
    weight_result_.output_buffers()[0].dim(0).set_extent(fan_in).dim(1).set_bounds(0, fan_out);
    bias_result_.output_buffers()[0].dim(0).set_bounds(0, fan_out);
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  static constexpr int samples_per_block = 128;

  [[nodiscard]] bool in_few_rows() const { return few_rows && !get_target().has_gpu_feature(); }

  void sum_blocks(const Expr& batch) {
    const Var unit("unit");
    block_ = RDom(0, (batch + samples_per_block - 1) / samples_per_block, "block");
    sample_ = RDom(0, samples_per_block, "sample");
    const Expr n = block_index_ * samples_per_block + sample_;
    sample_.where(n < batch);
    sample_sum_(unit, block_index_) = 0.0F;
    sample_sum_(unit, block_index_) += dz(unit, unsafe_promise_clamped(n, 0, batch - 1));
    block_sum_(unit, block_index_) = sample_sum_(unit, block_index_);
  }

  [[nodiscard]] Tuple nothing() const {
    const std::size_t arrays = weights_->types().size();
    return Tuple(std::vector<Expr>(arrays, undef<float>()));
  }

  Stage bias_stage() { return update == WeightUpdate::store ? Stage(bias_result_) : bias_result_.update(); }

  [[nodiscard]] Expr scalar(const char* name) { return *scalars_.at(name); }

  // What becomes of one parameter (and its optimiser state), given the gradient of the loss.
  Tuple step(const FuncRef& old, Expr gradient, bool decays) {
    if (update == WeightUpdate::store) return Tuple(gradient);
    const auto at = [&](int i) -> Expr { return old.size() == 1 ? Expr(old) : old[i]; };
    const Expr value = at(0), rate = scalar("learning_rate");
    const Expr g = decays ? gradient + scalar("weight_decay") * value : gradient;
    if (update == WeightUpdate::sgd) return Tuple(value - rate * g);
    if (update == WeightUpdate::momentum) {
      const Expr velocity = scalar("momentum") * at(1) + g;
      return Tuple(value - rate * velocity, velocity);
    }
    // rest = 1 - beta comes as a number of its own: written as a difference, the compiler multiplies it out to
    // g^2 - beta g^2, which cancels.
    const Expr mean = scalar("beta1") * at(1) + scalar("rest1") * g;
    const Expr square = scalar("beta2") * at(2) + scalar("rest2") * g * g;
    const Expr scale = sqrt(square) * (1.0F / sqrt(scalar("correction2"))) + scalar("epsilon");
    return Tuple(value - rate / scalar("correction1") * mean / scale, mean, square);
  }

  // Measured against OpenBLAS sgemm plus the optimiser's pass over the weights, and this core's multiply-add peak.
  void schedule_cpu() {
    in_few_rows() ? few_.schedule_cpu() : product_.schedule_cpu();
    const HardwareFacts facts = hardware_facts(get_target());
    const Var unit("unit");
    const int v = facts.vector_width;
    // In place the biases' stage stays scalar, since its loop starts at the minimum (see schedule()).
    if (update == WeightUpdate::store) bias_stage().vectorize(unit, v, TailStrategy::GuardWithIf);
    bias_sum_.compute_root().vectorize(unit, v, TailStrategy::GuardWithIf);
    bias_sum_.update().reorder(unit, block_).vectorize(unit, v, TailStrategy::GuardWithIf);
    if (in_few_rows()) return;
    const Var vector("vector"), lane("lane");
    block_sum_.compute_root();
    block_sum_.split(unit, vector, lane, v, TailStrategy::GuardWithIf).vectorize(lane).parallel(block_index_);
    // In a register, the units beyond the last whole vector under a mask: a masked store for each sample would cost
    // more than all else.
    sample_sum_.compute_at(block_sum_, vector).store_in(MemoryType::Stack).vectorize(unit, v, TailStrategy::RoundUp);
    sample_sum_.update()
        .split(unit, unit, lane, v, TailStrategy::PredicateLoads)
        .reorder(lane, sample_, unit, block_index_)
        .vectorize(lane);
  }

  // Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() {
    product_.schedule_gpu();
    const HardwareFacts facts = hardware_facts(get_target());
    const Var unit("unit"), grid("grid"), thread("thread");
    bias_stage().gpu_tile(unit, grid, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
    bias_sum_.compute_at(bias_result_, thread);
    sample_sum_.compute_at(bias_sum_, block_);
  }

  std::map<std::string, Input<float>*> scalars_;
  Output<Func>* weights_ = nullptr;
  Output<Func>* biases_ = nullptr;
  Contraction product_;
  FewRows few_;
  RDom sample_, block_;
  Var block_index_{"block_index"};
  Func weight_result_{"weight_result"}, bias_result_{"bias_result"}, bias_sum_{"bias_sum"}, block_sum_{"block_sum"},
      sample_sum_{"sample_sum"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::DenseInputGradient, dense_input_gradient)
HALIDE_REGISTER_GENERATOR(kindling::DenseWeightGradient, dense_weight_gradient)
