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
  GeneratorParam<int> group_rows{"group_rows", 960};  // as class_scatter's

  Input<Buffer<float, 2>> z{"z"};            // (features, batch)
  Input<Buffer<int32_t, 1>> label{"label"};  // (batch), in [0, classes)
  Input<Buffer<int64_t, 1>> count{"count"};  // (classes), not all 0
  Input<Buffer<int32_t, 1>> first{"first"};  // (classes): a sample of the class; any row for a class without samples
  // (features): mean, total, between, within, between and within weighted by m_c / m.
  Output<Func> criteria{"criteria", {Float(64), Float(64), Float(64), Float(64), Float(64), Float(64)}, 1};
  Output<Func> of_class{"of_class", {Float(64), Float(64)}, 2};  // means, variances: (features, classes)

  void generate() {
    const Expr batch = z.dim(1).extent(), none = cast<double>(0.0F), one = cast<double>(1.0F);
    shift_(m_, k_) = z(feature_in(m_, z.dim(0).extent()), clamp(first(k_), 0, batch - 1));

    const RDom groups(0, (batch + group_rows - 1) / group_rows, "groups");
    const Var group("group");
    RDom rows(0, group_rows, "rows");
    rows.where(group * group_rows + rows < batch);
    const Expr n = row_in(group, rows, batch, group_rows);
    const Expr c = clamp(label(n), 0, count.dim(0).extent() - 1);
    const Expr value = z(feature_in(m_, z.dim(0).extent()), n) - shift_(m_, c);
    Func part("part"), totals("totals");
    part(m_, k_, group) = Tuple(0.0F, 0.0F);
    part(m_, c, group) = Tuple(part(m_, c, group)[0] + value, part(m_, c, group)[1] + value * value);
    totals(m_, k_) = Tuple(none, none);
    const FuncRef sums = part(m_, k_, groups);
    totals(m_, k_) = Tuple(totals(m_, k_)[0] + cast<double>(sums[0]), totals(m_, k_)[1] + cast<double>(sums[1]));
    sums_ = {part, totals, m_, group, rows, groups};

    each_(k_) = one / cast<double>(max(count(k_), cast<int64_t>(1)));  // share of one sample in its class
    const Expr about_shift = totals(m_, k_)[0] * each_(k_);
    class_(m_, k_) = Tuple(select(count(k_) > 0, cast<double>(shift_(m_, k_)) + about_shift, none),
                           not_negative(totals(m_, k_)[1] * each_(k_) - about_shift * about_shift));
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
    label.dim(0).set_bounds(0, z.dim(1).extent());
    count.dim(0).set_min(0);
    first.dim(0).set_bounds(0, classes);
    class_.output_buffers()[0].dim(0).set_bounds(0, features).dim(1).set_bounds(0, classes);
    result_.output_buffers()[0].dim(0).set_bounds(0, features);
    const Target target = get_target();
    const HardwareFacts facts = hardware_facts(target);
    sums_.totals.compute_root();
    shift_.compute_root();
    if (target.has_gpu_feature()) {
      const Var block("block"), thread("thread");
      shift_.gpu_tile(m_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
      sums_.schedule_gpu(facts);
    } else {
      sums_.schedule_cpu(facts, {k_});
    }
    // On the host: a device need not have float64.
    const Var block("block"), lane("lane");
    const int v = std::max(1, target.natural_vector_size<double>());
    class_.compute_root().vectorize(m_, v, TailStrategy::GuardWithIf);
    size_.compute_root();
    each_.compute_root();
    weight_.compute_root();
    result_.split(m_, block, lane, v, TailStrategy::GuardWithIf).vectorize(lane);
    for (Func f : {centre_, spread_}) {
      f.compute_at(result_, block);
      f.update().reorder(m_, c_);
    }
  }

 private:
  Var m_{"m"}, k_{"k"};
  RDom c_;
  GroupedSums sums_;
  Func shift_{"shift"}, class_{"class"}, size_{"size"}, each_{"each"}, weight_{"weight"}, centre_{"centre"},
      spread_{"spread"}, result_{"result"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::StoredScatter, stored_scatter)
