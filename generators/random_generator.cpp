// Counter-based random numbers: element i of a stream is word i % 4 of Philox block i / 4, turned into a uniform or a
// normal. All arithmetic after the words is strict (no fused multiply-add), so every CPU target gives the same bits.
#include <map>
#include <string>

#include "common/elementwise.h"
#include "common/philox.h"
#include "common/polynomials.h"

namespace kindling {
namespace {

using namespace Halide;

// Inputs and schedule that every distribution shares. An output is (4, blocks): whole blocks, so that lanes are blocks
// and a vector of results is four interleaved vectors.
template <class T, class Element>
class PhiloxGenerator : public Generator<T> {
 public:
  template <class U>
  using In = typename Generator<T>::template Input<U>;
  In<uint32_t> seed_low{"seed_low"}, seed_high{"seed_high"}, step{"step"}, unit{"unit"}, purpose{"purpose"},
      first_block{"first_block"};
  typename Generator<T>::template Output<Buffer<Element, 2>> out{"out"};

  // A distribution's own parameters come after the shared ones, before the output.
  bool allow_out_of_order_inputs_and_outputs() const override { return true; }

 protected:
  // The words of block b, a stage of their own.
  Expr word(int q) {
    if (!words_.defined()) {
      const PhiloxWords w =
          philox({first_block + cast<uint32_t>(b_), step, unit, purpose}, seed_low, seed_high, this->get_target());
      words_(b_) = Tuple(w[0], w[1], w[2], w[3]);
    }
    return words_(b_)[q];
  }

  void schedule_blocks(std::vector<Func> stages) {
    const Target target = this->get_target();
    const HardwareFacts facts = hardware_facts(target);
    stages.push_back(words_);
    out.dim(0).set_bounds(0, 4).dim(1).set_min(0).set_stride(4);
    out.bound(q_, 0, 4).reorder(q_, b_).unroll(q_);
    const Var task("task"), inner("inner"), lane("lane");
    if (target.has_gpu_feature()) {
      // A thread per block of four. Measured by registers under ptxas.
      out.gpu_tile(b_, task, lane, facts.gpu_threads, TailStrategy::GuardWithIf);
      for (Func& f : stages) f.compute_at(Func(out), lane);
      return;
    }
    // Measured against std::normal_distribution over std::mt19937 (normals: at least 4 times as fast).
    out.split(b_, inner, lane, facts.vector_width, TailStrategy::GuardWithIf)
        .split(inner, task, inner, facts.parallel_grain / (4 * facts.vector_width), TailStrategy::GuardWithIf)
        .vectorize(lane)
        .parallel(task);
    for (Func& f : stages) {
      f.compute_at(Func(out), inner).bound_extent(b_, facts.vector_width).vectorize(b_).store_in(MemoryType::Stack);
    }
  }

  // (k + 1/2) / 2^24 for the upper 24 bits k of a word; the one value that float32 would round to 1 stays below it.
  static Expr uniform(const Expr& w) {
    return min(cast<float>(cast<int32_t>(w >> 8)) + 0.5F, 16777215.0F) * (1.0F / 16777216.0F);
  }

  Var q_{"q"}, b_{"b"};
  Func words_;
};

class PhiloxWordsGenerator : public PhiloxGenerator<PhiloxWordsGenerator, uint32_t> {
 public:
  void generate() { out(q_, b_) = mux(q_, {word(0), word(1), word(2), word(3)}); }
  void schedule() { schedule_blocks({}); }
};

class PhiloxUniform : public PhiloxGenerator<PhiloxUniform, float> {
 public:
  // low + (high - low) u, held inside [first, last], the smallest and the largest number between low and high.
  Input<float> low{"low"}, high{"high"}, first{"first"}, last{"last"};

  void generate() {
    const auto value = [&](int q) { return strict_float(clamp(low + (high - low) * uniform(word(q)), first, last)); };
    out(q_, b_) = mux(q_, {value(0), value(1), value(2), value(3)});
  }
  void schedule() { schedule_blocks({}); }
};

class PhiloxNormal : public PhiloxGenerator<PhiloxNormal, float> {
 public:
  Input<float> mean{"mean"}, stddev{"stddev"};

  // Box-Muller on the pairs of words (0, 1) and (2, 3): radius from the first, angle from the second.
  void generate() {
    std::vector<Expr> values;
    for (int pair = 0; pair < 4; pair += 2) {
      const Expr radius = stddev * sqrt(-2.0F * log_poly(uniform(word(pair))));
      const SineCosine angle = sincos_2pi_poly(uniform(word(pair + 1)));
      values.push_back(strict_float(mean + radius * angle.cosine));
      values.push_back(strict_float(mean + radius * angle.sine));
    }
    normals_(b_) = Tuple(values);
    out(q_, b_) = mux(q_, {normals_(b_)[0], normals_(b_)[1], normals_(b_)[2], normals_(b_)[3]});
  }
  void schedule() { schedule_blocks({normals_}); }

 private:
  Func normals_{"normals"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::PhiloxWordsGenerator, philox_words)
HALIDE_REGISTER_GENERATOR(kindling::PhiloxUniform, philox_uniform)
HALIDE_REGISTER_GENERATOR(kindling::PhiloxNormal, philox_normal)
