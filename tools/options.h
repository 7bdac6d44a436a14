// Command-line options that several verbs share.
#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>
#include <kindling/model.h>
#include <kindling/train.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <stop_token>
#include <string>

#include "kernels/device_log.h"

namespace kindling::tools {

/// Options of every verb.
struct GlobalOptions {
  std::uint64_t seed = 0;
  int threads = 0;
  std::string target;
  std::string device;
  bool json = false;
  bool quiet = false;
  std::stop_token stop;    ///< set by main, not by an option
  kernels::DeviceLog log;  ///< what the program's own thread does on a device, and what it leaves to the host

  /// A context without progress. Throws Error{usage} for a device that is not there and for one that contradicts the
  /// target.
  [[nodiscard]] Context context() const;
};
void add_global_options(CLI::App& verb, GlobalOptions& options);

struct DataArguments {
  std::string spec;
  std::string validation;
  std::string standardise = "global";
  std::uint64_t split_seed = 0;
  DatasetOptions options;
};
void add_data_options(CLI::App& verb, DataArguments& data, const std::string& needed_by);
/// Throws as load_dataset does, and Error{usage} when no data set was named.
Dataset load(const DataArguments& data, const Context& context);

struct TrainArguments {
  std::string optimizer = "sgd";
  TrainOptions options;
};
void add_train_options(CLI::App& verb, TrainArguments& train);
/// Throws Error{usage} for an unknown optimiser and for options that it does not have.
TrainOptions train_options(const CLI::App& verb, const TrainArguments& train);

/// The model that was named or, where `text` is empty, the one that the weights file says it holds; Error{usage} when
/// it does not say.
Model named_model(const std::string& text, const std::string& weights_path);

/// Throws before hours of work are done for a file that cannot be written; nothing is left behind. Weights are written
/// as `.safetensors` or `.npz`, any other name is Error{usage}.
void check_weights_path(const std::string& path);
void check_writable(const std::string& path);

/// Writes text to standard output; Error{file} when that fails.
void print_out(const std::string& text);

}  // namespace kindling::tools
