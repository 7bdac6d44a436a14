// kindling information: mutual information of pairs, or of a network's layers with inputs and labels.
#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/information.h>
#include <kindling/methods.h>
#include <kindling/targets.h>
#include <kindling/weights_file.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "methods/option_reader.h"
#include "tools/commands.h"
#include "tools/information_options.h"
#include "tools/print_result.h"
#include "tools/progress.h"
#include "tools/result_lines.h"
#include "tools/text_table.h"

namespace kindling::tools {
namespace {

struct InformationArguments {
  std::string pairs;
  std::string model;
  std::string weights;
  std::string method;
  std::vector<std::size_t> layers;
  std::vector<std::string> estimators{"aa-mine"};
  std::vector<double> noise{2};
  std::string with = "both";
  std::string results;
  int seeds = 1;
  DataArguments data;
  EstimateArguments estimate;
};

// One line of the table.
struct Row {
  std::string what;
  std::uint64_t seed;
  nlohmann::json estimate;
  std::optional<double> truth;
};

class Estimates {
 public:
  Estimates(const InformationArguments& arguments, const GlobalOptions& globals)
      : lines_(arguments.results), printer_(globals.quiet, ProgressPrinter::Lines::by_stage), globals_(globals) {}

  [[nodiscard]] Context context(std::uint64_t seed) {
    Context context = globals_.context();
    context.seed = seed;
    context.progress = [this](const Progress& p) { printer_.show(p); };
    return context;
  }

  /// The result of `run`, from the file or by `compute`.
  template <class Compute>
  void add(const std::string& what, std::uint64_t seed, nlohmann::json run, std::optional<double> truth,
           const Compute& compute) {
    run["seed"] = seed;
    const nlohmann::json* found = lines_.find(run);
    if (found == nullptr) {
      nlohmann::json line = {{"run", run}, {"estimate", to_json(compute())}, {"version", version()}};
      if (truth) line["truth"] = *truth;
      lines_.add(line);
      printer_.clear();
      found = lines_.find(run);
    }
    rows_.push_back({what, seed, found->at("estimate"), truth});
  }

  void print() {
    printer_.clear();
    nlohmann::json all = nlohmann::json::array();
    for (const Row& r : rows_) {
      nlohmann::json row = {{"what", r.what}, {"seed", r.seed}, {"estimate", r.estimate}};
      row["truth"] = r.truth ? nlohmann::json(*r.truth) : nlohmann::json(nullptr);
      all.push_back(row);
    }
    TextTable table({"information, nats", "seed", "fresh pairs", "on training", "updates", "truth"});
    for (const Row& r : rows_) {
      const auto number = [&](const char* name) { return r.estimate.at(name).get<double>(); };
      table.add({r.what, std::to_string(r.seed),
                 fmt::format("{:.3f} ± {:.3f}", number("nats"), number("standard_error")),
                 fmt::format("{:.3f}", number("training_nats")),
                 fmt::format("{}", r.estimate.at("updates").get<std::int64_t>()),
                 r.truth ? fmt::format("{:.3f}", *r.truth) : ""});
    }
    print_result(
        globals_, {{"verb", "information"}, {"version", version()}, {"estimates", all}},
        table.text() +
            "\nfresh pairs: a lower bound on pairs that the critic was never trained on, ± its standard error.\n");
  }

