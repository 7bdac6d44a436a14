#include "methods/binary_tasks.h"

#include <fmt/format.h>
#include <kindling/targets.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/json_lines.h"
#include "methods/compare_results.h"
#include "methods/worker_threads.h"

namespace kindling {
namespace {

using nlohmann::json;

constexpr int results_format = 1;

json settings_of(const BinaryTasksOptions& o) {
  return {{"tasks", o.tasks}, {"learning_rate", o.learning_rate}, {"batch", o.batch}, {"epochs", o.epochs}};
}

json to_json(const BinaryTasksRun& run, const json& data, const json& settings, const std::string& target) {
  return {{"format", results_format},
          {"kind", "binary-tasks"},
          {"data", data},
          {"settings", settings},
          {"model", run.model},
          {"method", run.method},
          {"seed", run.seed},
          {"labels", run.labels},
          {"accuracy", run.accuracy},
          {"epoch", run.epoch},
          {"failure", run.failure},
          {"init_seconds", run.init_seconds},
          {"target", target},
          {"version", version()},
          {"init", run.init_report.empty() ? json(nullptr) : json::parse(run.init_report)}};
}

void check(const BinaryTasksOptions& o, const Dataset& data) {
  const auto require = [](bool holds, const char* option, const char* expected, double found) {
    if (!holds)
      throw Error(ErrorCode::usage, fmt::format("binary tasks: {}: expected {}, found {}", option, expected, found));
  };
  require(!o.models.empty(), "models", "1 or more", 0);
  require(!o.methods.empty(), "methods", "1 or more", 0);
  require(o.tasks >= 1 && o.tasks <= 100000, "tasks", "1 to 100000", static_cast<double>(o.tasks));
  require(!o.labels.empty(), "n", "1 or more numbers", 0);
  for (const std::int64_t n : o.labels) require(n >= 1, "n", "1 or more", static_cast<double>(n));
  require(o.repetitions >= 1, "repetitions", "1 or more", static_cast<double>(o.repetitions));
  require(o.batch >= 1, "batch", "1 or more", static_cast<double>(o.batch));
  require(o.epochs >= 1, "epochs", "1 or more", o.epochs);
  require(o.jobs >= 1 && o.jobs <= 1024, "jobs", "1 to 1024", o.jobs);
  require(o.learning_rate > 0 && std::isfinite(o.learning_rate), "lr", "a positive number", o.learning_rate);
  const auto twice = [](auto list, const auto& name) {
    std::sort(list.begin(), list.end());
    const auto found = std::adjacent_find(list.begin(), list.end());
    if (found != list.end())
      throw Error(ErrorCode::usage, fmt::format("binary tasks: {} is named twice", name(*found)));
  };
  std::vector<std::string> methods;
  for (const MethodSpec& spec : o.methods) methods.push_back(spec.text());
  const auto same = [](const std::string& text) { return text; };
  twice(methods, same);
  twice(o.models, same);
  twice(o.labels, [](std::int64_t n) { return fmt::format("N = {}", n); });
  if (data.test.count < 1) throw Error(ErrorCode::bad_input, "binary tasks need a test split, found none");
  for (const std::string& text : o.models) {
    const Model model = Model::parse(text);
    check_fits(model, data.train.features, 2);
    if (model.outputs() != 2) {
      throw Error(ErrorCode::usage,
                  fmt::format("binary tasks: model {}: expected 2 outputs, found {}", text, model.outputs()));
    }
  }
  for (const std::int64_t n : o.labels) (void)task_samples(data, 0, 0, n);
}

// A learned initialization's place in the cache; its control's is the same.
MethodSpec with_checkpoint(const MethodSpec& spec, const std::string& model, std::uint64_t seed,
                           const std::string& fingerprint, const std::string& folder) {
  if (folder.empty() || (spec.name != "mmd" && spec.name != "mmd-control") || spec.options.contains("checkpoint")) {
    return spec;
  }
  MethodSpec learned{"mmd", spec.options};
  learned.options.erase("match");
  const std::size_t hash = std::hash<std::string>{}(fmt::format("{} {} {}", model, learned.text(), fingerprint));
  MethodSpec result = spec;
  result.options["checkpoint"] =
      (std::filesystem::path(folder) / fmt::format("mmd-{:016x}-{}.safetensors", hash, seed)).string();
  return result;
}

std::string without_curves(const std::string& report) {
  json parsed = json::parse(report);
  parsed.erase("curve");
  parsed.erase("layers");
  if (parsed.contains("learned")) parsed.erase("learned");
  return parsed.dump();
}

class Runner {
 public:
  Runner(const BinaryTasksOptions& options, const Dataset& data, const Context& context)
      : options_(options), data_(data), context_(context), settings_(settings_of(options)) {
    data_json_ = run_settings(data, {}).data;
    target_ = kernels::execution(context).target->name;
    if (!options.results.empty()) {
      file_.emplace(options.results, [this](std::string_view line, std::size_t number) { read_line(line, number); });
      if (!file_->cut().empty()) notes_.push_back(file_->cut());
    }
    if (!options.cache.empty()) std::filesystem::create_directories(options.cache);
  }

