// Dense layers whose parameters are perturbed anew for every sample s: W + E_s and b + e_s, E_s ~ N(0, weight_stddev^2)
// and e_s ~ N(0, bias_stddev^2) drawn from their stream while W is packed, so that no E_s is ever stored. E_s has the
// rows of W, each of ceil(K / 4) Philox blocks, then come the ceil(M / 4) blocks of e_s, then sample s + 1.
#include <memory>

#include "common/activation.h"
#include "common/draws.h"
#include "common/sampled_product.h"

namespace kindling {
namespace {

using namespace Halide;

template <class T>
class PerturbedGenerator : public StreamGenerator<T> {
 public:
  template <class U>
  using In = typename Generator<T>::template Input<U>;
  In<float> weight_stddev{"weight_stddev"};

 protected:
  // Sizes of a layer (fan_in K, fan_out M) in blocks.
  static Expr blocks(const Expr& elements) { return (elements + 3) / 4; }
  static Expr sample_blocks(const Expr& fan_in, const Expr& fan_out) {
    return cast<uint32_t>(fan_out) * cast<uint32_t>(blocks(fan_in)) + cast<uint32_t>(blocks(fan_out));
  }
  // The four draws of one block around four means.
  Tuple draws(const Tuple& words, const std::function<Expr(int q)>& mean, const Expr& stddev) {
    const NormalPair a = normal_draws(words[0], words[1], mean(0), mean(1), stddev);
    const NormalPair b = normal_draws(words[2], words[3], mean(2), mean(3), stddev);
    return Tuple(a.first, a.second, b.first, b.second);
  }
  static Expr pick(const Expr& q, const FuncRef& four) { return mux(q, {four[0], four[1], four[2], four[3]}); }

  SampledProduct::Shape shape(bool wide_panels) {
    const HardwareFacts facts = hardware_facts(this->get_target());
    if (this->get_target().has_gpu_feature()) return {facts.gpu_thread_tile_y, facts.gpu_thread_tile_x, 1, 1};
    const int vectors = std::min(facts.tile_vectors, 2);
    return {facts.tile_rows, vectors, facts.vector_width, wide_panels ? 4 / vectors : 1};
  }
};

// Y_s = f(X_s (W + E_s)^T + b + e_s).
class PerturbedDenseForward : public PerturbedGenerator<PerturbedDenseForward> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};

  Input<float> bias_stddev{"bias_stddev"};
  Input<Buffer<float, 3>> x{"x"};        // (fan_in, batch, samples, or one for all of them)
  Input<Buffer<float, 2>> w{"w"};        // (fan_in, fan_out)
  Input<Buffer<float, 1>> bias{"bias"};  // (fan_out)
  Input<float> slope{"slope"};
  Input<int32_t> samples{"samples"};
  Output<Buffer<float, 3>> y{"y"};  // (fan_out, batch, samples)

  void generate() {
    const Expr fan_in = w.dim(0).extent(), fan_out = w.dim(1).extent();
    const Var unit("neuron"), row("row");  // "unit" is an input of every stream
    noise_words_(block_, sample_) =
        block_words(cast<uint32_t>(sample_) * sample_blocks(fan_in, fan_out) +
                    cast<uint32_t>(fan_out) * cast<uint32_t>(blocks(fan_in)) + cast<uint32_t>(block_));
    const FuncRef words = noise_words_(block_, sample_);
    noise_(block_, sample_) = draws(
        Tuple(words[0], words[1], words[2], words[3]), [&](int q) { return bias(min(4 * block_ + q, fan_out - 1)); },
        bias_stddev);
    biases_(unit, sample_) = pick(unit % 4, noise_(unit / 4, sample_));
    result_(unit, row, sample_) = undef<float>();
    product_ = SampledProduct(
        "forward", shape(false), get_target().has_gpu_feature(),
        {fan_in, x.dim(1).extent(), fan_out, samples,
         [&](const Expr& k, const Expr& n, const Expr& s) { return x(k, n, min(s, x.dim(2).extent() - 1)); },
         [&](const std::string& name, const Expr& first, bool partial) {
           return std::make_shared<Panels>(*this, name, first, partial);
         }},
        result_, [&](const Expr& sum, const Expr& m, const Expr&, const Expr& s) {
          return activate(activation, sum + biases_(m, s), slope);
        });
    y = result_;
  }

