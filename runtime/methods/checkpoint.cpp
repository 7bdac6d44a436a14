#include "methods/checkpoint.h"

#include <fmt/format.h>
#include <kindling/targets.h>

#include <cstring>
#include <filesystem>

#include "kernels/dispatch.h"
#include "methods/compare_results.h"

namespace kindling {
namespace {

constexpr const char* identity = "training";

// FNV-1a over the bits of the parameters.
std::string parameter_hash(const Model& model) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const Layer& layer : model.layers()) {
    for (const Tensor* t : {&layer.weight, &layer.bias, &layer.running_mean, &layer.running_var}) {
      for (const float v : t->flat()) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, &v, sizeof bits);
        hash = (hash ^ bits) * 1099511628211ULL;
      }
    }
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace

Checkpoint::Checkpoint(CheckpointOptions options, const nlohmann::json& training)
    : options_(std::move(options)), training_(training.dump()) {
  if (!(options_.seconds >= 0))
    throw Error(ErrorCode::usage, fmt::format("checkpoint: expected 0 or more seconds, found {}", options_.seconds));
  if (!options_.path.empty() && std::filesystem::path(options_.path).extension() != ".safetensors") {
    throw Error(ErrorCode::usage, fmt::format("checkpoint: expected a .safetensors file, found '{}'", options_.path));
  }
}

std::optional<Weights> Checkpoint::load() const {
  if (options_.path.empty() || !std::filesystem::exists(options_.path)) return std::nullopt;
  Weights state = read_safetensors(options_.path);
  const auto found = state.metadata.find(identity);
  if (found == state.metadata.end())
    throw Error(ErrorCode::bad_input, fmt::format("'{}' is no checkpoint of a training", options_.path));
  if (found->second != training_) {
    throw Error(ErrorCode::bad_input,
                fmt::format("'{}' is the checkpoint of another training (other options, data, seed or first weights): "
                            "expected {}, found {}",
                            options_.path, training_, found->second));
  }
  return state;
}

void Checkpoint::pass(const Context& context, const Archive& archive) {
  const bool stopping = context.stop.stop_requested();
  const double since = std::chrono::duration<double>(std::chrono::steady_clock::now() - last_).count();
  if (stopping || since >= options_.seconds) write(archive);
  context.check_stop();
}

void Checkpoint::write(const Archive& archive) {
  if (options_.path.empty()) return;
  Weights state;
  state.metadata[identity] = training_;
  StateWriter writer(state);
  archive(writer);
  write_safetensors(options_.path, state);
  last_ = std::chrono::steady_clock::now();
}

void archive_model(StateArchive& archive, const std::string& prefix, Model& model) {
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    Layer& layer = model.layers()[i];
    const std::string name = fmt::format("{}.{}", prefix, i);
    const auto add = [&](const char* what, Tensor& t) {
      if (!t.empty()) archive.values(name + what, t.flat());
    };
    add(".weight", layer.weight);
    add(".bias", layer.bias);
    add(".running_mean", layer.running_mean);
    add(".running_var", layer.running_var);
    if (layer.kind == LayerKind::batch_norm) archive.count(name + ".batches", layer.batches_tracked);
  }
}

nlohmann::json training_identity(const Model& model, const Dataset& data, const Context& context) {
  return {{"model", model.description()},
          {"start", parameter_hash(model)},
          {"data", run_settings(data, {}).data},
          {"seed", context.seed},
          {"target", kernels::execution(context).target->name},
          {"version", version()}};
}

nlohmann::json to_json(const InformationTermOptions& o) {
  const CriticOptions& c = o.critic;
  return {{"critic",
           {{"hidden", c.hidden},
            {"leaky_slope", c.leaky_slope},
            {"learning_rate", c.learning_rate},
            {"beta1", c.beta1},
            {"beta2", c.beta2},
            {"epsilon", c.epsilon},
            {"average_rate", c.average_rate},
            {"divergence_limit", c.divergence_limit},
            {"restarts", c.restarts},
            {"restart_factor", c.restart_factor}}},
          {"input_estimator", to_string(o.input_estimator)},
          {"gradient_through_copy", o.gradient_through_copy},
          {"product", to_string(o.product)},
          {"noise_variance", o.noise_variance},
          {"batch", o.batch},
          {"critic_updates", o.critic_updates},
          {"warmup", o.warmup},
          {"warmup_tolerance", o.warmup_tolerance},
          {"warmup_window", o.warmup_window}};
}

}  // namespace kindling
