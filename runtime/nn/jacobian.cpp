#include "nn/jacobian.h"

#include <fmt/format.h>

#include <utility>

#include "kernels/dense.h"
#include "nn/jacobian_chain.h"

namespace kindling {
namespace {

// The first rows of a buffer of rows, as wide as asked for.
TensorView rows_of(Tensor& buffer, std::int64_t rows, std::int64_t cols) { return {buffer.data(), {rows, cols}}; }

std::span<float> slice(Tensor& t, std::int64_t first, std::int64_t count) {
  return t.flat().subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
}

}  // namespace

Tensor jacobian(const Model& model, ConstTensorView x, std::int64_t from, const Context& context) {
  const kernels::Execution execution = kernels::execution(context);
  const JacobianChain chain("jacobian", model, x, execution);
  if (from < 0 || from >= chain.depth()) {
    throw Error(ErrorCode::usage,
                fmt::format("jacobian: expected a layer in 0..{}, found {}", chain.depth() - 1, from));
  }
  const std::int64_t d = chain.outputs();
  Tensor result({chain.samples(), d, chain.width(from)});
  const TensorView all(result.data(), {chain.samples() * d, chain.width(from)});
  std::int64_t widest = 0;
  for (std::int64_t l = from + 1; l < chain.depth(); ++l) widest = std::max(widest, chain.width(l));
  Tensor rows({chain.block_samples() * d, widest}), next({chain.block_samples() * d, widest});
  kernels::Residency residency(execution);
  for (const Tensor* t : {&rows, &next}) residency.keep(kernels::Residency::Role::scratch, *t);
  for (std::int64_t first = 0; first < chain.samples(); first += chain.block_samples()) {
    context.check_stop();
    const std::int64_t count = std::min(chain.block_samples(), chain.samples() - first);
    const auto target = [&](std::int64_t l, Tensor& buffer) {
      return l == from ? all.rows(first * d, count * d) : rows_of(buffer, count * d, chain.width(l));
    };
    std::int64_t l = chain.depth() - 1;
    TensorView v = target(l, rows);
    kernels::jacobian_top(execution, chain.weight(l), chain.below(l, first, count), v);
    for (--l; l >= from; --l) {
      const TensorView s = target(l, next);
      chain.product(l, first, count, v, s);
      std::swap(rows, next);
      v = s;
    }
  }
  return result;
}

Tensor jacobian_row_norms(const Model& model, ConstTensorView x, const Context& context) {
  const kernels::Execution execution = kernels::execution(context);
  const JacobianChain chain("jacobian_row_norms", model, x, execution);
  const std::int64_t d = chain.outputs(), n = chain.samples(), top = chain.depth() - 1;
  Tensor norms({chain.depth(), n, d});
  if (n == 0) return norms;
  InputNorms input(chain.weight(0), top == 0 ? 0 : n * d, execution);
  std::int64_t widest = 0;
  for (std::int64_t l = input.pays() ? 1 : 0; l <= top; ++l) widest = std::max(widest, chain.width(l));
  const std::int64_t block = std::min(chain.block_samples(), n);
  Tensor rows({block * d, widest}), next({block * d, widest});
  std::vector<float> forms;
  kernels::Residency residency(execution);
  for (const Tensor* t : {&rows, &next}) residency.keep(kernels::Residency::Role::scratch, *t);
  for (std::int64_t first = 0; first < n; first += block) {
    context.check_stop();
    const std::int64_t count = std::min(block, n - first);
    const auto norms_of = [&](std::int64_t l) { return slice(norms, (l * n + first) * d, count * d); };
    for (std::int64_t l = top; l >= 0; --l) {
      if (l == 0 && input.pays()) {
        const ConstTensorView v = rows_of(rows, count * d, chain.width(1));
        forms.resize(static_cast<std::size_t>(count * d));
        chain.forms(1, first, count, v, input.gram(), forms);
        input.finish(v, norms_of(1), forms, norms_of(0));
        break;
      }
      const TensorView s = rows_of(next, count * d, chain.width(l));
      if (l == top) {
        kernels::jacobian_top(execution, chain.weight(l), chain.below(l, first, count), s);
      } else {
        chain.product(l, first, count, rows_of(rows, count * d, chain.width(l + 1)), s);
      }
      kernels::row_norms(execution, s, norms_of(l));
      std::swap(rows, next);
    }
  }
  return norms;
}

Tensor jacobian_vectors(const Model& model, ConstTensorView x, ConstTensorView v, const Context& context) {
  const kernels::Execution execution = kernels::execution(context);
  const JacobianChain chain("jacobian_vectors", model, x, execution);
  Tensor current;
  ConstTensorView t = v;
  for (std::int64_t l = 0; l < chain.depth(); ++l) {
    Tensor next({chain.samples(), chain.layer(l).fan_out()});
    if (l + 1 < chain.depth()) {
      kernels::jacobian_transposed(execution, t, chain.weight(l), chain.below(l + 1), next);
    } else {
      const std::vector<float> no_bias(static_cast<std::size_t>(chain.outputs()));
      kernels::dense_forward(execution, t, chain.weight(l), no_bias, {ActivationKind::identity}, next);
    }
    current = std::move(next);
    t = current.view();
  }
  return current;
}

Tensor transposed_jacobian_vectors(const Model& model, ConstTensorView x, ConstTensorView u, const Context& context) {
  const kernels::Execution execution = kernels::execution(context);
  const JacobianChain chain("transposed_jacobian_vectors", model, x, execution);
  Tensor current;
  ConstTensorView v = u;
  for (std::int64_t l = chain.depth() - 1; l >= 0; --l) {
    Tensor next({chain.samples(), chain.width(l)});
    kernels::jacobian_product(execution, v, chain.weight(l), chain.below(l), next);
    current = std::move(next);
    v = current.view();
  }
  return current;
}

}  // namespace kindling