  void schedule() {
    x.dim(0).set_bounds(0, w.dim(0).extent());
    x.dim(1).set_min(0);
    x.dim(2).set_min(0);
    w.dim(0).set_min(0);
    w.dim(1).set_min(0);
    bias.dim(0).set_bounds(0, w.dim(1).extent());
    y.dim(0).set_bounds(0, w.dim(1).extent());
    y.dim(1).set_bounds(0, x.dim(1).extent());
    y.dim(2).set_bounds(0, samples);
    const HardwareFacts facts = hardware_facts(get_target());
    const Var unit = biases_.args()[0], a("a"), b("b");
    if (get_target().has_gpu_feature()) {
      // Measured by registers and spills under ptxas; executed on PoCL.
      noise_.compute_root().gpu_tile(block_, a, b, facts.gpu_threads, TailStrategy::GuardWithIf);
      noise_words_.compute_at(noise_, b);
      product_.schedule_gpu(facts);
      return;
    }
    // Measured against this core's multiply-add peak, and PyTorch's baddbmm with randn.
    noise_.compute_root().split(block_, a, b, facts.vector_width, TailStrategy::RoundUp).vectorize(b).parallel(sample_);
    noise_words_.compute_at(noise_, a).vectorize(block_);
    biases_.compute_root().unroll(unit, 4, TailStrategy::GuardWithIf).parallel(sample_);
    product_.schedule_cpu();
  }

 private:
  // Lanes are units: the four draws of a block lie below each other in the panel, and nothing is transposed.
  class Panels : public PanelSource {
   public:
    Panels(PerturbedDenseForward& g, const std::string& name, const Expr& first, bool partial)
        : shape_(g.shape(false)), facts_(hardware_facts(g.get_target())) {
      const Expr fan_in = g.w.dim(0).extent(), fan_out = g.w.dim(1).extent();
      Expr unit = first + panel_ * shape_.cols() + unit_in_;
      if (partial) unit = min(unit, fan_out - 1);
      weights_ = Func("weights_" + name), words_ = Func("words_" + name), four_ = Func("four_" + name);
      perturbed_ = Func("perturbed_" + name);
      weights_(unit_in_, k_, panel_) = g.w(min(likely(k_), fan_in - 1), unit);
      words_(unit_in_, block_, panel_, sample_) =
          g.block_words(cast<uint32_t>(sample_) * sample_blocks(fan_in, fan_out) +
                        cast<uint32_t>(unit) * cast<uint32_t>(blocks(fan_in)) + cast<uint32_t>(block_));
      const FuncRef w = words_(unit_in_, block_, panel_, sample_);
      four_(unit_in_, block_, panel_, sample_) = g.draws(
          Tuple(w[0], w[1], w[2], w[3]), [&](int q) { return weights_(unit_in_, 4 * block_ + q, panel_); },
          g.weight_stddev);
      perturbed_(unit_in_, k_, panel_, sample_) = pick(k_ % 4, four_(unit_in_, k_ / 4, panel_, sample_));
    }
    Expr at(const Expr& in_tile, const Expr& k, const Expr& tile, const Expr& sample) override {
      return perturbed_(in_tile, k, tile, sample);
    }
    void schedule_cpu(const LoopLevel& level) override {
      const Var q("q"), lane("lane");
      const int v = shape_.vector_width;
      weights_.compute_root().bound_extent(unit_in_, shape_.cols());
      weights_.reorder(unit_in_, k_, panel_).vectorize(unit_in_, v).unroll(unit_in_).parallel(panel_);
      perturbed_.compute_at(level).bound_extent(unit_in_, shape_.cols()).bound_extent(panel_, 1);
      perturbed_.split(k_, k_, q, 4, TailStrategy::RoundUp)
          .split(unit_in_, unit_in_, lane, shape_.cols())
          .reorder(lane, q, unit_in_, k_, panel_, sample_)
          .vectorize(lane)
          .unroll(q);
      for (Func* f : {&words_, &four_}) {
        f->compute_at(perturbed_, unit_in_)
            .bound_extent(unit_in_, shape_.cols())
            .vectorize(unit_in_)
            .store_in(MemoryType::Stack);
      }
    }
    void schedule_gpu(const Func& sum, const RVar& k) override {
      load_packed_on_gpu(perturbed_, sum, k, unit_in_, shape_.cols(), facts_);
      const Var q("q"), x("x"), y("y"), lane_x("lane_x"), lane_y("lane_y");
      perturbed_.compute_root().bound_extent(unit_in_, shape_.cols());
      perturbed_.split(k_, k_, q, 4, TailStrategy::RoundUp).reorder(q, unit_in_, k_, panel_, sample_).unroll(q);
      perturbed_.split(k_, y, lane_y, facts_.gpu_block_x, TailStrategy::GuardWithIf)
          .gpu_blocks(y, panel_, sample_)
          .gpu_threads(unit_in_, lane_y);
      four_.compute_at(perturbed_, unit_in_);
      words_.compute_at(perturbed_, unit_in_);
    }

