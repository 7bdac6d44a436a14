#include <fmt/format.h>
#include <kindling/methods.h>

#include "kernels/device_log.h"
#include "kernels/dispatch.h"
#include "methods/method_entries.h"
#include "methods/method_options.h"
#include "methods/report_json.h"

namespace kindling {
namespace {

// Reads all options of a method and throws for what does not parse or is not known.
void validate(const MethodEntry& e, const MethodSpec& spec) {
  OptionReader reader(spec.name, spec.options);
  switch (e.kind) {
    case MethodKind::baseline: (void)read_baseline(reader, e.law, ""); break;
    case MethodKind::lsuv: (void)read_lsuv(reader); break;
    case MethodKind::jacobian: (void)read_jacobian(reader); break;
    case MethodKind::ibci:
    case MethodKind::ibci_control: (void)read_ibci(reader); break;
    case MethodKind::bottleneck:
    case MethodKind::bottleneck_control: (void)read_bottleneck(reader); break;
    case MethodKind::correlated: (void)read_correlated(reader, e.correlated); break;
    case MethodKind::he_matched: (void)read_he_matched(reader); break;
    case MethodKind::mmd: (void)read_mmd(reader); break;
    case MethodKind::mmd_control:
      (void)read_mmd(reader);
      (void)read_mmd_match(reader);
      break;
    case MethodKind::random_label: (void)read_random_label(reader); break;
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

nlohmann::json run(const MethodEntry& e, Model& model, const MethodSpec& spec, const Dataset* data,
                   const Context& context) {
  OptionReader reader(spec.name, spec.options);
  nlohmann::json report;
  switch (e.kind) {
    case MethodKind::baseline:
      report = to_json(initialize_baseline(model, read_baseline(reader, e.law, ""), context));
      break;
    case MethodKind::lsuv: report = to_json(initialize_lsuv(model, *data, read_lsuv(reader), context)); break;
    case MethodKind::jacobian:
      report = to_json(initialize_jacobian(model, data, read_jacobian(reader), context));
      break;
    case MethodKind::correlated:
    case MethodKind::he_matched: {
      const CorrelatedRequest request =
          e.kind == MethodKind::correlated ? read_correlated(reader, e.correlated) : read_he_matched(reader);
      report = to_json(initialize_correlated(model, request.options, request.match, context));
      break;
    }
    case MethodKind::ibci: report = run_ibci(model, read_ibci(reader), *data, context); break;
    case MethodKind::ibci_control: {
      const IbciRequest request = read_ibci(reader);
      if (request.search) throw Error(ErrorCode::usage, "method ibci-control: alpha=search is for ibci; give numbers");
      report = to_json(initialize_ibci_control(model, *data, request.options, context));
      break;
    }
    case MethodKind::bottleneck:
    case MethodKind::bottleneck_control: {
      const BottleneckRequest request = read_bottleneck(reader);
      initialize_baseline(model, request.base, context);
      report = to_json(train_bottleneck(model, *data, request.options, context));
      if (e.kind == MethodKind::bottleneck_control) randomize_matched(model, context);
      break;
    }
    case MethodKind::mmd: report = to_json(initialize_mmd(model, *data, read_mmd(reader), context)); break;
    case MethodKind::mmd_control: {
      const MmdOptions options = read_mmd(reader);
      report = to_json(initialize_mmd_control(model, *data, options, read_mmd_match(reader), context));
      break;
    }
    case MethodKind::random_label:
      report = to_json(initialize_random_label(model, *data, read_random_label(reader), context));
      break;
  }
  return report;
}

}  // namespace

MethodSpec MethodSpec::parse(std::string_view text) {
  MethodSpec spec;
  const std::size_t colon = text.find(':');
  spec.name = text.substr(0, colon);
  const MethodEntry& e = method_entry(spec.name);
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
    for (const MethodEntry& e : method_entries()) infos.push_back(e.info);
    return infos;
  }();
  return all;
}

const MethodInfo& method_info(std::string_view name) { return method_entry(name).info; }

MethodSpec control_of(const MethodSpec& spec) {
  if (spec.name == "bottleneck") return {"bottleneck-control", spec.options};
  if (method_entry(spec.name).kind == MethodKind::correlated) return correlated_control(spec);
  if (spec.name == "mmd") return {"mmd-control", spec.options};
  if (spec.name != "ibci") return {};
  MethodSpec control{"ibci-control", spec.options};
  // The scale hardly depends on alpha, and a control that trains to find it would no longer be one.
  const auto alpha = control.options.find("alpha");
  if (alpha != control.options.end() && alpha->second == "search") control.options.erase(alpha);
  for (const char* option : {"draws", "search_epochs", "search_lr"}) control.options.erase(option);
  return control;
}

std::string initialize(Model& model, const MethodSpec& spec, const Dataset* data, const Context& context) {
  const MethodEntry& e = method_entry(spec.name);
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

}  // namespace kindling
