// Scatter of a stored matrix in one pass over it: means and variances of every class and feature, and what is made of
// them, scatter between and within classes.
//
// Sums run about the class's first sample, so that neither a large mean nor classes far apart cost digits: about one
// common shift, a spread of 1 within classes 1e4 apart would be lost.
#include <algorithm>

#include "common/grouped_sums.h"

namespace kindling {
namespace {

using namespace Halide;

class StoredScatter : public Generator<StoredScatter> {
 public:
  // Samples as they lie, each added to its class's sums, or class by class, as `sample` lists them, so that sums of one
  // class only are at work: many features and classes have more sums than the first cache holds.
  GeneratorParam<bool> by_class{"by_class", false};
  GeneratorParam<int> group_rows{"group_rows", 960};  // most rows of a group, as class_scatter's
  // by_class: rows added up together, so that a sum is read and written once for all of them and memory is read in as
  // many places. They come one after the other into the sum, so that the number changes no bit.
  GeneratorParam<int> block_rows{"block_rows", 8};

  Input<Buffer<float, 2>> z{"z"};            // (features, batch)
  Input<Buffer<int64_t, 1>> count{"count"};  // (classes), not all 0
  Input<Buffer<int32_t, 1>> first{"first"};  // (classes): a sample of the class; any row for a class without samples
  // (features): mean, total, between, within, between and within weighted by m_c / m.
  Output<Func> criteria{"criteria", {Float(64), Float(64), Float(64), Float(64), Float(64), Float(64)}, 1};
  Output<Func> of_class{"of_class", {Float(64), Float(64)}, 2};  // means, variances: (features, classes)

  void configure() {
    if (by_class) {
      sample_ = add_input<Buffer<int32_t, 1>>("sample");            // (batch), samples, those of a group together
      start_ = add_input<Buffer<int32_t, 1>>("start");              // (groups + 1), where each group of a class starts
      group_class_ = add_input<Buffer<int32_t, 1>>("group_class");  // (groups)
    } else {
      label_ = add_input<Buffer<int32_t, 1>>("label");  // (batch), in [0, classes)
    }
  }

  void generate() {
    const Expr none = cast<double>(0.0F), one = cast<double>(1.0F);
    shift_(m_, k_) = element(first(k_));
    totals_(m_, k_) = Tuple(none, none);
    if (by_class) {
      add_by_class();
    } else {
      add_in_order();
    }

    each_(k_) = one / cast<double>(max(count(k_), cast<int64_t>(1)));  // share of one sample in its class
    const Expr about_shift = totals_(m_, k_)[0] * each_(k_);
    class_(m_, k_) = Tuple(select(count(k_) > 0, cast<double>(shift_(m_, k_)) + about_shift, none),
                           not_negative(totals_(m_, k_)[1] * each_(k_) - about_shift * about_shift));
    of_class = class_;

    c_ = RDom(0, count.dim(0).extent(), "c");
    const Expr present = count(c_) > 0;
    size_() = Tuple(none, none);  // samples, classes that have any
    size_() = Tuple(size_()[0] + cast<double>(count(c_)), size_()[1] + select(present, one, none));
    weight_(k_) = Tuple(cast<double>(count(k_)) / size_()[0], select(count(k_) > 0, one / size_()[1], none));
    const Expr weight = weight_(c_)[0], alike = weight_(c_)[1];  // by samples, and the same for every class
    centre_(m_) = Tuple(none, none);                             // mean of the samples, mean of the class means
    centre_(m_) = Tuple(centre_(m_)[0] + weight * class_(m_, c_)[0], centre_(m_)[1] + alike * class_(m_, c_)[0]);
    const auto squared = [](const Expr& x) { return x * x; };
    spread_(m_) = Tuple(none, none, none, none);
    spread_(m_) = Tuple(spread_(m_)[0] + alike * squared(class_(m_, c_)[0] - centre_(m_)[1]),
                        spread_(m_)[1] + alike * class_(m_, c_)[1],
                        spread_(m_)[2] + weight * squared(class_(m_, c_)[0] - centre_(m_)[0]),
                        spread_(m_)[3] + weight * class_(m_, c_)[1]);
    // The total as the sum of its parts: nothing cancels.
    result_(m_) = Tuple(centre_(m_)[0], spread_(m_)[2] + spread_(m_)[3], spread_(m_)[0], spread_(m_)[1], spread_(m_)[2],
                        spread_(m_)[3]);
    criteria = result_;
  }

  // Measured against reading the matrix once; all behind the totals takes microseconds.
  void schedule() {
    const Expr features = z.dim(0).extent(), classes = count.dim(0).extent();
    z.dim(0).set_min(0);
    z.dim(1).set_min(0);
    if (by_class) {
      sample_->dim(0).set_bounds(0, z.dim(1).extent());
      group_class_->dim(0).set_min(0);
      start_->dim(0).set_bounds(0, group_class_->dim(0).extent() + 1);
    } else {
      label_->dim(0).set_bounds(0, z.dim(1).extent());
    }
    count.dim(0).set_min(0);
    first.dim(0).set_bounds(0, classes);
    class_.output_buffers()[0].dim(0).set_bounds(0, features).dim(1).set_bounds(0, classes);
    result_.output_buffers()[0].dim(0).set_bounds(0, features);
    const Target target = get_target();
    const HardwareFacts facts = hardware_facts(target);
    const Var block("block"), lane("lane");
    totals_.compute_root();
    shift_.compute_root();
    if (target.has_gpu_feature())
      shift_.gpu_tile(m_, block, lane, facts.gpu_threads, TailStrategy::GuardWithIf);
    else
      shift_.vectorize(m_, facts.vector_width, TailStrategy::RoundUp);
    if (by_class) {
      schedule_by_class(facts);
    } else if (target.has_gpu_feature()) {
      sums_.schedule_gpu(facts);
    } else {
      sums_.schedule_cpu(facts, {k_});
    }
    // On the host: a device need not have float64.
    const int doubles = std::max(1, target.natural_vector_size<double>());
    class_.compute_root().vectorize(m_, doubles, TailStrategy::GuardWithIf);
    size_.compute_root();
    each_.compute_root();
    weight_.compute_root();
    result_.split(m_, block, lane, doubles, TailStrategy::GuardWithIf).vectorize(lane);
    for (Func f : {centre_, spread_}) {
      f.compute_at(result_, block);
      f.update().reorder(m_, c_);
    }
  }

