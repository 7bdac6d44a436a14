// Sums of the Gaussian kernel K_ij = exp(-|x_i - y_j|^2 / (2 gamma^2)) over pairs of rows, their gradients, and the
// squared maximum mean discrepancy made of them (Gretton et al., "A kernel two-sample test", JMLR 2012), for one
// problem or many at once. No problem's matrix of kernel values is ever stored.
#include "common/gaussian_sums.h"

namespace kindling {
namespace {

using namespace Halide;

const std::map<std::string, PairTile::Form> forms = {{"difference", PairTile::Form::difference},
                                                     {"contraction", PairTile::Form::contraction}};

using Matrices = Buffer<float, 3>;  // (d, rows, problems)

PairTile::Element element_of(const Func& f) {
  return [f](const Expr& k, const Expr& i, const Expr& p) { return f(k, i, p); };
}

template <class In>
void bound_rows(In& x, const Expr& depth, const Expr& problems) {
  x.dim(0).set_bounds(0, depth);
  x.dim(1).set_min(0);
  x.dim(2).set_bounds(0, problems);
}

class GaussianGramSum : public Generator<GaussianGramSum> {
 public:
  GeneratorParam<PairTile::Form> form{"form", PairTile::Form::difference, forms};

  Input<Matrices> x{"x"}, y{"y"};                // (d, n, problems), (d, m, problems)
  Input<Buffer<float, 1>> scale{"scale"};        // (problems), log2(e) / (2 gamma^2)
  Output<Buffer<double, 2>> row_sum{"row_sum"};  // (n, problems)
  Output<Buffer<double, 1>> total{"total"};      // (problems)

  void generate() {
    const bool gpu = get_target().has_gpu_feature();
    const HardwareFacts facts = hardware_facts(get_target());
    const Expr n = x.dim(1).extent(), m = y.dim(1).extent();
    centre_ = Centre("centre", m, element_of(y));
    sums_ = KernelRowSums("sums", facts, gpu, form, KernelRowSums::Half::no,
                          {x.dim(0).extent(), n, m, element_of(x), element_of(y), centre_.mean()},
                          [&](const Expr& p) { return scale(p); });
    row_sum(i_, p_) = sums_.sums(i_, p_);
    const RDom rows(0, n, "rows");
    total(p_) += row_sum(rows, p_);
  }

  void schedule() {
    const bool gpu = get_target().has_gpu_feature();
    const Expr problems = scale.dim(0).extent();
    scale.dim(0).set_min(0);
    bound_rows(x, x.dim(0).extent(), problems);
    bound_rows(y, x.dim(0).extent(), problems);
    row_sum.dim(0).set_bounds(0, x.dim(1).extent());
    row_sum.dim(1).set_bounds(0, problems);
    total.dim(0).set_bounds(0, problems);
    if (form == PairTile::Form::contraction) centre_.schedule(gpu, hardware_facts(get_target()));
    gpu ? sums_.schedule_gpu() : sums_.schedule_cpu();
  }

 private:
  Var i_{"i"}, p_{"p"};
  Centre centre_;
  KernelRowSums sums_;
};

// Of f = sum_ij a_i b_j K_ij: the row sums r_i = sum_j b_j K_ij, f itself, and df/dx_i, which needs sum_j b_j K_ij y_j
// beside r_i. Taken about the columns' mean, or its difference would cancel for points far from the origin.
class GaussianGramGradient : public Generator<GaussianGramGradient> {
 public:
  GeneratorParam<PairTile::Form> form{"form", PairTile::Form::difference, forms};

  Input<Matrices> x{"x"}, y{"y"};                 // (d, n, problems), (d, m, problems)
  Input<Buffer<float, 2>> a{"a"}, b{"b"};         // (n, problems), (m, problems)
  Input<Buffer<float, 1>> scale{"scale"};         // (problems), log2(e) / (2 gamma^2)
  Input<Buffer<float, 1>> factor{"factor"};       // (problems), -1 / gamma^2
  Output<Buffer<double, 2>> row_sum{"row_sum"};   // (n, problems)
  Output<Buffer<double, 1>> total{"total"};       // (problems)
  Output<Buffer<float, 3>> gradient{"gradient"};  // (d, n, problems)

