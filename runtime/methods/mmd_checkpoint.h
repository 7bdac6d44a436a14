// The state of a learned initialization on disk, after every window.
#pragma once

#include <kindling/dataset.h>
#include <kindling/mmd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "methods/adam_state.h"
#include "methods/pretraining.h"

namespace kindling {

/// What a run may not differ in to be gone on with: everything that decides its course.
std::string mmd_settings(const Model& model, const Dataset& data, const MmdOptions& options, std::uint64_t seed);

void write_checkpoint(const std::string& path, const std::string& settings, std::int64_t step, const Model& model,
                      const std::vector<AdamState>& adam, const BestWindow& windows);
/// The step to go on from, 0 where there is no such file. Throws Error{usage} for other settings, Error{bad_input} for
/// a file that is no checkpoint.
std::int64_t read_checkpoint(const std::string& path, const std::string& settings, Model& model,
                             std::vector<AdamState>& adam, BestWindow& windows);

}  // namespace kindling
