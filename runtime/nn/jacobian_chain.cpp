#include "nn/jacobian_chain.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/dense.h"
#include "kernels/scatter.h"
#include "nn/forward_pass.h"
#include "nn/jacobian.h"

namespace kindling {

JacobianChain::JacobianChain(std::string_view caller, const Model& model, ConstTensorView x,
                             const kernels::Execution& execution)
    : model_(&model), execution_(execution), x_(x.matrix()), residency_(execution) {
  if (model.layers().empty()) throw Error(ErrorCode::usage, fmt::format("{}: the model has no layers", caller));
  for (const Layer& layer : model.layers()) {
    if (layer.kind != LayerKind::dense) {
      throw Error(ErrorCode::usage,
                  fmt::format("{}: expected dense layers, found {}, which is none", caller, layer.name));
    }
  }
  if (x.rank() < 1 || x.cols() != model.inputs()) {
    throw Error(ErrorCode::usage, fmt::format("{}: the model takes {} inputs, found rows of {}", caller, model.inputs(),
                                              x.rank() < 1 ? 0 : x.cols()));
  }
  residency_.keep(kernels::Residency::Role::input, x_);
  keep_parameters(residency_, model);
  ConstTensorView from = x_;
  for (std::int64_t l = 0; l + 1 < depth(); ++l) {
    Tensor to({samples(), layer(l).fan_out()});
    residency_.keep(kernels::Residency::Role::scratch, to);
    kernels::dense_forward(execution, from, weight(l), layer(l).bias.flat(), layer(l).activation, to);
    outputs_.push_back(std::move(to));
    from = outputs_.back().view();
  }
  lists_.resize(model.layers().size());
  for (std::int64_t l = 1; l < depth(); ++l) list_active_units(l);
}

void JacobianChain::list_active_units(std::int64_t l) {
  // A device gains nothing from lists: their loads are scattered.
  if (execution_.target->gpu || layer(l - 1).activation.kind != ActivationKind::relu || samples() == 0) return;
  Lists lists;
  lists.index.resize(static_cast<std::size_t>(samples() * width(l)));
  lists.count.resize(static_cast<std::size_t>(samples()));
  kernels::active_units(execution_, below(l).y, lists.index, lists.count);
  std::int64_t active = 0;
  for (const std::int32_t c : lists.count) active += c;
  // The tile holds rows of one sample, about five: what they do not fill is lost.
  constexpr std::int64_t tile_rows = 5;
  const auto computed = static_cast<double>((outputs() + tile_rows - 1) / tile_rows * tile_rows * active);
  if (computed < 0.85 * static_cast<double>(outputs() * samples() * width(l))) {
    lists_[static_cast<std::size_t>(l)] = std::move(lists);
  }
}

kernels::ActiveUnits JacobianChain::active(std::int64_t l, std::int64_t first, std::int64_t count) const {
  const Lists& lists = lists_[static_cast<std::size_t>(l)];
  if (lists.index.empty()) return {};
  return {std::span(lists.index)
              .subspan(static_cast<std::size_t>(first * width(l)), static_cast<std::size_t>(count * width(l))),
          std::span(lists.count).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count))};
}

void JacobianChain::product(std::int64_t l, std::int64_t first, std::int64_t count, ConstTensorView v,
                            TensorView s) const {
  const kernels::ActiveUnits listed = active(l + 1, first, count);
  const kernels::Derivative at = below(l, first, count);
  const bool smooth = at.activation.kind == ActivationKind::tanh || at.activation.kind == ActivationKind::sigmoid;
  if (listed.index.empty() || smooth) {
    kernels::jacobian_product(execution_, v, weight(l), at, s);
  } else {
    kernels::jacobian_masked_product(execution_, v, listed, weight(l), at, s);
  }
}