  void generate() {
    const bool gpu = get_target().has_gpu_feature();
    const HardwareFacts facts = hardware_facts(get_target());
    const Expr d = x.dim(0).extent(), n = x.dim(1).extent(), m = y.dim(1).extent();
    centre_ = Centre("centre", m, element_of(y));
    const Func mean = centre_.mean();
    const auto weight = [&](const Expr& j, const Expr& p) { return b(j, p); };
    moments_ = KernelMoments("moments", facts, gpu, form, {d, n, m, element_of(x), element_of(y), mean},
                             [&](const Expr& p) { return scale(p); }, weight, {weight});
    const Func& s = moments_.sums;
    row_sum(i_, p_) = cast<double>(s(d, i_, p_));
    const RDom rows(0, n, "rows");
    total(p_) += cast<double>(a(rows, p_)) * row_sum(rows, p_);
    gradient(k_, i_, p_) = factor(p_) * a(i_, p_) * ((x(k_, i_, p_) - mean(k_, p_)) * s(d, i_, p_) - s(k_, i_, p_));
  }

  void schedule() {
    const bool gpu = get_target().has_gpu_feature();
    const HardwareFacts facts = hardware_facts(get_target());
    const Expr problems = scale.dim(0).extent(), n = x.dim(1).extent();
    scale.dim(0).set_min(0);
    factor.dim(0).set_bounds(0, problems);
    bound_rows(x, x.dim(0).extent(), problems);
    bound_rows(y, x.dim(0).extent(), problems);
    a.dim(0).set_bounds(0, n);
    a.dim(1).set_bounds(0, problems);
    b.dim(0).set_bounds(0, y.dim(1).extent());
    b.dim(1).set_bounds(0, problems);
    row_sum.dim(0).set_bounds(0, n);
    row_sum.dim(1).set_bounds(0, problems);
    total.dim(0).set_bounds(0, problems);
    gradient.dim(0).set_bounds(0, x.dim(0).extent());
    gradient.dim(1).set_bounds(0, n);
    gradient.dim(2).set_bounds(0, problems);
    centre_.schedule(gpu, facts);
    gpu ? moments_.schedule_gpu() : moments_.schedule_cpu();
    schedule_gradient(gradient, k_, i_, p_, get_target());
  }

  static void schedule_gradient(Func f, const Var& k, const Var& i, const Var& p, const Target& target) {
    const HardwareFacts facts = hardware_facts(target);
    const Var block("block"), thread("thread"), kb("kb"), kt("kt"), rows("rows");
    if (target.has_gpu_feature()) {
      f.gpu_tile(k, i, kb, block, kt, thread, facts.gpu_block_x, facts.gpu_block_y, TailStrategy::GuardWithIf);
      f.gpu_blocks(p);
    } else {
      f.split(i, rows, i, facts.in_place_rows, TailStrategy::GuardWithIf).parallel(rows).parallel(p);
      f.vectorize(k, facts.vector_width, TailStrategy::GuardWithIf);
    }
  }

 private:
  Var i_{"i"}, k_{"k"}, p_{"p"};
  Centre centre_;
  KernelMoments moments_;
};

// Per problem: the sums of K(u, u), K(u, v) and K(v, v) over all pairs, and the gradient with respect to u of
// own sum K(u, u) + 2 other sum K(u, v). The columns of u's rows are u and v, pooled.
class MmdSquared : public Generator<MmdSquared> {
 public:
  GeneratorParam<PairTile::Form> form{"form", PairTile::Form::difference, forms};

