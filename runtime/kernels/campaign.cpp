#include "kernels/campaign.h"

#include <kindling/error.h>

#include <algorithm>
#include <string>
#include <vector>

namespace kindling::kernels {
namespace {

void expect(bool ok, const char* kernel, const std::string& what) {
  if (!ok) throw Error(ErrorCode::bad_input, std::string(kernel) + ": " + what);
}

// The extents of `m` must be rows x cols.
void expect_shape(const char* kernel, const char* name, const ConstTensorView& m, std::int64_t rows,
                  std::int64_t cols) {
  const bool ok = m.rank() == 2 && m.rows() == rows && m.cols() == cols;
  expect(ok, kernel,
         std::string("expected ") + name + " of shape " + std::to_string(rows) + "x" + std::to_string(cols) +
             ", found " + shape_string(m.shape()));
}

void expect_size(const char* kernel, const char* name, std::size_t found, std::int64_t expected) {
  expect(static_cast<std::int64_t>(found) == expected, kernel,
         std::string("expected ") + std::to_string(expected) + " elements of " + name + ", found " +
             std::to_string(found));
}

void expect_picked(const char* kernel, const PickedRows& picked) {
  expect(picked.rows.rank() == 2 && picked.rows.cols() > 0, kernel, "rows must be a matrix with at least one column");
  expect_size(kernel, "scale", picked.scale.size(), picked.rows.rows());
  for (const std::int32_t i : picked.index) {
    if (i < 0 || i >= picked.rows.rows()) {
      expect(false, kernel,
             "row " + std::to_string(i) + " of a matrix with " + std::to_string(picked.rows.rows()) + " rows");
    }
  }
}

}  // namespace

void campaign_norms(const Execution& execution, ConstTensorView rows, std::span<float> sum_squares) {
  expect(rows.rank() == 2 && rows.cols() > 0, "campaign_norms", "rows must be a matrix with at least one column");
  expect_size("campaign_norms", "sum_squares", sum_squares.size(), rows.rows());
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
  expect_size("campaign_update", "first", first.size(), picks);
  expect_size("campaign_update", "before", before.size(), picks);
  expect_size("campaign_update", "squared", squared.size(), picks);
  if (picks == 0) return;
  if (directions.rows() == 0) {
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
  expect_size("campaign_residual", "squared", squared.size(), picks);
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
  const char* name = "campaign_step";
  const auto active = static_cast<std::int64_t>(step.weight.size());
  expect_shape(name, "gram", step.gram, active, step.gram.cols());
  expect_shape(name, "factor", step.factor, step.factor.rows(), active);
  expect(step.column >= 0 && step.column < step.gram.cols(), name,
         "column " + std::to_string(step.column) + " of " + std::to_string(step.gram.cols()));
  expect(step.pivot >= 0 && step.pivot < active, name,
         "pivot " + std::to_string(step.pivot) + " of " + std::to_string(active) + " candidates");
  expect_size(name, "reference", step.reference.size(), active);
  expect_size(name, "before", before.size(), active);
  expect_size(name, "coefficients", coefficients.size(), active);
  expect_size(name, "squared", squared.size(), active);
  expect_size(name, "products", products.size(), active);
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
