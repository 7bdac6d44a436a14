// Standardisation and row gathering of inputs; moments of stored matrices over samples, per feature and per class; the
// scatter criteria made of them.
//
// Sums over samples run over groups of fixed size in float32 and over the groups, in their order, in float64: neither
// threads nor the division of the data into calls at multiples of the group changes a bit.
#include "common/elementwise.h"
#include "common/grouped_sums.h"

namespace kindling {
namespace {

using namespace Halide;

// A pixel stands for byte / 255, any other number for itself.
Expr as_value(const Expr& x) { return x.type().is_uint() ? cast<float>(x) * (1.0F / 255.0F) : x; }

class Standardize : public Generator<Standardize> {
 public:
  GeneratorParam<bool> gather{"gather", false};

  Input<Buffer<void, 2>> x{"x"};                                     // (features, rows), float32 or uint8
  Input<Buffer<float, 1>> mean{"mean"}, inverse_std{"inverse_std"};  // (features)
  Output<Buffer<float, 2>> y{"y"};                                   // (features, batch)

  bool allow_out_of_order_inputs_and_outputs() const override { return true; }  // index goes before y

  void configure() {
    if (gather) index_ = add_input<Buffer<int32_t, 1>>("index");  // (batch), in [0, rows)
  }

  void generate() {
    Expr row = n_;
    if (gather) row = clamp((*index_)(n_), 0, x.dim(1).extent() - 1);
    y(k_, n_) = (as_value(x(k_, row)) - mean(k_)) * inverse_std(k_);
  }

  void schedule() {
    const Expr features = y.dim(0).extent();
    y.dim(0).set_min(0);
    y.dim(1).set_min(0);
    x.dim(0).set_bounds(0, features);
    x.dim(1).set_min(0);
    if (gather) index_->dim(0).set_bounds(0, y.dim(1).extent());
    mean.dim(0).set_bounds(0, features);
    inverse_std.dim(0).set_bounds(0, features);
    schedule_matrix(Func(y), k_, n_, features, get_target());
  }

 private:
  GeneratorInput<Buffer<int32_t, 1>>* index_ = nullptr;
  Var k_{"k"}, n_{"n"};
};

class ClassScatter : public Generator<ClassScatter> {
 public:
  // The same groups as dense_moments; runtime/kernels/dense.h tells it to callers.
  GeneratorParam<int> group_rows{"group_rows", 960};

  Input<Buffer<float, 2>> z{"z"};                              // (features, batch)
  Input<Buffer<int32_t, 1>> label{"label"};                    // (batch)
  Input<Buffer<float, 1>> shift{"shift"};                      // (features)
  Output<Func> moments{"moments", {Float(64), Float(64)}, 2};  // sums, sums of squares: (features, classes), added to

  void generate() {
    const Expr batch = z.dim(1).extent();
    Func totals("totals"), part("part");
    totals(m_, klass_) = Tuple(undef<double>(), undef<double>());
    const RDom rows(0, group_rows, "rows"), groups(0, (batch + group_rows - 1) / group_rows, "groups");
    const Var group("group");
    RDom inside = rows;
    inside.where(group * group_rows + inside < batch);
    const Expr n = row_in(group, inside, batch, group_rows);
    const Expr c = clamp(label(n), 0, totals.output_buffers()[0].dim(1).extent() - 1);
    const Expr m = feature_in(m_, z.dim(0).extent());
    const Expr value = z(m, n) - shift(m);
    part(m_, klass_, group) = Tuple(0.0F, 0.0F);
    part(m_, c, group) = Tuple(part(m_, c, group)[0] + value, part(m_, c, group)[1] + value * value);
    const FuncRef sums = part(m_, klass_, groups);
    totals(m_, klass_) =
        Tuple(totals(m_, klass_)[0] + cast<double>(sums[0]), totals(m_, klass_)[1] + cast<double>(sums[1]));
    moments = totals;
    sums_ = {part, totals, m_, group, inside, groups};
  }

  void schedule() {
    const Expr features = z.dim(0).extent();
    z.dim(0).set_min(0);
    z.dim(1).set_min(0);
    label.dim(0).set_bounds(0, z.dim(1).extent());
    shift.dim(0).set_bounds(0, features);
    sums_.totals.output_buffers()[0].dim(0).set_bounds(0, features).dim(1).set_min(0);
    const HardwareFacts facts = hardware_facts(get_target());
    if (get_target().has_gpu_feature()) {
      sums_.schedule_gpu(facts);
    } else {
      sums_.schedule_cpu(facts, {klass_});
    }
  }

 private:
  Var m_{"m"}, klass_{"klass"};
  GroupedSums sums_;
};

class ColumnMean : public Generator<ColumnMean> {
 public:
  GeneratorParam<int> group_rows{"group_rows", 960};