void JacobianChain::forms(std::int64_t l, std::int64_t first, std::int64_t count, ConstTensorView v, ConstTensorView g,
                          std::span<float> forms) const {
  const kernels::ActiveUnits listed = active(l, first, count);
  if (listed.index.empty()) {
    kernels::quadratic_forms(execution_, v, g, forms);
  } else {
    kernels::masked_quadratic_forms(execution_, v, listed, g, forms);
  }
}

void JacobianChain::gram_product(std::int64_t l, std::int64_t first, std::int64_t count, ConstTensorView v,
                                 ConstTensorView g, TensorView s) const {
  const kernels::ActiveUnits listed = active(l, first, count);
  if (listed.index.empty()) {
    kernels::jacobian_product(execution_, v, g, s);
  } else {
    kernels::jacobian_masked_product(execution_, v, listed, g, {below(l, first, count).y, {ActivationKind::identity}},
                                     s);
  }
}

kernels::Derivative JacobianChain::below(std::int64_t l, std::int64_t first, std::int64_t count) const {
  if (l == 0) return {x_.rows(first, count), {ActivationKind::identity}};
  const Tensor& y = outputs_[static_cast<std::size_t>(l - 1)];
  return {y.view().rows(first, count), layer(l - 1).activation};
}

InputNorms::InputNorms(ConstTensorView w, std::int64_t rows, const kernels::Execution& execution)
    : w_(w), execution_(execution), residency_(execution) {
  const auto units = static_cast<double>(w.rows()), inputs = static_cast<double>(w.cols()),
             n = static_cast<double>(rows);
  if (n * units * units + units * units * inputs >= 0.8 * n * units * inputs) return;
  gram_ = Tensor({w.rows(), w.rows()});
  residency_.keep(kernels::Residency::Role::scratch, gram_);
  const std::vector<float> no_bias(static_cast<std::size_t>(w.rows()));
  kernels::dense_forward(execution, w, w, no_bias, {ActivationKind::identity}, gram_);
  std::vector<float> norms(no_bias.size());
  kernels::row_norms(execution, gram_, norms);
  double squares = 0;
  for (const float norm : norms) squares += double{norm} * double{norm};
  const double rounding = (4 * std::sqrt(2 * units) + 4 * std::sqrt(inputs) + 8) * 0x1p-24 * std::sqrt(squares);
  cancels_below_ = rounding / (2 * gram_tolerance);
}

std::vector<std::int64_t> InputNorms::finish(ConstTensorView v, std::span<const float> v_norms,
                                             std::span<const float> forms, std::span<float> norms) {
  std::vector<std::int64_t> plain;
  for (std::size_t r = 0; r < norms.size(); ++r) {
    const double square = double{v_norms[r]} * double{v_norms[r]};
    norms[r] = std::sqrt(std::max(forms[r], 0.0F));
    // Written so that a NaN is computed plainly, and shows.
    if (!(double{forms[r]} >= cancels_below_ * square)) plain.push_back(static_cast<std::int64_t>(r));
  }
  if (plain.empty()) return plain;
  const auto count = static_cast<std::int64_t>(plain.size());
  for (const Tensor* t : {&plain_rows_, &plain_products_}) residency_.drop(*t);
  plain_rows_ = Tensor({count, v.cols()});
  plain_products_ = Tensor({count, w_.cols()});
  for (const Tensor* t : {&plain_rows_, &plain_products_}) residency_.keep(kernels::Residency::Role::scratch, *t);
  const std::vector<std::int32_t> index(plain.begin(), plain.end());
  const std::vector<float> zeros(static_cast<std::size_t>(v.cols()), 0.0F), ones(zeros.size(), 1.0F);
  kernels::gather_rows(execution_, v, index, zeros, ones, plain_rows_);
  kernels::jacobian_product(execution_, plain_rows_, w_, plain_products_);
  std::vector<float> found(plain.size());
  kernels::row_norms(execution_, plain_products_, found);
  for (std::size_t i = 0; i < plain.size(); ++i) norms[static_cast<std::size_t>(plain[i])] = found[i];
  return plain;
}

}  // namespace kindling
