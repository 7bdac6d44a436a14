// What happens to a data set between its files and its users: checks, splits, statistics.
#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>

#include <cstdint>
#include <span>
#include <vector>

namespace kindling::io {

/// Throws Error{usage} for options that make no sense whatever the data.
void check_options(const DatasetOptions& options);

/// Takes a data set with train and, perhaps, test filled and `classes` set if its source fixes it; checks it, makes the
/// splits that `options` ask for and fills mean and inverse_std. Errors as load_dataset.
void prepare_dataset(Dataset& dataset, const DatasetOptions& options, const Context& context);

/// `count` sample numbers in ascending order, drawn from each class in proportion to its size (largest remainders, ties
/// to the lower class) so that every class keeps a sample. A pure function of (seed, step) and the labels. `what` names
/// the split in the Error{usage} thrown when the classes cannot spare so many.
std::vector<std::int64_t> stratified_draw(std::span<const std::int32_t> labels, int classes, std::int64_t count,
                                          std::uint64_t seed, std::uint32_t step, const std::string& what);

/// Moves the rows `picked` (ascending) of `from` to a new split, keeping the order of both; needs memory for the moved
/// rows only.
Samples take_rows(Samples& from, std::span<const std::int64_t> picked);

/// Mean and reciprocal standard deviation of the inputs of `train`, both for each feature. Throws Error{bad_input}
/// where there is nothing to divide by.
void standardisation_statistics(const Samples& train, Standardisation standardisation, const std::string& name,
                                std::vector<float>& mean, std::vector<float>& inverse_std);

}  // namespace kindling::io