  Input<Buffer<float, 2>> x{"x"};         // (features, batch), batch >= 1
  Output<Buffer<float, 1>> mean{"mean"};  // (features)

  void generate() {
    const Expr batch = x.dim(1).extent();
    const Var group("group");
    const RDom groups(0, (batch + group_rows - 1) / group_rows, "groups");
    RDom rows(0, group_rows, "rows");
    rows.where(group * group_rows + rows < batch);
    Func part("part"), totals("totals");
    part(k_, group) += x(feature_in(k_, x.dim(0).extent()), row_in(group, rows, batch, group_rows));
    totals(k_) += cast<double>(part(k_, groups));
    mean(k_) = cast<float>(totals(k_) / batch);
    sums_ = {part, totals, k_, group, rows, groups};
  }

  void schedule() {
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    mean.dim(0).set_bounds(0, x.dim(0).extent());
    sums_.totals.compute_root();
    const HardwareFacts facts = hardware_facts(get_target());
    if (get_target().has_gpu_feature()) {
      sums_.schedule_gpu(facts);
    } else {
      sums_.schedule_cpu(facts, {});
    }
  }

 private:
  Var k_{"k"};
  GroupedSums sums_;
};

class FeatureMoments : public Generator<FeatureMoments> {
 public:
  GeneratorParam<int> group_rows{"group_rows", 960};

  Input<Buffer<void, 2>> x{"x"};                               // (features, batch), float32 or uint8; batch >= 1
  Output<Func> moments{"moments", {Float(64), Float(64)}, 1};  // mean, variance: (features)

  void generate() {
    const Expr batch = x.dim(1).extent(), first_rows = min(batch, group_rows);
    // About the mean of the first group, so that the sum of squares does not cancel.
    first_ = RDom(0, first_rows, "first");
    first_sum_(k_) += as_value(x(k_, first_));
    const Expr shift = first_sum_(k_) / cast<float>(first_rows);

    const Var group("group");
    const RDom groups(0, (batch + group_rows - 1) / group_rows, "groups");
    RDom rows(0, group_rows, "rows");
    rows.where(group * group_rows + rows < batch);
    const Expr value = as_value(x(feature_in(k_, x.dim(0).extent()), row_in(group, rows, batch, group_rows))) - shift;
    Func part("part"), totals("totals");
    part(k_, group) = Tuple(0.0F, 0.0F);
    part(k_, group) = Tuple(part(k_, group)[0] + value, part(k_, group)[1] + value * value);
    totals(k_) = Tuple(cast<double>(0.0F), cast<double>(0.0F));
    const FuncRef sums = part(k_, groups);
    totals(k_) = Tuple(totals(k_)[0] + cast<double>(sums[0]), totals(k_)[1] + cast<double>(sums[1]));
    const Expr mean = totals(k_)[0] / batch;
    const Expr variance = totals(k_)[1] / batch - mean * mean;
    result_(k_) = Tuple(cast<double>(shift) + mean, not_negative(variance));
    moments = result_;
    sums_ = {part, totals, k_, group, rows, groups};
  }

  void schedule() {
    const HardwareFacts facts = hardware_facts(get_target());
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    result_.output_buffers()[0].dim(0).set_bounds(0, x.dim(0).extent());
    sums_.totals.compute_root();
    first_sum_.compute_root();
    if (get_target().has_gpu_feature()) {
      const Var block("block"), thread("thread");
      first_sum_.gpu_tile(k_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
      first_sum_.update().gpu_tile(k_, block, thread, facts.gpu_threads, TailStrategy::GuardWithIf);
      sums_.schedule_gpu(facts);
    } else {
      const Var inner("inner"), block("block");
      first_sum_.vectorize(k_, facts.vector_width);
      first_sum_.update()
          .split(k_, block, inner, facts.vector_width, TailStrategy::GuardWithIf)
          .reorder(inner, block, first_)
          .vectorize(inner);
      sums_.schedule_cpu(facts, {});
    }
  }

 private:
  Var k_{"k"};
  RDom first_;
  Func first_sum_{"first_sum"}, result_{"result"};
  GroupedSums sums_;
};

// Small and float64: on a device that has it, else on the host.
class ScatterCriteria : public Generator<ScatterCriteria> {
 public:
  Input<Buffer<int64_t, 1>> count{"count"};             // (classes), samples of each
  Input<Buffer<double, 2>> sum{"sum"};                  // (features, classes), of z - shift
  Input<Buffer<double, 2>> sum_squares{"sum_squares"};  // (features, classes)
  Input<Buffer<float, 1>> shift{"shift"};               // (features)
  // (features): mean, total, between, within, between and within weighted by m_c / m.
  Output<Func> criteria{"criteria", {Float(64), Float(64), Float(64), Float(64), Float(64), Float(64)}, 1};
  Output<Buffer<double, 2>> class_mean{"class_mean"};  // (features, classes)