  BinaryTasksResult run() {
    BinaryTasksResult result;
    const auto total =
        static_cast<std::int64_t>(options_.models.size() * options_.methods.size()) * options_.repetitions;
    std::int64_t done = 0;
    // Repetition by repetition, so that what is finished early already compares all methods.
    for (std::int64_t r = 0; r < options_.repetitions; ++r) {
      for (const std::string& model : options_.models) {
        for (const MethodSpec& spec : options_.methods) {
          const std::uint64_t seed = context_.seed + static_cast<std::uint64_t>(r);
          context_.report({"binary tasks", done++, total, fmt::format("{} {} seed {}", model, spec.text(), seed)});
          run_initialization(model, spec, seed, result);
        }
      }
    }
    context_.report({"binary tasks", total, total, ""});
    result.notes = notes_;
    return result;
  }

 private:
  void read_line(std::string_view line, std::size_t number) {
    try {
      const json parsed = json::parse(line);
      if (parsed.at("kind") != "binary-tasks" || parsed.at("format") != results_format) {
        throw Error(ErrorCode::bad_input,
                    fmt::format("line {} of '{}' is not a run of binary tasks", number, options_.results));
      }
      if (parsed.at("data").at("fingerprint") != data_json_.at("fingerprint") || parsed.at("settings") != settings_) {
        return;
      }
      BinaryTasksRun run{.model = parsed.at("model"),
                         .method = parsed.at("method"),
                         .seed = parsed.at("seed"),
                         .labels = parsed.at("labels"),
                         .accuracy = parsed.at("accuracy"),
                         .epoch = parsed.at("epoch"),
                         .init_seconds = parsed.at("init_seconds"),
                         .init_report = parsed.at("init").dump(),
                         .failure = parsed.at("failure"),
                         .resumed = true};
      found_.push_back(std::move(run));
    } catch (const json::exception& error) {
      throw Error(ErrorCode::bad_input,
                  fmt::format("line {} of '{}' is not a run: {}", number, options_.results, error.what()));
    }
  }

  const BinaryTasksRun* find(const std::string& model, const std::string& method, std::uint64_t seed,
                             std::int64_t labels) const {
    for (const BinaryTasksRun& run : found_) {
      if (run.model == model && run.method == method && run.seed == seed && run.labels == labels) return &run;
    }
    return nullptr;
  }

  // One theta0, and all N and tasks from it.
  void run_initialization(const std::string& text, const MethodSpec& spec, std::uint64_t seed,
                          BinaryTasksResult& result) {
    std::vector<BinaryTasksRun> fresh;
    for (const std::int64_t n : options_.labels) {
      if (const BinaryTasksRun* old = find(text, spec.text(), seed, n)) {
        result.runs.push_back(*old);
      } else {
        fresh.push_back({.model = text, .method = spec.text(), .seed = seed, .labels = n});
      }
    }
    if (fresh.empty()) return;
    Context context = context_;
    context.seed = seed;
    Model model = Model::parse(text);
    std::string report, failure;
    const auto start = std::chrono::steady_clock::now();
    try {
      const std::string fingerprint = data_json_.at("fingerprint");
      report = without_curves(
          initialize(model, with_checkpoint(spec, text, seed, fingerprint, options_.cache), &data_, context));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::numerical) throw;
      failure = error.what();
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (BinaryTasksRun& run : fresh) {
      run.init_seconds = seconds;
      run.init_report = report;
      run.failure = failure;
    }
    if (failure.empty()) tune(model, fresh, context);
    for (BinaryTasksRun& run : fresh) {
      if (file_) {
        file_->append(
            to_json(run, data_json_, settings_, target_).dump(-1, ' ', false, json::error_handler_t::replace));
      }
      result.runs.push_back(std::move(run));
    }
  }

  void tune(const Model& model, std::vector<BinaryTasksRun>& runs, const Context& outer) {
    const auto tasks = static_cast<std::size_t>(options_.tasks);
    for (BinaryTasksRun& run : runs) {
      run.accuracy.resize(tasks);
      run.epoch.resize(tasks);
    }
    Context context = outer;
    context.progress = nullptr;
    if (options_.jobs > 1) context.threads = 1;
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::exception_ptr error;
    const auto work = [&] {
      try {
        TaskTuner tuner(data_, options_);
        for (std::size_t i = next++; i < runs.size() * tasks; i = next++) {
          BinaryTasksRun& run = runs[i / tasks];
          const auto task = static_cast<std::int64_t>(i % tasks);
          const TaskOutcome outcome = tuner.run(model, run.seed, task, run.labels, context);
          run.accuracy[i % tasks] = outcome.accuracy;
          run.epoch[i % tasks] = outcome.epoch;
        }
      } catch (...) {
        next = runs.size() * tasks;
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
      }
    };
    run_on_threads(static_cast<std::size_t>(options_.jobs), work);
    if (error) std::rethrow_exception(error);
  }

  const BinaryTasksOptions& options_;
  const Dataset& data_;
  const Context& context_;
  json settings_, data_json_;
  std::string target_;
  std::optional<io::JsonLines> file_;
  std::vector<BinaryTasksRun> found_;
  std::vector<std::string> notes_;
};

}  // namespace

BinaryTasksResult run_binary_tasks(const BinaryTasksOptions& options, const Dataset& data, const Context& context) {
  check(options, data);
  BinaryTasksResult result = Runner(options, data, context).run();
  result.rows = tabulate(result.runs, options);
  return result;
}

}  // namespace kindling