 private:
  ResultLines lines_;
  ProgressPrinter printer_;
  const GlobalOptions& globals_;
  std::vector<Row> rows_;
};

// "synthetic:gaussian:dimensions=10,nats=2" or "synthetic:channel:a=1,b=0,input=1,noise=1".
struct SyntheticPairs {
  std::function<PairSampler(const Context&)> sampler;
  double truth;
};
SyntheticPairs parse_synthetic(const std::string& text) {
  const std::string rest = text.substr(text.find(':') + 1);
  const std::string name = rest.substr(0, rest.find(':'));
  std::map<std::string, std::string> options;
  std::string list = rest.size() > name.size() ? rest.substr(name.size() + 1) : "";
  while (!list.empty()) {
    const std::string pair = list.substr(0, list.find(','));
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos)
      throw Error(ErrorCode::usage, fmt::format("--pairs {}: expected name=value, found '{}'", text, pair));
    options[pair.substr(0, equals)] = pair.substr(equals + 1);
    list = list.size() > pair.size() ? list.substr(pair.size() + 1) : "";
  }
  OptionReader reader("synthetic:" + name, options);
  if (name == "gaussian") {
    const auto dimensions = reader.integer("dimensions", 10);
    const double nats = reader.number("nats", 2);
    reader.finish();
    return {[=](const Context& context) { return correlated_gaussians(dimensions, nats, context); }, nats};
  }
  if (name == "channel") {
    const GaussianChannel channel{reader.number("a", 1), reader.number("b", 0), reader.number("input", 1),
                                  reader.number("noise", 1)};
    reader.finish();
    return {[=](const Context& context) { return gaussian_channel(channel, context); }, channel_information(channel)};
  }
  throw Error(ErrorCode::usage,
              fmt::format("--pairs: expected synthetic:gaussian or synthetic:channel, found '{}'", text));
}

ConstTensorView samples_of(const Weights& file, const char* name, const std::string& path) {
  const NamedTensor* found = file.find(name);
  if (found == nullptr || found->shape.empty())
    throw Error(ErrorCode::bad_input, fmt::format("'{}': expected an array '{}' of samples, found none", path, name));
  const std::int64_t rows = found->shape.front();
  const std::int64_t cols = rows == 0 ? 0 : static_cast<std::int64_t>(found->data.size()) / rows;
  return {found->data.data(), {rows, cols}};
}

void run_pairs(const InformationArguments& a, const GlobalOptions& globals, Estimates& estimates) {
  const InformationOptions options = estimate_options(a.estimate);
  const bool synthetic = a.pairs.starts_with("synthetic:");
  const std::optional<SyntheticPairs> made = synthetic ? std::optional(parse_synthetic(a.pairs)) : std::nullopt;
  const Weights file = synthetic ? Weights{} : read_weights(a.pairs);
  for (int s = 0; s < a.seeds; ++s) {
    const std::uint64_t seed = globals.seed + static_cast<std::uint64_t>(s);
    const Context context = estimates.context(seed);
    nlohmann::json run = {{"pairs", a.pairs}, {"options", to_json(options)}};
    if (!synthetic) run["held_out"] = options.held_out;
    estimates.add(a.pairs, seed, run, synthetic ? std::optional(made->truth) : std::nullopt, [&] {
      if (synthetic) return estimate_information(made->sampler(context), options, context);
      return estimate_information(samples_of(file, "x", a.pairs), samples_of(file, "y", a.pairs), options, context);
    });
  }
}

Model model_of(const InformationArguments& a) {
  if (!a.model.empty()) return Model::parse(a.model);
  if (a.weights.empty())
    throw Error(ErrorCode::usage, "information needs --pairs, or --model or --weights, found none");
  const Weights weights = read_weights(a.weights);
  const auto found = weights.metadata.find("model");
  if (found == weights.metadata.end())
    throw Error(ErrorCode::usage, fmt::format("'{}' does not say which model it holds: name it (--model)", a.weights));
  return Model::parse(found->second);
}

void run_layers(const InformationArguments& a, const GlobalOptions& globals, Estimates& estimates) {
  if (a.weights.empty() == a.method.empty())
    throw Error(ErrorCode::usage, "information of layers: expected one of --weights and --method");
  if (a.with != "both" && a.with != "input" && a.with != "target")
    throw Error(ErrorCode::usage, fmt::format("--with: expected input, target or both, found '{}'", a.with));
  Model model = model_of(a);
  LayerInformationOptions options;
  options.estimate = estimate_options(a.estimate);
  std::vector<std::size_t> layers = a.layers;
  if (layers.empty()) {
    layers.resize(model.neuron_layers());
    std::iota(layers.begin(), layers.end(), std::size_t{0});
  }
  const Dataset data = load(a.data, estimates.context(globals.seed));
  for (int s = 0; s < a.seeds; ++s) {
    const std::uint64_t seed = globals.seed + static_cast<std::uint64_t>(s);
    const Context context = estimates.context(seed);
    if (!a.weights.empty())
      load_weights(model, a.weights);
    else
      initialize(model, MethodSpec::parse(a.method), &data, context);
    nlohmann::json base = {{"model", model.description()},
                           {"start", a.weights.empty() ? MethodSpec::parse(a.method).text() : a.weights},
                           {"data", {data.name, data.train.count, a.data.standardise}},
                           {"options", to_json(options.estimate)}};
    const auto one = [&](std::size_t layer, bool input, const std::string& what, nlohmann::json run) {
      options.input = input;
      options.target = !input;
      run["layer"] = layer;
      estimates.add(what, seed, run, std::nullopt, [&] {
        const LayerInformation found = estimate_layer_information(model, layer, data, options, context);
        return input ? found.input : found.target;
      });
    };
    for (const std::size_t layer : layers) {
      for (const std::string& estimator : a.with == "target" ? std::vector<std::string>{} : a.estimators) {
        options.input_estimator = parse_input_estimator(estimator);
        for (const double variance : a.noise) {
          options.noise_variance = variance;
          nlohmann::json run = base;
          run["estimator"] = estimator;
          run["noise_variance"] = variance;
          one(layer, true, fmt::format("I(X; L{} + noise), variance {}, {}", layer + 1, variance, estimator), run);
        }
      }
      if (a.with != "input") one(layer, false, fmt::format("I(Y; L{})", layer + 1), base);
    }
  }
}

void run_information(const InformationArguments& a, const GlobalOptions& globals) {
  if (a.seeds < 1) throw Error(ErrorCode::usage, fmt::format("--seeds: expected 1 or more, found {}", a.seeds));
  if (!a.pairs.empty() && (!a.model.empty() || !a.weights.empty() || !a.data.spec.empty()))
    throw Error(ErrorCode::usage, "information: expected --pairs or a model with data, found both");
  if (!a.results.empty()) check_writable(a.results);
  Estimates estimates(a, globals);
  if (a.pairs.empty())
    run_layers(a, globals, estimates);
  else
    run_pairs(a, globals, estimates);
  estimates.print();
}

}  // namespace