  void generate() {
    c_ = RDom(0, count.dim(0).extent(), "c");
    const Expr none = cast<double>(0.0F);
    const auto present = [&](const Expr& c) { return count(c) > 0; };
    const auto samples = [&](const Expr& c) { return cast<double>(max(count(c), cast<int64_t>(1))); };
    // About the shift, not about zero, all through: only the means that are reported have it added.
    centre_(m_, k_) = select(present(k_), sum(m_, k_) / samples(k_), none);
    spread_(m_, k_) =
        select(present(k_), not_negative(sum_squares(m_, k_) / samples(k_) - centre_(m_, k_) * centre_(m_, k_)), none);

    size_() = Tuple(none, none);  // samples, classes that have any
    size_() = Tuple(size_()[0] + cast<double>(count(c_)), size_()[1] + select(present(c_), cast<double>(1.0F), none));
    const Expr m = size_()[0], classes = size_()[1];

    first_(m_) = Tuple(none, none, none);
    first_(m_) =
        Tuple(first_(m_)[0] + sum(m_, c_), first_(m_)[1] + centre_(m_, c_), first_(m_)[2] + sum_squares(m_, c_));
    const Expr mean = first_(m_)[0] / m, mean_of_means = first_(m_)[1] / classes;

    second_(m_) = Tuple(none, none, none, none);
    const Expr weight = cast<double>(count(c_)) / m;
    const auto squared = [](const Expr& x) { return x * x; };
    second_(m_) = Tuple(second_(m_)[0] + select(present(c_), squared(centre_(m_, c_) - mean_of_means), none),
                        second_(m_)[1] + spread_(m_, c_), second_(m_)[2] + weight * squared(centre_(m_, c_) - mean),
                        second_(m_)[3] + weight * spread_(m_, c_));
    result_(m_) = Tuple(cast<double>(shift(m_)) + mean, not_negative(first_(m_)[2] / m - mean * mean),
                        second_(m_)[0] / classes, second_(m_)[1] / classes, second_(m_)[2], second_(m_)[3]);
    criteria = result_;
    class_mean(m_, k_) = cast<double>(shift(m_)) + centre_(m_, k_);
  }

  // Nothing to measure: microseconds after a pass over all samples.
  void schedule() {
    const Expr features = sum.dim(0).extent(), classes = count.dim(0).extent();
    count.dim(0).set_min(0);
    sum.dim(0).set_min(0);
    sum.dim(1).set_bounds(0, classes);
    sum_squares.dim(0).set_bounds(0, features);
    sum_squares.dim(1).set_bounds(0, classes);
    shift.dim(0).set_bounds(0, features);
    result_.output_buffers()[0].dim(0).set_bounds(0, features);
    class_mean.dim(0).set_bounds(0, features);
    class_mean.dim(1).set_bounds(0, classes);
    const Target target = get_target();
    const Var block("block"), lane("lane");
    size_.compute_root();
    if (target.has_gpu_feature() && target.supports_type(Float(64), target.get_required_device_api())) {
      const int threads = hardware_facts(target).gpu_threads;
      result_.gpu_tile(m_, block, lane, threads, TailStrategy::GuardWithIf);
      first_.compute_at(result_, lane);
      second_.compute_at(result_, lane);
      class_mean.gpu_tile(m_, block, lane, threads, TailStrategy::GuardWithIf);
      return;
    }
    const int v = std::max(1, target.natural_vector_size<double>());
    result_.split(m_, block, lane, v, TailStrategy::GuardWithIf).vectorize(lane);
    for (Func f : {first_, second_}) {
      f.compute_at(result_, block);
      f.update().reorder(m_, c_);
    }
    class_mean.vectorize(m_, v, TailStrategy::GuardWithIf);
  }

 private:
  Var m_{"m"}, k_{"k"};
  RDom c_;
  Func centre_{"centre"}, spread_{"spread"}, size_{"size"}, first_{"first"}, second_{"second"}, result_{"result"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::Standardize, standardize)
HALIDE_REGISTER_GENERATOR(kindling::ClassScatter, class_scatter)
HALIDE_REGISTER_GENERATOR(kindling::ColumnMean, column_mean)
HALIDE_REGISTER_GENERATOR(kindling::FeatureMoments, feature_moments)
HALIDE_REGISTER_GENERATOR(kindling::ScatterCriteria, scatter_criteria)
