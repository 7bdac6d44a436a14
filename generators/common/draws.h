// Random numbers as expressions: the streams' inputs, and the laws that a block's words are turned into. Everything
// after the words is strict (no fused multiply-add), so that every CPU target gives the same bits, whichever kernel
// draws a number.
#pragma once

#include "Halide.h"
#include "philox.h"
#include "polynomials.h"

namespace kindling {

/// Vectors of blocks that a CPU draws side by side: the rounds and polynomials of one alone wait for their own results,
/// and four need more registers than there are.
constexpr int draw_vectors = 2;

/// (k + 1/2) / 2^24 for the upper 24 bits k of a word; the one value that float32 would round to 1 stays below it.
inline Halide::Expr uniform_draw(const Halide::Expr& word) {
  using namespace Halide;
  return min(cast<float>(cast<int32_t>(word >> 8)) + 0.5F, 16777215.0F) * (1.0F / 16777216.0F);
}

struct NormalPair {
  Halide::Expr first, second;
};

/// mean[i] + stddev * normal by Box and Muller: radius from the first word, angle from the second, cosine before
/// sine.
inline NormalPair normal_draws(const Halide::Expr& radius_word, const Halide::Expr& angle_word,
                               const Halide::Expr& first_mean, const Halide::Expr& second_mean,
                               const Halide::Expr& stddev) {
  using namespace Halide;
  const Expr radius = stddev * sqrt(minus_log_poly(scaled_unit(radius_word), 2.0F));
  const SineCosine angle = sincos_2pi_poly(angle_word);
  return {strict_float(first_mean + radius * angle.cosine), strict_float(second_mean + radius * angle.sine)};
}

/// Exponential of mean 1: -ln u, u below 1.
inline Halide::Expr exponential_draw(const Halide::Expr& word) {
  return Halide::strict_float(minus_log_poly(min(scaled_unit(word), 2147483520.0F), 1.0F));
}

/// Beta(2, 1), of density 2x on (0, 1): the root of a uniform.
inline Halide::Expr beta21_draw(const Halide::Expr& word) { return Halide::strict_float(sqrt(uniform_draw(word))); }

/// Inputs of every kernel that draws from a stream (include/kindling/random.h).
template <class T>
class StreamGenerator : public Halide::Generator<T> {
 public:
  template <class U>
  using In = typename Halide::Generator<T>::template Input<U>;
  In<uint32_t> seed_low{"seed_low"}, seed_high{"seed_high"}, step{"step"}, unit{"unit"}, purpose{"purpose"},
      first_block{"first_block"};

  // A kernel's own parameters come after the shared ones, before the output.
  bool allow_out_of_order_inputs_and_outputs() const override { return true; }

 protected:
  /// The four words of block first_block + block.
  Halide::Tuple block_words(const Halide::Expr& block) {
    const PhiloxWords w = philox({first_block + block, step, unit, purpose}, seed_low, seed_high, this->get_target());
    return Halide::Tuple(w[0], w[1], w[2], w[3]);
  }
};

}  // namespace kindling
