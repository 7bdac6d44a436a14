// Random matrices whose entries depend on each other along a row. Entry j of row r comes from word j % 4 of block
// r B + j / 4 of the stream, B the blocks that a row owns: what a row gets depends on no other row and no schedule.
#include "common/draws.h"
#include "common/hardware.h"

namespace kindling {
namespace {

using namespace Halide;

// Uniform on the simplex: exponentials over their sum (L. Devroye, "Non-uniform random variate generation", V.2).
class PhiloxSimplex : public StreamGenerator<PhiloxSimplex> {
 public:
  Output<Buffer<float, 2>> out{"out"};  // (entries, rows)

  void generate() {
    const Expr entries = out.dim(0).extent(), blocks = (entries + 3) / 4;
    words_(block_, row_) = block_words(cast<uint32_t>(row_ * blocks + block_));
    const auto draw = [&](int q) {
      return select(4 * block_ + q < entries, exponential_draw(words_(block_, row_)[q]), 0.0F);
    };
    draw_(q_, block_, row_) = mux(q_, {draw(0), draw(1), draw(2), draw(3)});
    part_ = RDom(0, 4, 0, blocks, "part");
    sum_(row_) = 0.0F;
    sum_(row_) += draw_(part_.x, part_.y, row_);
    out(k_, row_) = strict_float(draw_(k_ % 4, k_ / 4, row_) / sum_(row_));
  }

  void schedule() {
    out.dim(0).set_min(0);
    out.dim(1).set_min(0);
    const HardwareFacts facts = hardware_facts(get_target());
    const Var task("task"), inner("inner"), lane("lane");
    if (get_target().has_gpu_feature()) {
      // A thread per row, which draws twice: for the sum and for the entries. Measured by registers under ptxas.
      out.reorder(k_, row_).gpu_tile(row_, task, lane, facts.gpu_threads, TailStrategy::GuardWithIf);
      sum_.compute_at(out, lane);
      sum_.update().unroll(part_.x);
      return;
    }
    // Lanes are rows, which are as short as a network has classes. Measured against a loop over std::log and mt19937.
    const int v = facts.vector_width;
    const Expr tasks = max(1, facts.parallel_grain / (v * max(1, out.dim(0).extent())));
    out.split(row_, inner, lane, v, TailStrategy::GuardWithIf)
        .split(inner, task, inner, tasks, TailStrategy::GuardWithIf)
        .reorder(lane, k_, inner, task)
        .vectorize(lane)
        .parallel(task);
    draw_.compute_at(out, inner).bound_extent(row_, v).reorder_storage(row_, q_, block_);
    draw_.bound(q_, 0, 4).reorder(row_, q_, block_).vectorize(row_).unroll(q_);
    words_.compute_at(draw_, block_).bound_extent(row_, v).vectorize(row_).store_in(MemoryType::Stack);
    sum_.compute_at(out, inner).bound_extent(row_, v).vectorize(row_).store_in(MemoryType::Stack);
    sum_.update().reorder(row_, part_.x, part_.y).vectorize(row_).unroll(part_.x);
  }

 private:
  Var k_{"k"}, q_{"q"}, block_{"block"}, row_{"row"};
  RDom part_;
  Func words_{"words"}, draw_{"draw"}, sum_{"sum"};
};

// scale * (z - shrink * mean(z)), z independent standard normals of one row; where `with_beta` is not 0, one entry of
// each row, any with equal chance, is a Beta(2, 1) draw instead. A row owns one block more than its normals fill: word
// 0 chooses the entry, word 1 is the draw. So rows with and without it agree in all other entries.
class PhiloxCorrelatedRows : public StreamGenerator<PhiloxCorrelatedRows> {
 public:
  Input<float> scale{"scale"}, shrink{"shrink"};
  Input<int32_t> with_beta{"with_beta"};
  Output<Buffer<float, 2>> out{"out"};  // (entries, rows)

  void generate() {
    const Expr entries = out.dim(0).extent(), blocks = (entries + 3) / 4;
    const auto words_at = [&](const Expr& block) {
      return block_words(cast<uint32_t>(row_) * cast<uint32_t>(blocks + 1) + cast<uint32_t>(block));
    };
    const auto draw = [&](Draws d) {
      d.words(block_, row_) = words_at(block_);
      std::vector<Expr> values;
      for (int pair = 0; pair < 4; pair += 2) {
        const NormalPair normal =
            normal_draws(d.words(block_, row_)[pair], d.words(block_, row_)[pair + 1], 0.0F, 0.0F, 1.0F);
        values.push_back(normal.first);
        values.push_back(normal.second);
      }
      d.four(block_, row_) = Tuple(values);
      d.draw(q_, block_, row_) =
          mux(q_, {d.four(block_, row_)[0], d.four(block_, row_)[1], d.four(block_, row_)[2], d.four(block_, row_)[3]});
    };
    draw(summed_);
    // A GPU draws twice, for the sums and for what is stored.
    if (get_target().has_gpu_feature()) {
      draw(stored_);
    } else {
      stored_ = summed_;
    }
    const auto z = [&](const Draws& d, const Expr& k) { return d.draw(k % 4, k / 4, row_); };
    // The sum in parts, whatever the width of a vector: the same bits on every target.
    part_ = RDom(0, (entries + parts - 1) / parts, "part");
    partial_(lane_, row_) = 0.0F;
    const Expr at = part_ * parts + lane_;
    partial_(lane_, row_) += select(at < entries, z(summed_, at), 0.0F);
    shift_(row_) = strict_float(shrink * sum_of_parts(0, parts) / cast<float>(entries));
    own_words_(row_) = words_at(blocks);
    const Expr place = multiply_high(own_words_(row_)[0], cast<uint32_t>(entries), get_target());
    chosen_(row_) = Tuple(cast<int32_t>(place), beta21_draw(own_words_(row_)[1]));
    out(k_, row_) = select(with_beta != 0 && k_ == chosen_(row_)[0], chosen_(row_)[1],
                           strict_float(scale * (z(stored_, k_) - shift_(row_))));
  }