void add_information_command(CLI::App& program, GlobalOptions& globals) {
  CLI::App* verb = program.add_subcommand(
      "information", "Estimate mutual information: of given pairs, or of a network's layers with inputs and labels");
  auto arguments = std::make_shared<InformationArguments>();
  arguments->estimate.options.batch = 500;
  verb->add_option("--pairs", arguments->pairs,
                   "An .npz or .safetensors file with x and y, row i of one belonging to row i of the other; or "
                   "synthetic:gaussian:dimensions=10,nats=2; or synthetic:channel:a=1,b=0,input=1,noise=1");
  verb->add_option("--model", arguments->model, "A network (default: what the weights file says)");
  verb->add_option("--weights", arguments->weights, "Its weights");
  verb->add_option("--method", arguments->method, "Or an initialization, see kindling init --list");
  verb->add_option("--layer", arguments->layers, "Layers with neurons to look at, from 0 (default: all)")
      ->delimiter(',');
  verb->add_option("--with", arguments->with, "Information with the input, the target or both")->capture_default_str();
  verb->add_option("--estimator", arguments->estimators,
                   "For the input: aa-mine, whose critic holds a copy of the layers, mine, or both joined by ','")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--noise-variance", arguments->noise, "Of the noise on the layer's outputs; several joined by ','")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--held-out", arguments->estimate.options.held_out,
                   "With a file of pairs: share kept for the final value")
      ->capture_default_str();
  verb->add_option("--seeds", arguments->seeds, "Estimates with this many seeds, from --seed on")
      ->capture_default_str();
  verb->add_option("--results", arguments->results,
                   "File that keeps every finished estimate; the command goes on from it");
  add_estimate_options(*verb, arguments->estimate);
  add_data_options(*verb, arguments->data, "for layers");
  add_global_options(*verb, globals);
  verb->callback([arguments, &globals] { run_information(*arguments, globals); });
}

}  // namespace kindling::tools
