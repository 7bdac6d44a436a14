#include <fmt/format.h>
#include <kindling/methods.h>

#include "kernels/device_log.h"
#include "kernels/dispatch.h"
#include "methods/method_options.h"
#include "methods/report_json.h"

namespace kindling {
namespace {

using Options = std::vector<std::pair<std::string, std::string>>;

Options joined(Options first, const Options& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

const Options law_options = {{"distribution", "normal | uniform (normal)"},
                             {"fan", "in | out | average, for he (in)"},
                             {"gain", "factor on the law; 0: by the activation for he and orthogonal, else 1 (0)"},
                             {"bias", "zero | uniform, PyTorch's +-1/sqrt(fan_in) (zero)"}};
const Options ibci_options =
    joined({{"law", "xavier | he | lecun | orthogonal: where candidates come from (xavier; program: he)"},
            {"k", "candidates per neuron (5)"},
            {"alpha",
             "weight of the input criterion: one number, first/last, one per layer joined by '/', or search (0.9/0.1)"},
            {"draws", "alpha=search: random draws (20)"},
            {"search_epochs", "alpha=search: epochs of each trial training (2)"},
            {"search_lr", "alpha=search: learning rate of the trial trainings, SGD (0.1)"},
            {"criteria", "both | input | target (both)"},
            {"score_on", "auto | pre | post activation; auto: post for hidden layers, logits for the last (auto)"},
            {"scores", "true | false: without scores only directions count (true)"},
            {"campaign", "true | false: without the campaign only scores count (true)"},
            {"variant", "paper | program, the authors' published program (paper)"},
            {"max_candidates", "variant=program: most candidates of a layer (1000)"},
            {"samples", "random subset of the training samples; 0: all (0)"},
            {"cache_mb", "memory for a frozen layer's outputs, MB (150)"}},
           law_options);

const Options jacobian_options = {
    {"simulate", "true | false: measured on data, which convolutions need, or from the widths alone (false)"},
    {"norm", "wanted spectral norm of each layer's Jacobian (1)"},
    {"samples", "simulate=true: random training samples for the mean norm; 0: all (200)"},
    {"tolerance", "simulate=true: accepted distance from the norm, relative (0.01)"},
    {"iterations", "simulate=true: most rescalings of a layer (10)"},
    {"distribution", "normal | uniform (normal)"},
    {"bias", "zero | uniform, PyTorch's +-1/sqrt(fan_in) (zero)"}};

const Options bottleneck_options =
    joined({{"base", "xavier | he | lecun | orthogonal: what training starts from (he)"},
            {"beta", "weight of I(X; L + noise) for dense layers (0.001)"},
            {"conv_beta", "the same for convolutions (0)"},
            {"iterations", "of each layer (5000)"},
            {"lr", "learning rate of the layers, Adam (0.001)"},
            {"critic_updates", "of each critic an iteration (10)"},
            {"batch", "joint pairs, with as many product pairs (100)"},
            {"noise_variance", "of the noise on L (2)"},
            {"warmup", "most updates of the critics before the first iteration (2000)"},
            {"warmup_tolerance", "nats by which 100 updates must raise the mean for it to go on (0.01)"},
            {"estimator", "aa-mine | mine, for I(X; L + noise) (aa-mine)"},
            {"product", "second-batch | permutation: where product pairs come from (second-batch)"},
            {"through_copy", "true | false: gradient also through the copy of the layers in the critic (false)"},
            {"critic", "hidden layers of the critics (1500/1500)"},
            {"critic_lr", "their learning rate, Adam (0.0001)"},
            {"average_rate", "of the moving average that corrects their gradient; 1: none (1)"},
            {"restarts", "times that a diverged critic begins anew with a tenth of the step (0)"},
            {"post", "iterations of the linear layer trained at the end and folded in; 0: none (5000)"},
            {"post_lr", "its learning rate, Adam (0.001)"},
            {"cache_mb", "memory for frozen outputs, MB (300)"}},
           law_options);

enum class Kind {
  baseline,
  lsuv,
  jacobian,
  ibci,
  ibci_control,
  bottleneck,
  bottleneck_control,
  correlated,
  he_matched,
  mmd,
  mmd_control,
  random_label
};
// The options of correlated laws with the defaults of one.
Options correlated_options(const std::string& k, const std::string& variance, bool asymmetric) {
  const std::string bias = asymmetric ? "entry" : "independent", beta = asymmetric ? "true" : "false";
  return {{"k", "strength, above -1: 0 independent, above 0 anti-correlated (" + k + ")"},
          {"weight_variance",
           "sigma_w^2, divided by fan-in, or keep: what keeps lengths without biases (" + variance + ")"},
          {"bias_variance", "sigma_b^2 of independent biases (0)"},
          {"bias", "entry: one more entry of each row | independent (" + bias + ")"},
          {"beta", "true | false: one entry of each row is a Beta(2, 1) draw (" + beta + ")"}};
}
const Options match_option = {
    {"match", "none | aci | rai | raai: scale every layer to the length that this law's defaults give it (none)"}};

const Options mmd_options =
    joined({{"law", "xavier | he | lecun | orthogonal: where the search starts (xavier)"},
            {"perturbations", "S, perturbed networks a step (16)"},
            {"batch", "inputs a step (50)"},
            {"steps", "at most so many (1200)"},
            {"lr", "learning rate of Adam (0.0003)"},
            {"schedule", "constant | linear | cosine: the rate's way down to 0 (constant)"},
            {"s2", "variance of the perturbations times the fan (0.5)"},
            {"uniformity", "weight of L_uni (1)"},
            {"lambda", "weight of L_sd (0.4)"},
            {"xi", "weight of L_iod (1)"},
            {"statistic", "v | u (v)"},
            {"bandwidth", "median | a number: of the kernel (median)"},
            {"hinge", "auto | printed | share: L_sd's form; auto: printed for 2 outputs, else share (auto)"},
            {"span", "true | false: draw the first layer's perturbation in the span of the batch (true)"},
            {"window", "steps averaged for curve, choice and early stop (50)"},
            {"patience", "windows without improvement before stopping; 0: never (10)"},
            {"checkpoint", "safetensors file to go on from, written after every window (none)"}},
           law_options);
const Options random_label_options =
    joined({{"law", "xavier | he | lecun | orthogonal: where the search starts (xavier)"},
            {"batch", "inputs a step (50)"},
            {"steps", "at most so many (1200)"},
            {"lr", "learning rate of Adam (0.001)"},
            {"window", "steps averaged for curve, choice and early stop (50)"},
            {"patience", "windows without improvement before stopping; 0: never (10)"}},
           law_options);

struct Entry {
  MethodInfo info;
  Kind kind;
  Law law;
  CorrelatedOptions correlated{};
};

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = {
      {{"xavier", "Glorot & Bengio 2010: variance 2 / (fan_in + fan_out)", false, law_options},
       Kind::baseline,
       Law::xavier},
      {{"he", "He et al. 2015: variance gain^2 / fan", false, law_options}, Kind::baseline, Law::he},
      {{"lecun", "LeCun et al. 1998: variance 1 / fan_in", false, law_options}, Kind::baseline, Law::lecun},
      {{"orthogonal", "Saxe et al. 2014: orthonormal rows or columns times gain", false, law_options},
       Kind::baseline,
       Law::orthogonal},
      {{"lsuv", "Mishkin & Matas 2016: layer-sequential unit variance on top of a base law", true,
        joined({{"base", "xavier | he | lecun | orthogonal (orthogonal)"},
                {"variance", "wanted variance of each layer's pre-activations (1)"},
                {"tolerance", "accepted distance from it (0.02)"},
                {"iterations", "most rescalings of a layer (10)"},
                {"samples", "random training samples for the variance; 0: all (2000)"},
                {"last_layer", "true | false: rescale the output layer too (true)"}},
               law_options)},
       Kind::lsuv,
       Law::orthogonal},
      {{"jacobian", "Skorski 2020: spectral norm of every layer's Jacobian 1, by a closed form or on data", false,
        jacobian_options},
       Kind::jacobian,
       Law::xavier},
      {{"ibci", "Mao et al. 2021: information-bottleneck guided neuron campaign", true, ibci_options},
       Kind::ibci,
       Law::xavier},
      {{"ibci-control", "ibci's law, scale and biases without its selection", true, ibci_options},
       Kind::ibci_control,
       Law::xavier},
      {{"bottleneck", "layer-by-layer training by the information bottleneck (ICLR 2019 submission)", true,
        bottleneck_options},
       Kind::bottleneck,
       Law::he},
      {{"bottleneck-control", "bottleneck's mean and norm of every layer's weights, drawn at random", true,
        bottleneck_options},
       Kind::bottleneck_control,
       Law::he},
      {{"aci", "anti-correlated initialization: the entries of a row nearly cancel", false,
        joined(correlated_options("100", "2", false), match_option)},
       Kind::correlated,
       Law::he,
       aci_options()},
      {{"rai", "random asymmetric initialization: a positive entry in every row makes fewer units dead", false,
        joined(correlated_options("0", "0.36", true), match_option)},
       Kind::correlated,
       Law::he,
       rai_options()},
      {{"raai", "random asymmetric anti-correlated initialization: both", false,
        joined(correlated_options("100", "0.9", true), match_option)},
       Kind::correlated,
       Law::he,
       raai_options()},
      {{"he-matched", "independent normal weights with the length that aci, rai or raai gives every layer", false,
        joined({{"like", "aci | rai | raai: whose length; the other options change that law (raai)"}},
               correlated_options("of like", "of like", true))},
       Kind::he_matched,
       Law::he},
      {{"mmd", "Lee et al. 2023: learned from unlabelled inputs by maximum mean discrepancy", true, mmd_options, false},
       Kind::mmd,
       Law::xavier},
      {{"mmd-control", "random weights of mmd's means and norms, layer by layer", true,
        joined({{"match", "norm | jacobian: match the mean norms of the Jacobians' rows too (norm)"}}, mmd_options),
        false},
       Kind::mmd_control,
       Law::xavier},
      {{"random-label", "Pondenkandath et al. 2018: pre-trained on labels drawn anew for every batch", true,
        random_label_options, false},
       Kind::random_label,
       Law::xavier}};
  return all;
}

const Entry& entry(std::string_view name) {
  std::string known;
  for (const Entry& e : entries()) {
    if (e.info.name == name) return e;
    known += (known.empty() ? "" : ", ") + e.info.name;
  }
  throw Error(ErrorCode::usage, fmt::format("unknown method '{}': known are {}", name, known));
}

// Reads all options of a method and throws for what does not parse or is not known.
void validate(const Entry& e, const MethodSpec& spec) {
  OptionReader reader(spec.name, spec.options);
  switch (e.kind) {
    case Kind::baseline: (void)read_baseline(reader, e.law, ""); break;
    case Kind::lsuv: (void)read_lsuv(reader); break;
    case Kind::jacobian: (void)read_jacobian(reader); break;
    case Kind::ibci:
    case Kind::ibci_control: (void)read_ibci(reader); break;
    case Kind::bottleneck:
    case Kind::bottleneck_control: (void)read_bottleneck(reader); break;
    case Kind::correlated: (void)read_correlated(reader, e.correlated); break;
    case Kind::he_matched: (void)read_he_matched(reader); break;
    case Kind::mmd: (void)read_mmd(reader); break;
    case Kind::mmd_control:
      (void)read_mmd(reader);
      (void)read_mmd_match(reader);
      break;
    case Kind::random_label: (void)read_random_label(reader); break;
  }
  reader.finish();
}

// He's law at the same length in every layer: what a correlated law does beyond its scale shows against it. A spec that
// is matched to a law already has that law's length.
MethodSpec correlated_control(const MethodSpec& spec) {
  MethodSpec control{"he-matched", spec.options};
  control.options["like"] = spec.name;
  const auto match = control.options.find("match");
  if (match != control.options.end() && match->second != "none") return {"he-matched", {{"like", match->second}}};
  if (match != control.options.end()) control.options.erase(match);
  return control;
}

nlohmann::json run_ibci(Model& model, IbciRequest request, const Dataset& data, const Context& context) {
  nlohmann::json search;
  if (request.search) {
    const AlphaSearchReport found = search_alpha(model, data, request.options, request.search_options, context);
    request.options.alpha.values = found.alphas[found.best];
    search = to_json(found);
  }
  nlohmann::json report = to_json(initialize_ibci(model, data, request.options, context));
  if (request.search) report["alpha_search"] = search;
  return report;
}

}  // namespace

MethodSpec MethodSpec::parse(std::string_view text) {
  MethodSpec spec;
  const std::size_t colon = text.find(':');
  spec.name = text.substr(0, colon);
  const Entry& e = entry(spec.name);
  std::string_view rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  while (colon != std::string_view::npos) {
    const std::size_t comma = rest.find(',');
    const std::string_view pair = rest.substr(0, comma);
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      throw Error(ErrorCode::usage,
                  fmt::format("method '{}': expected options as name=value joined by ',', found '{}'", text, pair));
    }
    if (!spec.options.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second) {
      throw Error(ErrorCode::usage,
                  fmt::format("method '{}': option '{}' is given twice", text, pair.substr(0, equals)));
    }
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  validate(e, spec);
  return spec;
}

std::string MethodSpec::text() const {
  std::string result = name;
  char separator = ':';
  for (const auto& [option, value] : options) {
    result += fmt::format("{}{}={}", separator, option, value);
    separator = ',';
  }
  return result;
}

const std::vector<MethodInfo>& method_catalogue() {
  static const std::vector<MethodInfo> all = [] {
    std::vector<MethodInfo> infos;
    for (const Entry& e : entries()) infos.push_back(e.info);
    return infos;
  }();
  return all;
}

const MethodInfo& method_info(std::string_view name) { return entry(name).info; }

MethodSpec control_of(const MethodSpec& spec) {
  if (spec.name == "bottleneck") return {"bottleneck-control", spec.options};
  if (entry(spec.name).kind == Kind::correlated) return correlated_control(spec);
  if (spec.name == "mmd") return {"mmd-control", spec.options};
  if (spec.name != "ibci") return {};
  MethodSpec control{"ibci-control", spec.options};
  // The scale hardly depends on alpha, and a control that trains to find it would no longer be one.
  const auto alpha = control.options.find("alpha");
  if (alpha != control.options.end() && alpha->second == "search") control.options.erase(alpha);
  for (const char* option : {"draws", "search_epochs", "search_lr"}) control.options.erase(option);
  return control;
}

namespace {

nlohmann::json run(const Entry& e, Model& model, const MethodSpec& spec, const Dataset* data, const Context& context);

}  // namespace

std::string initialize(Model& model, const MethodSpec& spec, const Dataset* data, const Context& context) {
  const Entry& e = entry(spec.name);
  validate(e, spec);
  if (e.info.needs_data && data == nullptr) {
    throw Error(ErrorCode::usage, fmt::format("method {} looks at data: name a data set (--data)", spec.name));
  }
  const kernels::Target& target = *kernels::execution(context).target;
  const kernels::DeviceLog log;
  nlohmann::json report = run(e, model, spec, data, context);
  report["method"] = spec.text();
  add_device(report, target, log);
  return report.dump();
}

namespace {

nlohmann::json run(const Entry& e, Model& model, const MethodSpec& spec, const Dataset* data, const Context& context) {
  OptionReader reader(spec.name, spec.options);
  nlohmann::json report;
  switch (e.kind) {
    case Kind::baseline: report = to_json(initialize_baseline(model, read_baseline(reader, e.law, ""), context)); break;
    case Kind::lsuv: report = to_json(initialize_lsuv(model, *data, read_lsuv(reader), context)); break;
    case Kind::jacobian: report = to_json(initialize_jacobian(model, data, read_jacobian(reader), context)); break;
    case Kind::correlated:
    case Kind::he_matched: {
      const CorrelatedRequest request =
          e.kind == Kind::correlated ? read_correlated(reader, e.correlated) : read_he_matched(reader);
      report = to_json(initialize_correlated(model, request.options, request.match, context));
      break;
    }
    case Kind::ibci: report = run_ibci(model, read_ibci(reader), *data, context); break;
    case Kind::ibci_control: {
      const IbciRequest request = read_ibci(reader);
      if (request.search) throw Error(ErrorCode::usage, "method ibci-control: alpha=search is for ibci; give numbers");
      report = to_json(initialize_ibci_control(model, *data, request.options, context));
      break;
    }
    case Kind::bottleneck:
    case Kind::bottleneck_control: {
      const BottleneckRequest request = read_bottleneck(reader);
      initialize_baseline(model, request.base, context);
      report = to_json(train_bottleneck(model, *data, request.options, context));
      if (e.kind == Kind::bottleneck_control) randomize_matched(model, context);
      break;
    }
    case Kind::mmd: report = to_json(initialize_mmd(model, *data, read_mmd(reader), context)); break;
    case Kind::mmd_control: {
      const MmdOptions options = read_mmd(reader);
      report = to_json(initialize_mmd_control(model, *data, options, read_mmd_match(reader), context));
      break;
    }
    case Kind::random_label:
      report = to_json(initialize_random_label(model, *data, read_random_label(reader), context));
      break;
  }
  return report;
}

}  // namespace

}  // namespace kindling
