// Hessian-vector products and what is made of them, see include/kindling/curvature.h and docs/curvature.md.
#include <kindling/curvature.h>

#include "kernels/jacobian.h"
#include "theory/curvature_state.h"
#include "theory/lanczos.h"

namespace kindling {

LossCurvature::LossCurvature(const Model& model, ConstTensorView x, const LossTarget& target, const Context& context)
    : state_(std::make_unique<State>(model, x, target, context)) {}
LossCurvature::~LossCurvature() = default;
LossCurvature::LossCurvature(LossCurvature&&) noexcept = default;
LossCurvature& LossCurvature::operator=(LossCurvature&&) noexcept = default;

const Model& LossCurvature::model() const { return *state_->model; }
std::int64_t LossCurvature::samples() const { return state_->samples(); }
double LossCurvature::loss() const { return state_->loss; }
std::int64_t LossCurvature::size(const HessianBlock& block) const { return state_->size(block); }

void LossCurvature::gradient(const HessianBlock& block, std::span<float> result) {
  state_->enter();
  state_->gradient(block, result);
}

void LossCurvature::product(const HessianBlock& block, std::span<const float> direction, std::span<float> result,
                            HessianKind kind) {
  state_->enter();
  state_->product(block, direction, result, kind);
}

double LossCurvature::form(const HessianBlock& block, std::span<const float> direction, HessianKind kind) {
  state_->enter();
  if (kind == HessianKind::gauss_newton) return state_->gauss_newton_form(block, direction);
  Tensor result({static_cast<std::int64_t>(direction.size())});
  if (direction.empty()) return 0;
  kernels::Residency residency(state_->exec);
  residency.keep(kernels::Residency::Role::scratch, result);
  state_->product(block, direction, result.flat(), kind);
  return dot(state_->exec, direction, result.flat());
}

ExtremeEigenvalues extreme_eigenvalues(LossCurvature& curvature, const HessianBlock& block,
                                       const LanczosOptions& options, const Context& context) {
  const std::uint32_t unit = block.layers.empty() ? 0 : static_cast<std::uint32_t>(block.layers.front());
  curvature.state().enter();
  return lanczos(
      curvature.state().exec, curvature.size(block),
      [&](std::span<const float> v, std::span<float> result) { curvature.product(block, v, result, options.kind); },
      options, {context.seed, Purpose::search, unit, 1U << 20U}, context);
}

}  // namespace kindling