  void schedule() {
    out.dim(0).set_min(0);
    out.dim(1).set_min(0);
    const HardwareFacts facts = hardware_facts(get_target());
    const Var task("task"), inner("inner"), lane("lane"), row("row_in");
    if (get_target().has_gpu_feature()) {
      // A thread per part of a row for the sums, then one per block of four entries, which draws them again. A block's
      // words and draws are held in registers: written out where they are used, they would be millions of expressions.
      // Measured by registers under ptxas.
      const Var x("x"), y("y"), lane_x("lane_x"), lane_y("lane_y");
      partial_.compute_root().gpu_tile(lane_, row_, x, y, lane_x, lane_y, parts, facts.gpu_block_y,
                                       TailStrategy::GuardWithIf);
      partial_.update().gpu_tile(lane_, row_, x, y, lane_x, lane_y, parts, facts.gpu_block_y,
                                 TailStrategy::GuardWithIf);
      for (Func* f : {&summed_.words, &summed_.four}) f->compute_at(partial_, part_).store_in(MemoryType::Register);
      shift_.compute_root().gpu_tile(row_, x, lane_x, facts.gpu_threads, TailStrategy::GuardWithIf);
      chosen_.compute_root().gpu_tile(row_, x, lane_x, facts.gpu_threads, TailStrategy::GuardWithIf);
      own_words_.compute_at(chosen_, lane_x);
      out.split(k_, k_, inner, 4, TailStrategy::GuardWithIf)
          .unroll(inner)
          .gpu_tile(k_, row_, x, y, lane_x, lane_y, facts.gpu_block_x, facts.gpu_block_y, TailStrategy::GuardWithIf);
      for (Func* f : {&stored_.words, &stored_.four}) f->compute_at(out, lane_x).store_in(MemoryType::Register);
      return;
    }
    // Row by row through L1: drawn, summed, shifted and stored. Measured against philox_normal of as many entries, and
    // against std::normal_distribution over std::mt19937.
    const int v = facts.vector_width, lanes = draw_vectors * v;
    const Expr rows = max(1, facts.parallel_grain / max(1, out.dim(0).extent()));
    out.split(row_, task, row, rows, TailStrategy::GuardWithIf)
        .vectorize(k_, v, TailStrategy::GuardWithIf)
        .parallel(task);
    out.specialize(with_beta == 0);
    Func draw = summed_.draw;
    draw.compute_at(out, row).bound(q_, 0, 4).reorder(q_, block_, row_).unroll(q_);
    draw.split(block_, block_, lane, lanes, TailStrategy::RoundUp).reorder(q_, lane, block_, row_).vectorize(lane);
    for (Func* f : {&summed_.words, &summed_.four}) {
      f->compute_at(draw, block_).bound_extent(block_, lanes).vectorize(block_).store_in(MemoryType::Stack);
    }
    partial_.compute_at(out, row).bound_extent(lane_, parts).vectorize(lane_, v).store_in(MemoryType::Stack);
    partial_.update().reorder(lane_, part_, row_).vectorize(lane_, v).unroll(lane_);
    shift_.compute_at(out, row);
    chosen_.compute_at(out, row);
    own_words_.compute_at(out, row);
  }

 private:
  static constexpr int parts = 32;
  Expr sum_of_parts(int first, int count) {
    if (count == 1) return partial_(first, row_);
    return sum_of_parts(first, count / 2) + sum_of_parts(first + count / 2, count / 2);
  }
  // Normals of a row in blocks of four, and the words that they are made of.
  struct Draws {
    Func words{"words"}, four{"four"}, draw{"draw"};
  };
  Var k_{"k"}, q_{"q"}, block_{"block"}, row_{"row"}, lane_{"part_lane"};
  RDom part_;
  Draws summed_, stored_;
  Func partial_{"partial"}, shift_{"shift"}, chosen_{"chosen"}, own_words_{"own_words"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::PhiloxSimplex, philox_simplex)
HALIDE_REGISTER_GENERATOR(kindling::PhiloxCorrelatedRows, philox_correlated_rows)