  Input<Matrices> u{"u"}, v{"v"};            // (d, n, problems), (d, m, problems)
  Input<Buffer<float, 1>> scale{"scale"};    // (problems), log2(e) / (2 gamma^2)
  Input<Buffer<float, 1>> factor{"factor"};  // (problems), -2 / gamma^2
  Input<float> own{"own"}, other{"other"};
  Output<Buffer<double, 2>> sums{"sums"};         // (3, problems)
  Output<Buffer<float, 3>> gradient{"gradient"};  // (d, n, problems)

  void generate() {
    const bool gpu = get_target().has_gpu_feature();
    const HardwareFacts facts = hardware_facts(get_target());
    const Expr d = u.dim(0).extent(), n = u.dim(1).extent(), m = v.dim(1).extent();
    const auto pooled = [&](const Expr& k, const Expr& j, const Expr& p) {
      return select(j < n, u(k, min(j, n - 1), p), v(k, clamp(j - n, 0, m - 1), p));
    };
    centre_ = Centre("centre", m, element_of(v));
    const Func mean = centre_.mean();
    const auto s = [&](const Expr& p) { return scale(p); };
    const auto weight = [&](const Expr& j, const Expr&) { return select(j < n, own, other); };
    moments_ = KernelMoments("moments", facts, gpu, form, {d, n, n + m, element_of(u), pooled, mean}, s, weight,
                             {[&](const Expr& j, const Expr&) { return select(j < n, 1.0F, 0.0F); },
                              [&](const Expr& j, const Expr&) { return select(j < n, 0.0F, 1.0F); }});
    fixed_ = KernelRowSums("fixed", facts, gpu, form, KernelRowSums::Half::upper,
                           {d, m, m, element_of(v), element_of(v), mean}, s);
    const Func& f = moments_.sums;
    const RDom over_u(0, n, "over_u"), over_v(0, m, "over_v");
    sums(which_, p_) = undef<double>();
    for (int w = 0; w < 2; ++w) {
      within_[w] = Func("within" + std::to_string(w));
      within_[w](p_) += cast<double>(f(d + w, over_u, p_));
      sums(w, p_) = within_[w](p_);
    }
    within_[2] = Func("within2");
    within_[2](p_) += fixed_.sums(over_v, p_);
    sums(2, p_) = within_[2](p_);
    gradient(k_, i_, p_) =
        factor(p_) * ((u(k_, i_, p_) - mean(k_, p_)) * (own * f(d, i_, p_) + other * f(d + 1, i_, p_)) - f(k_, i_, p_));
  }

  void schedule() {
    const bool gpu = get_target().has_gpu_feature();
    const Expr problems = scale.dim(0).extent(), d = u.dim(0).extent();
    scale.dim(0).set_min(0);
    factor.dim(0).set_bounds(0, problems);
    bound_rows(u, d, problems);
    bound_rows(v, d, problems);
    sums.dim(0).set_bounds(0, 3);
    sums.dim(1).set_bounds(0, problems);
    gradient.dim(0).set_bounds(0, d);
    gradient.dim(1).set_bounds(0, u.dim(1).extent());
    gradient.dim(2).set_bounds(0, problems);
    centre_.schedule(gpu, hardware_facts(get_target()));
    for (Func& f : within_) f.compute_root();
    if (gpu) {
      moments_.schedule_gpu();
      fixed_.schedule_gpu();
    } else {
      moments_.schedule_cpu();
      fixed_.schedule_cpu();
    }
    GaussianGramGradient::schedule_gradient(gradient, k_, i_, p_, get_target());
  }

 private:
  Var i_{"i"}, k_{"k"}, p_{"p"}, which_{"which"};
  Func within_[3];
  Centre centre_;
  KernelMoments moments_;
  KernelRowSums fixed_;
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::GaussianGramSum, gaussian_gram_sum)
HALIDE_REGISTER_GENERATOR(kindling::GaussianGramGradient, gaussian_gram_gradient)
HALIDE_REGISTER_GENERATOR(kindling::MmdSquared, mmd_squared)
