#include <fmt/format.h>
#include <kindling/curvature.h>
#include <kindling/error.h>
#include <kindling/inspect.h>
#include <kindling/model.h>
#include <kindling/targets.h>
#include <kindling/weights_file.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "tools/commands.h"
#include "tools/inspect_output.h"
#include "tools/print_result.h"
#include "tools/progress.h"

namespace kindling::tools {
namespace {

struct InspectArguments {
  std::string file;
  std::string model;
  std::string features;
  std::optional<std::size_t> features_layer;
  std::int64_t samples = 1000;
  bool curvature = false;
  std::string loss = "cross_entropy";
  LanczosOptions lanczos;
  DataArguments data;
};

LossKind loss_of(const std::string& text) {
  if (text == "cross_entropy") return LossKind::cross_entropy;
  if (text == "squared_error") return LossKind::squared_error;
  throw Error(ErrorCode::usage, fmt::format("--loss: expected cross_entropy or squared_error, found '{}'", text));
}

void check_options(const CLI::App& verb, const InspectArguments& arguments) {
  if (arguments.samples < 1) {
    throw Error(ErrorCode::usage, fmt::format("--samples: expected 1 or more, found {}", arguments.samples));
  }
  if (arguments.lanczos.max_steps < 1) {
    throw Error(ErrorCode::usage, fmt::format("--steps: expected 1 or more, found {}", arguments.lanczos.max_steps));
  }
  if (!(arguments.lanczos.tolerance > 0)) {
    throw Error(ErrorCode::usage,
                fmt::format("--tolerance: expected a positive number, found {}", arguments.lanczos.tolerance));
  }
  for (const char* name : {"--loss", "--steps", "--tolerance"}) {
    if (verb.count(name) > 0 && !arguments.curvature)
      throw Error(ErrorCode::usage, fmt::format("{} is an option of --curvature", name));
  }
  if (verb.count("--samples") > 0 && arguments.data.spec.empty())
    throw Error(ErrorCode::usage, "--samples says how many of --data, found no --data");
  if (!arguments.features.empty() && arguments.data.spec.empty())
    throw Error(ErrorCode::usage, "--features are those of samples: name a data set (--data)");
  if (arguments.features_layer && arguments.features.empty())
    throw Error(ErrorCode::usage, "--features-layer says whose outputs --features writes, found no --features");
  if (arguments.curvature && arguments.data.spec.empty())
    throw Error(ErrorCode::usage, "--curvature is that of a loss on data: name a data set (--data)");
}

// Training samples and what their outputs should be.
struct Sampled {
  Tensor x, one_hot;
  std::vector<std::int32_t> labels;

