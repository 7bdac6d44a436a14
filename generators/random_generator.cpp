// Counter-based random numbers: element i of a stream is word i % 4 of Philox block i / 4, turned into a draw of
// some law (common/draws.h).
#include <functional>

#include "common/draws.h"
#include "common/hardware.h"

namespace kindling {
namespace {

using namespace Halide;

// Inputs and schedule that every distribution shares. An output is (4, blocks): whole blocks, so that lanes are blocks
// and a vector of results is four interleaved vectors.
template <class T, class Element>
class PhiloxGenerator : public StreamGenerator<T> {
 public:
  typename Generator<T>::template Output<Buffer<Element, 2>> out{"out"};

 protected:
  // The words of block b, a stage of their own.
  Expr word(int q) {
    if (!words_.defined()) words_(b_) = this->block_words(cast<uint32_t>(b_));
    return words_(b_)[q];
  }

  // Each element from its own word.
  void draw_each(const std::function<Expr(Expr word)>& law) {
    out(q_, b_) = mux(q_, {law(word(0)), law(word(1)), law(word(2)), law(word(3))});
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
    const int lanes = draw_vectors * facts.vector_width;
    out.split(b_, inner, lane, lanes, TailStrategy::GuardWithIf)
        .split(inner, task, inner, facts.parallel_grain / (4 * lanes), TailStrategy::GuardWithIf)
        .vectorize(lane)
        .parallel(task);
    for (Func& f : stages) {
      f.compute_at(Func(out), inner).bound_extent(b_, lanes).vectorize(b_).store_in(MemoryType::Stack);
    }
  }

  Var q_{"q"}, b_{"b"};
  Func words_;
};

class PhiloxWordsGenerator : public PhiloxGenerator<PhiloxWordsGenerator, uint32_t> {
 public:
  void generate() {
    draw_each([](const Expr& w) { return w; });
  }
  void schedule() { schedule_blocks({}); }
};

class PhiloxUniform : public PhiloxGenerator<PhiloxUniform, float> {
 public:
  // low + (high - low) u, held inside [first, last], the smallest and the largest number between low and high.
  Input<float> low{"low"}, high{"high"}, first{"first"}, last{"last"};

  void generate() {
    draw_each([&](const Expr& w) { return strict_float(clamp(low + (high - low) * uniform_draw(w), first, last)); });
  }
  void schedule() { schedule_blocks({}); }
};

class PhiloxNormal : public PhiloxGenerator<PhiloxNormal, float> {
 public:
  Input<float> mean{"mean"}, stddev{"stddev"};

  void generate() {
    std::vector<Expr> values;
    for (int pair = 0; pair < 4; pair += 2) {
      const NormalPair normal = normal_draws(word(pair), word(pair + 1), mean, mean, stddev);
      values.push_back(normal.first);
      values.push_back(normal.second);
    }
    normals_(b_) = Tuple(values);
    out(q_, b_) = mux(q_, {normals_(b_)[0], normals_(b_)[1], normals_(b_)[2], normals_(b_)[3]});
  }
  void schedule() { schedule_blocks({normals_}); }

 private:
  Func normals_{"normals"};
};

class PhiloxExponential : public PhiloxGenerator<PhiloxExponential, float> {
 public:
  Input<float> mean{"mean"};

  void generate() {
    draw_each([&](const Expr& w) { return strict_float(mean * exponential_draw(w)); });
  }
  void schedule() { schedule_blocks({}); }
};

class PhiloxBeta21 : public PhiloxGenerator<PhiloxBeta21, float> {
 public:
  void generate() { draw_each(beta21_draw); }
  void schedule() { schedule_blocks({}); }
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::PhiloxWordsGenerator, philox_words)
HALIDE_REGISTER_GENERATOR(kindling::PhiloxUniform, philox_uniform)
HALIDE_REGISTER_GENERATOR(kindling::PhiloxNormal, philox_normal)
HALIDE_REGISTER_GENERATOR(kindling::PhiloxExponential, philox_exponential)
HALIDE_REGISTER_GENERATOR(kindling::PhiloxBeta21, philox_beta21)