 private:
  Expr element(const Expr& row) {
    const Expr batch = z.dim(1).extent();
    return z(feature_in(m_, z.dim(0).extent()), unsafe_promise_clamped(row, 0, batch - 1));
  }

  void add_in_order() {
    const Expr batch = z.dim(1).extent();
    const RDom groups(0, (batch + group_rows - 1) / group_rows, "groups");
    RDom rows(0, group_rows, "rows");
    rows.where(group_ * group_rows + rows < batch);
    const Expr n = row_in(group_, rows, batch, group_rows);
    const Expr c = clamp((*label_)(n), 0, count.dim(0).extent() - 1), value = element(n) - shift_(m_, c);
    Func part("part");
    part(m_, k_, group_) = Tuple(0.0F, 0.0F);
    part(m_, c, group_) = Tuple(part(m_, c, group_)[0] + value, part(m_, c, group_)[1] + value * value);
    add_to_totals(k_, part(m_, k_, groups));
    sums_ = {part, totals_, m_, group_, rows, groups};
  }

  void add_by_class() {
    const Expr batch = z.dim(1).extent(), start = (*start_)(group_);
    const Expr size = (*start_)(group_ + 1) - start, whole = size / block_rows;
    blocks_ = RDom(0, block_rows, 0, group_rows.value() / block_rows.value(), "blocks");
    blocks_.where(blocks_.y < whole);
    rest_ = RDom(0, block_rows - 1, "rest");
    rest_.where(whole * block_rows + rest_ < size);
    const auto class_of = [&](const Expr& g) { return clamp((*group_class_)(g), 0, count.dim(0).extent() - 1); };
    const auto row = [&](const Expr& i) { return (*sample_)(clamp(start + i, 0, batch - 1)); };
    const auto add = [&](const Expr& sample_row) {
      const Expr value = element(sample_row) - shift_(m_, class_of(group_));
      part_(m_, group_) = Tuple(part_(m_, group_)[0] + value, part_(m_, group_)[1] + value * value);
    };
    row_(u_, y_, group_) = row(y_ * block_rows + u_);
    part_(m_, group_) = Tuple(0.0F, 0.0F);
    add(row_(blocks_.x, blocks_.y, group_));
    add(row(whole * block_rows + rest_));
    of_group_(m_, group_) = part_(m_, group_);
    groups_ = RDom(0, group_class_->dim(0).extent(), "groups");
    add_to_totals(class_of(groups_), of_group_(m_, groups_));
  }

  void add_to_totals(const Expr& c, const FuncRef& sums) {
    totals_(m_, c) = Tuple(totals_(m_, c)[0] + cast<double>(sums[0]), totals_(m_, c)[1] + cast<double>(sums[1]));
  }

  // A task is one group of a class; its sums stay in the first cache.
  void schedule_by_class(const HardwareFacts& facts) {
    const Var block("block"), lane("lane");
    if (get_target().has_gpu_feature()) {
      part_.compute_root().gpu_tile(m_, block, lane, facts.gpu_threads, TailStrategy::GuardWithIf).gpu_blocks(group_);
      for (int i = 0; i < 2; ++i) {
        part_.update(i).split(m_, block, lane, facts.gpu_threads, TailStrategy::GuardWithIf);
        part_.update(i).gpu_blocks(block, group_).gpu_threads(lane);
      }
      part_.update(0).reorder(blocks_.x, blocks_.y, lane, block, group_);
      part_.update(1).reorder(rest_, lane, block, group_);
      return;
    }
    const int v = facts.vector_width;
    totals_.update().reorder(m_, groups_).vectorize(m_, v, TailStrategy::GuardWithIf);
    of_group_.compute_root().vectorize(m_, v, TailStrategy::RoundUp).parallel(group_);
    part_.compute_at(of_group_, group_).vectorize(m_, v, TailStrategy::RoundUp);
    part_.update(0)
        .split(m_, block, lane, v, TailStrategy::RoundUp)
        .reorder(lane, blocks_.x, block, blocks_.y)
        .vectorize(lane)
        .unroll(blocks_.x);
    part_.update(1).split(m_, block, lane, v, TailStrategy::RoundUp).reorder(lane, block, rest_).vectorize(lane);
    row_.compute_at(part_, blocks_.y).store_in(MemoryType::Stack).bound_extent(u_, block_rows).unroll(u_);
  }

  Var m_{"m"}, k_{"k"}, u_{"u"}, y_{"y"}, group_{"group"};
  GeneratorInput<Buffer<int32_t, 1>>*label_ = nullptr, *sample_ = nullptr, *start_ = nullptr, *group_class_ = nullptr;
  RDom blocks_, rest_, groups_, c_;
  GroupedSums sums_;
  Func row_{"row"}, part_{"part"}, of_group_{"of_group"}, totals_{"totals"}, shift_{"shift"}, class_{"class"},
      size_{"size"}, each_{"each"}, weight_{"weight"}, centre_{"centre"}, spread_{"spread"}, result_{"result"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::StoredScatter, stored_scatter)
