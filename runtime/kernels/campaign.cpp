#include "kernels/campaign.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "kernels/expect.h"

namespace kindling::kernels {
namespace {

void expect_matrix(std::string_view kernel, ConstTensorView rows) {
  expect_rows(kernel, "rows", rows);
  if (rows.cols() < 1)
    refuse(kernel, fmt::format("expected rows of at least one column, found {}", shape_string(rows.shape())));
}

void expect_picked(std::string_view kernel, const PickedRows& picked) {
  expect_matrix(kernel, picked.rows);
  expect_size(kernel, "scale", picked.scale, picked.rows.rows());
  for (std::size_t i = 0; i < picked.index.size(); ++i) {
    if (picked.index[i] < 0 || picked.index[i] >= picked.rows.rows()) {
      refuse(kernel, fmt::format("expected row numbers in 0..{}, found {} at position {}", picked.rows.rows() - 1,
                                 picked.index[i], i));
    }
  }
}

}  // namespace

void campaign_norms(const Execution& execution, ConstTensorView rows, std::span<float> sum_squares) {
  expect_matrix("campaign_norms", rows);
  expect_size("campaign_norms", "sum_squares", sum_squares, rows.rows());
  if (sum_squares.empty()) return;
  static const Kernel kernel{"campaign_norms"};
  kernel(execution, in(rows), out(sum_squares));
}

void campaign_project(const Execution& execution, const PickedRows& picked, ConstTensorView directions, TensorView c) {
  expect_picked("campaign_project", picked);
  const auto picks = static_cast<std::int64_t>(picked.index.size());
  expect_shape("campaign_project", "directions", directions, directions.rows(), picked.rows.cols());
  expect_shape("campaign_project", "c", c, picks, directions.rows());
  if (c.size() == 0) return;
  static const Kernel kernel{"campaign_project"};
  kernel(execution, in(picked.rows), in(picked.index), in(picked.scale), in(directions), out(c));
}

void campaign_update(const Execution& execution, const PickedRows& picked, ConstTensorView directions,
                     std::span<const std::int32_t> first, std::span<const float> before, std::span<float> squared) {
  expect_picked("campaign_update", picked);
  const auto picks = static_cast<std::int64_t>(picked.index.size());
  expect_shape("campaign_update", "directions", directions, directions.rows(), picked.rows.cols());
  expect_size("campaign_update", "first", first, picks);
  expect_size("campaign_update", "before", before, picks);
  expect_size("campaign_update", "squared", squared, picks);
  if (picks == 0) return;
  if (directions.rows() == 0) {
    expect_apart("campaign_update", {{"squared", squared}}, {{"before", before}});
    std::copy(before.begin(), before.end(), squared.begin());
    return;
  }
  static const Kernel kernel{"campaign_update"};
  kernel(execution, in(picked.rows), in(picked.index), in(picked.scale), in(directions), in(first), in(before),
         out(squared));
}

void campaign_residual(const Execution& execution, const PickedRows& picked, ConstTensorView c,
                       ConstTensorView directions, TensorView residual, std::span<float> squared) {
  expect_picked("campaign_residual", picked);
  const auto picks = static_cast<std::int64_t>(picked.index.size());
  const std::int64_t depth = picked.rows.cols();
  expect_shape("campaign_residual", "directions", directions, directions.rows(), depth);
  expect_shape("campaign_residual", "c", c, directions.rows(), picks);
  expect_shape("campaign_residual", "residual", residual, picks, depth);
  expect_size("campaign_residual", "squared", squared, picks);
  if (picks == 0) return;
  static const Kernel kernel{"campaign_residual"};
  // No directions: buffers of one that the kernel does not read.
  const auto count = static_cast<std::int32_t>(directions.rows());
  const std::vector<float> unused(count == 0 ? picked.index.size() : 0);
  const ConstTensorView some_c = count == 0 ? ConstTensorView(unused.data(), {1, picks}) : c;
  const ConstTensorView some_directions = count == 0 ? picked.rows.rows(0, 1) : directions;
  kernel(execution, in(picked.rows), in(picked.index), in(picked.scale), count, in(some_c), in(some_directions),
         out(residual), out(squared));
}

CampaignBest campaign_step(const Execution& execution, const CampaignStep& step, std::span<const float> before,
                           std::span<float> coefficients, std::span<float> squared, std::span<float> products) {
  constexpr std::string_view name = "campaign_step";
  const auto active = static_cast<std::int64_t>(step.weight.size());
  expect_shape(name, "gram", step.gram, active, step.gram.cols());
  expect_shape(name, "factor", step.factor, step.factor.rows(), active);
  if (step.column < 0 || step.column >= step.gram.cols())
    refuse(name, fmt::format("expected a column in 0..{}, found {}", step.gram.cols() - 1, step.column));
  if (step.pivot < 0 || step.pivot >= active)
    refuse(name, fmt::format("expected a pivot in 0..{}, found {}", active - 1, step.pivot));
  expect_size(name, "reference", step.reference, active);
  expect_size(name, "before", before, active);
  expect_size(name, "coefficients", coefficients, active);
  expect_size(name, "squared", squared, active);
  expect_size(name, "products", products, active);
  float product = -1;
  std::int32_t position = -1;
  static const Kernel kernel{"campaign_step"};
  const auto steps = static_cast<std::int32_t>(step.factor.rows());
  const ConstTensorView factor = steps == 0 ? ConstTensorView(step.weight.data(), {1, active}) : step.factor;
  kernel(execution, in(step.gram), static_cast<std::int32_t>(step.column), static_cast<std::int32_t>(step.pivot), steps,
         in(factor), in(step.weight), in(step.reference), in(before), step.spoilt, step.slack, out(coefficients),
         out(squared), out(products), out(std::span<float>(&product, 1)), out(std::span<std::int32_t>(&position, 1)));
  return {product, position};
}

}  // namespace kindling::kernels
