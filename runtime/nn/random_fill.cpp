#include <fmt/format.h>
#include <kindling/random.h>

#include <algorithm>
#include <cmath>

#include "kernels/random.h"
#include "kernels/residency.h"

namespace kindling {

void fill_normal(const Stream& stream, float mean, float stddev, std::span<float> out, const Context& context) {
  kernels::philox_normal(kernels::execution(context), stream, mean, stddev, out);
}

void fill_uniform(const Stream& stream, float low, float high, std::span<float> out, const Context& context) {
  kernels::philox_uniform(kernels::execution(context), stream, low, high, out);
}

void fill_exponential(const Stream& stream, float mean, std::span<float> out, const Context& context) {
  kernels::philox_exponential(kernels::execution(context), stream, mean, out);
}

void fill_beta21(const Stream& stream, std::span<float> out, const Context& context) {
  kernels::philox_beta21(kernels::execution(context), stream, out);
}

void fill_beta(const Stream& stream, float alpha, float beta, std::span<float> out, const Context& context) {
  kernels::philox_beta(kernels::execution(context), stream, alpha, beta, out);
}

void fill_simplex(const Stream& stream, TensorView out, const Context& context) {
  kernels::philox_simplex(kernels::execution(context), stream, out);
}

void fill_correlated_rows(const Stream& stream, const CorrelatedLaw& law, TensorView weight, std::span<float> bias,
                          const Context& context) {
  if (!std::isfinite(law.k) || !(law.k > -1)) {
    throw Error(ErrorCode::usage, fmt::format("correlated rows: expected a finite k > -1, found {}", law.k));
  }
  if (!std::isfinite(law.sigma_squared) || !(law.sigma_squared > 0)) {
    throw Error(ErrorCode::usage,
                fmt::format("correlated rows: expected a finite sigma^2 > 0, found {}", law.sigma_squared));
  }
  if (!bias.empty() && static_cast<std::int64_t>(bias.size()) != weight.rows()) {
    throw Error(ErrorCode::usage, fmt::format("correlated rows: expected no bias or one of {} entries, found {}",
                                              weight.rows(), bias.size()));
  }
  if (weight.size() == 0) return;
  const std::int64_t fan_in = weight.cols();
  const kernels::CorrelatedRows rows{
      .scale = static_cast<float>(std::sqrt(law.sigma_squared / static_cast<double>(fan_in))),
      .shrink = static_cast<float>(1 - 1 / std::sqrt(1 + law.k)),
      .beta_entry = law.beta_entry};
  const kernels::Execution execution = kernels::execution(context);
  if (bias.empty()) {
    kernels::philox_correlated_rows(execution, stream, rows, weight);
    return;
  }
  Tensor both({weight.rows(), fan_in + 1});
  kernels::Residency residency(execution);
  residency.keep(kernels::Residency::Role::scratch, both);
  kernels::philox_correlated_rows(execution, stream, rows, both.view());
  const std::int64_t units = weight.rows();
  kernels::copy_rows(execution, {both.data(), units, fan_in, fan_in + 1}, weight.matrix());
  kernels::copy_rows(execution, {both.data() + fan_in, units, 1, fan_in + 1}, TensorView(bias.data(), {units, 1}));
}

}  // namespace kindling