  [[nodiscard]] LossTarget target(LossKind kind) const {
    if (kind == LossKind::squared_error) return {kind, {}, one_hot};
    return {kind, labels, {}};
  }
};

Sampled sample(const Model& model, const Dataset& data, std::int64_t most, const Context& context) {
  const std::int64_t count = std::min(most, data.train.count);
  Sampled result{training_inputs(data, count, context), Tensor({count, model.outputs()}), {}};
  result.labels.assign(data.train.labels.begin(), data.train.labels.begin() + count);
  for (std::int64_t n = 0; n < count; ++n) result.one_hot.view()(n, result.labels[static_cast<std::size_t>(n)]) = 1.0F;
  return result;
}

// What comes out of the first `layers` layers for the samples, with their labels.
void write_features(const std::string& path, const Model& model, std::size_t layers, const Sampled& samples,
                    const Context& context) {
  const Tensor x = layer_inputs(model, layers, samples.x, context);
  const std::span<const float> features = x.flat();
  const auto count = static_cast<std::int64_t>(samples.labels.size());
  Weights arrays;
  arrays.tensors.push_back({"x", {count, x.view().cols()}, {features.begin(), features.end()}});
  arrays.tensors.push_back({"y", {count}, {samples.labels.begin(), samples.labels.end()}});
  write_weights(path, arrays);
}

void run_inspect(const CLI::App& verb, const InspectArguments& arguments, const GlobalOptions& globals) {
  check_options(verb, arguments);
  const LossKind loss = loss_of(arguments.loss);
  Model model = named_model(arguments.model, arguments.file);
  load_weights(model, arguments.file);
  check_finite(model);
  const std::size_t layers = arguments.features_layer.value_or(model.last_neuron_layer());
  if (arguments.features_layer && (layers < 1 || layers > model.layers().size())) {
    throw Error(ErrorCode::usage, fmt::format("--features-layer: expected 1 to {}, the layers of {}, found {}",
                                              model.layers().size(), model.description(), layers));
  }
  ProgressPrinter printer(globals.quiet, ProgressPrinter::Lines::every);
  Context context = globals.context();
  context.progress = [&](const Progress& p) { printer.show(p); };
  std::optional<Sampled> samples;
  std::string data_name;
  if (!arguments.data.spec.empty()) {
    const Dataset data = load(arguments.data, context);
    check_fits(model, data.train.features, data.classes);
    data_name = data.name;
    samples = sample(model, data, arguments.samples, context);
  }
  if (!arguments.features.empty()) write_features(arguments.features, model, layers, *samples, context);
  const Inspection inspection = inspect(model, samples ? samples->x.view() : ConstTensorView(), context);
  std::optional<CurvatureReport> curvature;
  if (arguments.curvature) {
    curvature = curvature_report(model, samples->x, samples->target(loss), {.lanczos = arguments.lanczos}, context);
  }
  printer.clear();
  nlohmann::json all = to_json(inspection);
  all.update({{"verb", "inspect"},
              {"version", version()},
              {"file", arguments.file},
              {"model", model.description()},
              {"parameters", model.parameters()},
              {"seed", globals.seed},
              {"data", data_name.empty() ? nlohmann::json(nullptr) : nlohmann::json(data_name)},
              {"curvature", curvature ? to_json(*curvature) : nlohmann::json(nullptr)}});
  const std::string on = samples ? fmt::format(", on {} samples of {}", samples->labels.size(), data_name) : "";
  print_result(globals, all,
               fmt::format("{}: {}, {} parameters{}\n\n{}{}", arguments.file, model.description(), model.parameters(),
                           on, inspection_text(inspection), curvature ? "\n" + curvature_text(*curvature) : ""));
}

}  // namespace

void add_inspect_command(CLI::App& program, GlobalOptions& globals) {
  CLI::App* verb = program.add_subcommand(
      "inspect", "Look at a network's weights: variances, spectra, place on the phase diagram, dead units, curvature");
  auto arguments = std::make_shared<InspectArguments>();
  verb->add_option("file", arguments->file, "Weights file, .safetensors or .npz")->required();
  verb->add_option("--model", arguments->model,
                   "Layer widths, 784-256-100-10[:tanh], or modules (default: what the weights file says)");
  verb->add_option("--samples", arguments->samples, "The first N training samples of --data")->capture_default_str();
  verb->add_option("--features", arguments->features,
                   "Write what the last layer gets for these samples (x) and their labels (y), .npz or .safetensors");
  verb->add_option("--features-layer", arguments->features_layer,
                   "Write the outputs of this layer instead, counted from 1");
  const std::string group = "Curvature";
  verb->add_flag("--curvature", arguments->curvature,
                 "Jacobian norms and the Hessian's ends, layer by layer, with the bounds and steps; needs --data")
      ->group(group);
  verb->add_option("--loss", arguments->loss, "cross_entropy, or squared_error against one-hot targets")
      ->capture_default_str()
      ->group(group);
  verb->add_option("--steps", arguments->lanczos.max_steps, "Most Lanczos steps of a block")
      ->capture_default_str()
      ->group(group);
  verb->add_option("--tolerance", arguments->lanczos.tolerance,
                   "Residual at which Lanczos ends, as a share of the norm")
      ->capture_default_str()
      ->group(group);
  add_data_options(*verb, arguments->data, "for dead units and curvature");
  add_global_options(*verb, globals);
  verb->callback([verb, arguments, &globals] { run_inspect(*verb, *arguments, globals); });
}

}  // namespace kindling::tools