   private:
    SampledProduct::Shape shape_;
    HardwareFacts facts_;
    Var unit_in_{"unit_in"}, k_{"k"}, block_{"block"}, panel_{"panel"}, sample_{"sample"};
    Func weights_, words_, four_, perturbed_;
  };

  Var block_{"block"}, sample_{"sample"};
  Func noise_words_{"noise_words"}, noise_{"noise"}, biases_{"biases"}, result_{"result"};
  SampledProduct product_;
};

// dX_s = f'(X_s) * (dZ_s (W + E_s)), X_s the output of the activation below.
class PerturbedInputGradient : public PerturbedGenerator<PerturbedInputGradient> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};

  Input<Buffer<float, 3>> dz{"dz"};  // (fan_out, batch, samples)
  Input<Buffer<float, 2>> w{"w"};    // (fan_in, fan_out)
  Input<Buffer<float, 3>> x{"x"};    // (fan_in, batch, samples)
  Input<float> slope{"slope"};
  Output<Buffer<float, 3>> dx{"dx"};  // (fan_in, batch, samples)

  void generate() {
    const Var feature("feature"), row("row"), sample("sample");
    result_(feature, row, sample) = undef<float>();
    product_ = SampledProduct("input_gradient", shape(true), get_target().has_gpu_feature(),
                              {w.dim(1).extent(), dz.dim(1).extent(), w.dim(0).extent(), dz.dim(2).extent(),
                               [&](const Expr& m, const Expr& n, const Expr& s) { return dz(m, n, s); },
                               [&](const std::string& name, const Expr& first, bool partial) {
                                 return std::make_shared<Panels>(*this, name, first, partial);
                               }},
                              result_, [&](const Expr& sum, const Expr& k, const Expr& n, const Expr& s) {
                                return through_derivative(activation, x(k, n, s), slope, sum);
                              });
    dx = result_;
  }

  void schedule() {
    dz.dim(0).set_bounds(0, w.dim(1).extent());
    dz.dim(1).set_min(0);
    dz.dim(2).set_min(0);
    w.dim(0).set_min(0);
    w.dim(1).set_min(0);
    x.dim(0).set_bounds(0, w.dim(0).extent());
    x.dim(1).set_bounds(0, dz.dim(1).extent());
    x.dim(2).set_bounds(0, dz.dim(2).extent());
    dx.dim(0).set_bounds(0, w.dim(0).extent());
    dx.dim(1).set_bounds(0, dz.dim(1).extent());
    dx.dim(2).set_bounds(0, dz.dim(2).extent());
    if (get_target().has_gpu_feature()) {
      // Measured by registers and spills under ptxas; executed on PoCL.
      product_.schedule_gpu(hardware_facts(get_target()));
    } else {
      // Measured against this core's multiply-add peak, and PyTorch's bmm with the perturbed weights stored.
      product_.schedule_cpu();
    }
  }

 private:
  // Columns are a row of W: lanes are blocks of four, interleaved by the stores.
  class Panels : public PanelSource {
   public:
    Panels(PerturbedInputGradient& g, const std::string& name, const Expr& first, bool partial)
        : shape_(g.shape(true)), facts_(hardware_facts(g.get_target())) {
      const Expr fan_in = g.w.dim(0).extent(), fan_out = g.w.dim(1).extent();
      words_ = Func("words_" + name), four_ = Func("four_" + name), perturbed_ = Func("perturbed_" + name);
      const Expr column = first + panel_ * shape_.panel_cols() + 4 * block_;
      words_(block_, unit_, panel_, sample_) =
          g.block_words(cast<uint32_t>(sample_) * sample_blocks(fan_in, fan_out) +
                        cast<uint32_t>(unit_) * cast<uint32_t>(blocks(fan_in)) + cast<uint32_t>(column / 4));
      const FuncRef w = words_(block_, unit_, panel_, sample_);
      four_(block_, unit_, panel_, sample_) = g.draws(
          Tuple(w[0], w[1], w[2], w[3]),
          [&](int q) { return g.w(partial ? min(column + q, fan_in - 1) : column + q, unit_); }, g.weight_stddev);
      perturbed_(q_, block_, unit_, panel_, sample_) = pick(q_, four_(block_, unit_, panel_, sample_));
    }
    Expr at(const Expr& in_tile, const Expr& k, const Expr& tile, const Expr& sample) override {
      return perturbed_(in_tile % 4, tile % shape_.tiles * (shape_.cols() / 4) + in_tile / 4, k, tile / shape_.tiles,
                        sample);
    }
    void schedule_cpu(const LoopLevel& level) override {
      const int lanes = shape_.panel_cols() / 4;
      perturbed_.compute_at(level).bound(q_, 0, 4).bound(block_, 0, lanes).bound_extent(panel_, 1);
      perturbed_.reorder(q_, block_, unit_, panel_, sample_).unroll(q_).vectorize(block_);
      for (Func* f : {&words_, &four_}) {
        f->compute_at(perturbed_, unit_).bound_extent(block_, lanes).vectorize(block_).store_in(MemoryType::Stack);
      }
    }
    void schedule_gpu(const Func& sum, const RVar& k) override {
      Func loaded = perturbed_.in(sum);
      loaded.compute_at(sum, k).store_in(MemoryType::Register).bound_extent(block_, shape_.cols() / 4);
      loaded.bound(q_, 0, 4).vectorize(q_).unroll(block_);
      const Var y("y"), lane_y("lane_y");
      perturbed_.compute_root().bound(q_, 0, 4).bound(block_, 0, shape_.panel_cols() / 4).unroll(q_);
      perturbed_.split(unit_, y, lane_y, facts_.gpu_threads / 2, TailStrategy::GuardWithIf)
          .reorder(q_, block_, lane_y, y, panel_, sample_)
          .gpu_blocks(y, panel_, sample_)
          .gpu_threads(block_, lane_y);
      four_.compute_at(perturbed_, block_);
      words_.compute_at(perturbed_, block_);
    }

   private:
    SampledProduct::Shape shape_;
    HardwareFacts facts_;
    Var q_{"q"}, block_{"block"}, unit_{"neuron"}, panel_{"panel"}, sample_{"sample"};
    Func words_, four_, perturbed_;
  };

  Func result_{"result"};
  SampledProduct product_;
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::PerturbedDenseForward, perturbed_dense_forward)
HALIDE_REGISTER_GENERATOR(kindling::PerturbedInputGradient, perturbed_input_gradient)
