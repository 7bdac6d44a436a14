// Random weights of one layer, shared by the methods.
#pragma once

#include <kindling/initialize.h>
#include <kindling/model.h>
#include <kindling/random.h>

#include <span>

namespace kindling {

/// Fills `weight` (rows = neurons) from the law of `options` with standard deviation `stddev` (orthogonal: its own).
void draw_weights(const BaselineOptions& options, double stddev, const Stream& stream, const Activation& activation,
                  TensorView weight, const Context& context);

/// Fills `bias` by the rule of `options`.
void draw_biases(const BaselineOptions& options, const Stream& stream, std::int64_t fan_in, std::span<float> bias,
                 const Context& context);

/// A batch-norm layer as PyTorch starts it: weight and running variance 1, bias and running mean 0. Others stay.
void reset_batch_norm(Layer& layer);

/// sqrt(mean of squares); 0 for no values.
double root_mean_square(std::span<const float> values);

}  // namespace kindling
