#include "methods/mmd_checkpoint.h"

#include <fmt/format.h>
#include <kindling/weights_file.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "methods/compare_results.h"

namespace kindling {
namespace {

using nlohmann::json;

void put(Weights& file, const std::string& name, const Tensor& t) {
  if (!t.empty()) file.tensors.push_back({name, t.shape(), {t.data(), t.data() + t.size()}});
}

void get(const std::string& path, const Weights& file, const std::string& name, Tensor& t) {
  if (t.empty()) return;
  const NamedTensor* found = file.find(name);
  if (found == nullptr || found->shape != t.shape()) {
    throw Error(ErrorCode::bad_input,
                fmt::format("checkpoint '{}': expected {} of {}, found {}", path, name, shape_string(t.shape()),
                            found == nullptr ? "none" : shape_string(found->shape)));
  }
  std::copy(found->data.begin(), found->data.end(), t.data());
}

template <class Visit>
void parameters(const std::string& prefix, Model& model, const Visit& visit) {
  for (Layer& layer : model.layers()) {
    visit(prefix + layer.name + ".weight", layer.weight);
    visit(prefix + layer.name + ".bias", layer.bias);
  }
}

template <class Visit>
void moments(const Model& model, std::vector<AdamState>& adam, const Visit& visit) {
  for (std::size_t i = 0; i < adam.size(); ++i) {
    const std::string name = "adam." + model.layers()[i].name;
    visit(name + ".weight.mean", adam[i].weight_mean);
    visit(name + ".weight.square", adam[i].weight_square);
    visit(name + ".bias.mean", adam[i].bias_mean);
    visit(name + ".bias.square", adam[i].bias_square);
  }
}

}  // namespace

std::string mmd_settings(const Model& model, const Dataset& data, const MmdOptions& o, std::uint64_t seed) {
  json settings = {{"model", model.description()},
                   {"data", run_settings(data, {}).data.at("fingerprint")},
                   {"seed", seed},
                   {"law",
                    {static_cast<int>(o.law.law), static_cast<int>(o.law.distribution), static_cast<int>(o.law.fan),
                     o.law.gain, static_cast<int>(o.law.bias)}},
                   {"perturbations", o.perturbations},
                   {"batch", o.batch},
                   {"lr", o.learning_rate},
                   {"schedule", static_cast<int>(o.schedule)},
                   {"s2", o.scale_squared},
                   {"weights", {o.uniformity, o.lambda, o.xi}},
                   {"statistic", static_cast<int>(o.statistic)},
                   {"bandwidth", o.bandwidth ? json(*o.bandwidth) : json("median")},
                   {"hinge", static_cast<int>(o.hinge)},
                   {"span", o.span},
                   {"window", o.window}};
  // A constant rate may go on for longer; a decaying one depends on where it ends.
  if (o.schedule != RateSchedule::constant) settings["steps"] = o.steps;
  return settings.dump();
}

void write_checkpoint(const std::string& path, const std::string& settings, std::int64_t step, const Model& model,
                      const std::vector<AdamState>& adam, const BestWindow& windows) {
  Weights file;
  const auto visit = [&](const std::string& name, const Tensor& t) { put(file, name, t); };
  parameters("theta.", const_cast<Model&>(model), visit);
  parameters("best.", const_cast<Model&>(*windows.best), visit);
  moments(model, const_cast<std::vector<AdamState>&>(adam), visit);
  json curve = json::array();
  for (const MmdRecord& r : windows.curve) {
    curve.push_back({r.step, r.terms.uniformity, r.terms.softmax, r.terms.detachment, r.terms.total});
  }
  file.metadata = {
      {"kindling.mmd",
       json({{"settings", json::parse(settings)}, {"step", step}, {"best", windows.best_index}, {"curve", curve}})
           .dump()}};
  write_safetensors(path, file);
}

std::int64_t read_checkpoint(const std::string& path, const std::string& settings, Model& model,
                             std::vector<AdamState>& adam, BestWindow& windows) {
  if (!std::filesystem::exists(path)) return 0;
  const Weights file = read_safetensors(path);
  const auto text = file.metadata.find("kindling.mmd");
  if (text == file.metadata.end()) {
    throw Error(ErrorCode::bad_input, fmt::format("'{}' is not a checkpoint of method mmd", path));
  }
  try {
    const json state = json::parse(text->second);
    const json &found = state.at("settings"), expected = json::parse(settings);
    for (const auto& [name, value] : expected.items()) {
      if (found.contains(name) && found.at(name) == value) continue;
      throw Error(ErrorCode::usage,
                  fmt::format("checkpoint '{}' was made under other settings: {} is {} there and {} here", path, name,
                              found.contains(name) ? found.at(name).dump() : "nothing", value.dump()));
    }
    for (const json& r : state.at("curve")) {
      windows.curve.push_back({r.at(0).get<std::int64_t>(), {r.at(1), r.at(2), r.at(3), r.at(4)}});
    }
    windows.best_index = state.at("best");
    if (windows.best_index >= windows.curve.size()) {
      throw Error(ErrorCode::bad_input, fmt::format("checkpoint '{}': its best window is not in its curve", path));
    }
    windows.best = model.clone();
    const auto visit = [&](const std::string& name, Tensor& t) { get(path, file, name, t); };
    parameters("theta.", model, visit);
    parameters("best.", *windows.best, visit);
    moments(model, adam, visit);
    return state.at("step");
  } catch (const json::exception& error) {
    throw Error(ErrorCode::bad_input, fmt::format("checkpoint '{}' is damaged: {}", path, error.what()));
  }
}

}  // namespace kindling
