#include "tools/options.h"

#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/targets.h>
#include <kindling/weights_file.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "io/atomic_file.h"

namespace kindling::tools {
namespace {

template <class Number>
bool parse_whole(const std::string& text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// "5000" is a number of samples, "0.1" a share of them.
void read_validation(const std::string& text, DatasetOptions& options) {
  if (text.empty()) return;
  if (parse_whole(text, options.validation_count)) return;
  if (parse_whole(text, options.validation_fraction)) return;
  throw Error(ErrorCode::usage,
              fmt::format("--validation: expected a number of samples or a fraction such as 0.1, found '{}'", text));
}

}  // namespace

Context GlobalOptions::context() const {
  Context result;
  result.seed = seed;
  result.threads = threads;
  result.target = device.empty() ? target : target_for_device(device);
  if (!device.empty() && !target.empty()) {
    // Of several CPU rows the named one.
    const std::vector<TargetInfo> all = list_targets({.target = target});
    const auto named = std::find_if(all.begin(), all.end(), [&](const TargetInfo& t) { return t.name == target; });
    if (target != result.target && (device != "cpu" || named->gpu)) {
      throw Error(ErrorCode::usage,
                  fmt::format("--target {} and --device {} contradict each other: expected --target {}", target, device,
                              result.target));
    }
    result.target = target;
  }
  result.stop = stop;
  return result;
}

void add_global_options(CLI::App& verb, GlobalOptions& options) {
  verb.add_option("--seed", options.seed, "Seed of all random numbers")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group("Everywhere");
  verb.add_option("--threads", options.threads, "Threads; 0: one per core. Results do not depend on it")
      ->capture_default_str()
      ->group("Everywhere");
  verb.add_option("--target", options.target,
                  "Hardware target, see 'kindling targets' (default: KINDLING_TARGET, else the best)")
      ->group("Everywhere");
  verb.add_option("--device", options.device,
                  "cpu, opencl or cuda: the best target for that kind of device, instead of --target")
      ->group("Everywhere");
  verb.add_flag("--json", options.json, "Results as JSON on standard output, and nothing else there")
      ->group("Everywhere");
  verb.add_flag("--quiet", options.quiet, "No progress")->group("Everywhere");
}

void add_data_options(CLI::App& verb, DataArguments& data, const std::string& needed_by) {
  const std::string group = "Data";
  verb.add_option("--data", data.spec,
                  "Data set: a folder of IDX files or CIFAR-10 batches, an .npz or .safetensors file with x and y, or "
                  "synthetic:glyphs[:train=N,test=M,seed=S]; " +
                      needed_by)
      ->group(group);
  verb.add_option("--classes", data.options.classes, "Number of classes (default: largest training label + 1)")
      ->group(group);
  verb.add_option("--limit-train", data.options.limit_train, "Only the first N training samples")->group(group);
  verb.add_option("--limit-test", data.options.limit_test, "Only the first N test samples")->group(group);
  verb.add_option("--validation", data.validation,
                  "Training samples held out for validation: their number, or a fraction such as 0.1")
      ->group(group);
  verb.add_option("--split-seed", data.split_seed, "Seed of the validation split; it does not follow --seed")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(group);
  verb.add_option("--test-fraction", data.options.test_fraction,
                  "Share held out for testing when the file brings no test split")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--standardise,--standardize", data.standardise,
                  "Inputs: none, scale (bytes / 255), global or per_feature")
      ->capture_default_str()
      ->group(group);
}

Dataset load(const DataArguments& data, const Context& context) {
  if (data.spec.empty()) throw Error(ErrorCode::usage, "a data set expected (--data), found none");
  DatasetOptions options = data.options;
  options.standardisation = parse_standardisation(data.standardise);
  read_validation(data.validation, options);
  Context split_context = context;
  split_context.seed = data.split_seed;
  return load_dataset(data.spec, options, split_context);
}

void add_train_options(CLI::App& verb, TrainArguments& train) {
  const std::string group = "Training";
  OptimizerOptions& o = train.options.optimizer;
  verb.add_option("--epochs", train.options.epochs, "Passes over the training split")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--batch", train.options.batch, "Samples a step")->capture_default_str()->group(group);
  verb.add_option("--optimizer,--optimiser", train.optimizer, "sgd, momentum or adam")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--lr", o.learning_rate, "Learning rate")->capture_default_str()->group(group);
  verb.add_option("--momentum", o.momentum, "Momentum, for momentum only")->capture_default_str()->group(group);
  verb.add_option("--beta1", o.beta1, "Decay of the first moment, for adam only")->capture_default_str()->group(group);
  verb.add_option("--beta2", o.beta2, "Decay of the second moment, for adam only")->capture_default_str()->group(group);
  verb.add_option("--epsilon", o.epsilon, "Added to adam's denominator, for adam only")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--weight-decay", o.weight_decay, "Weight decay, of weights and not of biases")
      ->capture_default_str()
      ->group(group);
}

TrainOptions train_options(const CLI::App& verb, const TrainArguments& train) {
  TrainOptions options = train.options;
  options.optimizer.kind = parse_optimizer(train.optimizer);
  const auto only_for = [&](const char* name, OptimizerKind kind) {
    if (verb.count(name) > 0 && options.optimizer.kind != kind) {
      throw Error(ErrorCode::usage, fmt::format("{} is an option of --optimizer {}, found --optimizer {}", name,
                                                to_string(kind), train.optimizer));
    }
  };
  only_for("--momentum", OptimizerKind::momentum);
  for (const char* name : {"--beta1", "--beta2", "--epsilon"}) only_for(name, OptimizerKind::adam);
  return options;
}

Model named_model(const std::string& text, const std::string& weights_path) {
  if (!text.empty()) return Model::parse(text);
  const Weights weights = read_weights(weights_path);
  const auto found = weights.metadata.find("model");
  if (found == weights.metadata.end()) {
    throw Error(ErrorCode::usage,
                fmt::format("'{}' does not say which model it holds: name it (--model)", weights_path));
  }
  return Model::parse(found->second);
}

void check_weights_path(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  if (extension != ".safetensors" && extension != ".npz") {
    throw Error(ErrorCode::usage, fmt::format("weights are written as .safetensors or .npz, found '{}'", path));
  }
  check_writable(path);
}

void check_writable(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  // Opening a pipe would wait for its reader.
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
      !std::filesystem::is_directory(status))
    return;
  const io::AtomicFile probe(path);
}

void print_out(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw Error(ErrorCode::file, fmt::format("cannot write to standard output: {}", std::strerror(errno)));
  }
}

}  // namespace kindling::tools
