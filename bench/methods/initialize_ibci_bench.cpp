// initialize_ibci of 784-256-100-10 with k = 5 on 60,000 images, all else included, beside k plain dense forwards of
// the same layers over the same data (the paper's own cost claim), and on several threads beside one.
#include <fmt/format.h>
#include <kindling/ibci.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "kernels/dense.h"
#include "methods/bench_data.h"
#include "nn/batches.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

constexpr int k = 5;
const std::vector<std::int64_t> widths{784, 256, 100, 10};

struct IbciProblem {
  std::shared_ptr<const Dataset> data = bench_dataset();
  Model model = Model::mlp(widths);
  PeakMemory memory;
};

// The inputs as floats: a plain forward pass has nothing to convert.
struct ForwardsProblem {
  explicit ForwardsProblem(const kernels::Execution& execution)
      : data(bench_dataset()), inputs({data->train.count, data->train.features}) {
    read_rows(execution, *data, data->train, 0, inputs);
    for (std::size_t l = 0; l < model.layers().size(); ++l) {
      Layer& layer = model.layers()[l];
      fill_random(layer.weight.flat(), 10 + l, std::sqrt(6.0F / static_cast<float>(layer.fan_in())));
      outputs.emplace_back(std::vector<std::int64_t>{rows, layer.fan_out()});
    }
  }
  void run(const kernels::Execution& execution) {
    const ConstTensorView all = inputs.view();
    for (int copy = 0; copy < k; ++copy) {
      for (std::int64_t first = 0; first < all.rows(); first += rows) {
        const std::int64_t count = std::min(rows, all.rows() - first);
        ConstTensorView x = all.rows(first, count);
        for (std::size_t l = 0; l < outputs.size(); ++l) {
          const Layer& layer = model.layers()[l];
          const TensorView y = outputs[l].view().rows(0, count);
          kernels::dense_forward(execution, x, layer.weight, layer.bias.flat(), layer.activation, y);
          x = y;
        }
      }
    }
  }

  static constexpr std::int64_t rows = 3840;
  std::shared_ptr<const Dataset> data;
  Model model = Model::mlp(widths);
  Tensor inputs;
  std::vector<Tensor> outputs;
};

IbciOptions options(double cache_mb) {
  IbciOptions o;
  o.k = k;
  o.cache_mb = cache_mb;
  return o;
}

Context context(const kernels::Execution& execution) {
  Context c;
  c.seed = 1;
  c.threads = execution.threads;
  c.target = execution.target->name;
  return c;
}

bool same_bits(const Model& a, const Model& b) {
  for (std::size_t l = 0; l < a.layers().size(); ++l) {
    const Tensor& wa = a.layers()[l].weight;
    const Tensor& wb = b.layers()[l].weight;
    if (std::memcmp(wa.data(), wb.data(), static_cast<std::size_t>(wa.size()) * sizeof(float)) != 0) return false;
  }
  return true;
}

// The reported input criterion of the first layer's chosen neurons, against the variance of their stored activations;
// and the same bits with one thread.
void verify(const kernels::Execution& execution, double cache_mb) {
  const auto data = bench_dataset();
  Model model = Model::mlp(widths), again = Model::mlp(widths);
  const IbciReport report = initialize_ibci(model, *data, options(cache_mb), context(execution));
  initialize_ibci(again, *data, options(cache_mb), context({execution.target, execution.threads == 1 ? 2 : 1}));
  if (!same_bits(model, again)) throw WrongAnswer("wrong answer: weights differ between one thread and several");
  check_finite(model);
  for (std::size_t l = 0; l < model.layers().size(); ++l) {
    const auto& selected = report.layers.at(l).selected;
    const std::set<std::int64_t> distinct(selected.begin(), selected.end());
    if (static_cast<std::int64_t>(distinct.size()) != model.layers()[l].fan_out() || *distinct.begin() < 0 ||
        *distinct.rbegin() >= k * model.layers()[l].fan_out()) {
      throw WrongAnswer(fmt::format("wrong answer: layer {} has {} distinct neurons, expected {}", l, distinct.size(),
                                    model.layers()[l].fan_out()));
    }
  }
  const Layer& first = model.layers().front();
  const auto m = static_cast<std::size_t>(first.fan_out());
  std::vector<double> sum(m), squares(m);
  Tensor x({ForwardsProblem::rows, widths[0]}), y({ForwardsProblem::rows, widths[1]});
  for (std::int64_t start = 0; start < data->train.count; start += ForwardsProblem::rows) {
    const std::int64_t count = std::min(ForwardsProblem::rows, data->train.count - start);
    const TensorView xv = x.view().rows(0, count);
    const TensorView yv = y.view().rows(0, count);
    read_rows(execution, *data, data->train, start, xv);
    kernels::dense_forward(execution, xv, first.weight, first.bias.flat(), first.activation, yv);
    for (std::int64_t i = 0; i < count; ++i) {
      for (std::size_t j = 0; j < m; ++j) {
        const double v = yv.row(i)[j];
        sum[j] += v;
        squares[j] += v * v;
      }
    }
  }
  const auto n = static_cast<double>(data->train.count);
  double mean_variance = 0;
  for (std::size_t j = 0; j < m; ++j)
    mean_variance += (squares[j] / n - sum[j] / n * (sum[j] / n)) / static_cast<double>(m);
  const double found = report.layers.front().input_criterion_chosen;
  // 784 terms of an activation, groups of 960 samples in float32: some 1e-5.
  const double tolerance = 8 * std::sqrt(784.0 + 960.0) * epsilon32 * mean_variance;
  if (!(std::abs(found - mean_variance) <= tolerance)) {
    throw WrongAnswer(fmt::format("wrong answer: mean input criterion of the chosen is {:.9g}, their variance {:.9g}",
                                  found, mean_variance));
  }
}

Trial ibci_trial(const kernels::Execution& execution, double cache_mb) {
  const auto problem = std::make_shared<IbciProblem>();
  return {[problem, execution, cache_mb] {
            problem->memory.start();
            initialize_ibci(problem->model, *problem->data, options(cache_mb), context(execution));
          },
          [execution, cache_mb] { verify(execution, cache_mb); },
          [problem] {
            return std::map<std::string, double>{{"peak_memory_rise_mib", problem->memory.rise()}};
          }};
}

Trial forwards_trial(const kernels::Execution& execution) {
  const auto problem = std::make_shared<ForwardsProblem>(execution);
  return {[problem, execution] { problem->run(execution); },
          [problem, execution] {
            poison(problem->outputs.back().flat());
            problem->run(execution);
            const TensorView logits = problem->outputs.back().view();
            check("logits", logits.rows(0, problem->data->train.count % ForwardsProblem::rows), {});
          },
          {}};
}

void add_rows(Registry& registry, const Settings& settings) {
  const std::string shape = "784-256-100-10-k5-" + bench_dataset_name();
  double multiply_adds = 0;
  for (std::size_t l = 1; l < widths.size(); ++l)
    multiply_adds += k * 60'000.0 * static_cast<double>(widths[l - 1] * widths[l]);
  struct Row {
    const char* kernel;
    double cache_mb, wanted_time;
  };
  for (const kernels::Target* target : settings.targets) {
    for (const Row& row : {Row{"initialize_ibci", 150, 1.3}, Row{"initialize_ibci_uncached", 0, 1.6}}) {
      for (const int threads : settings.threads) {
        const kernels::Execution execution{target, threads};
        registry.add(
            {.kernel = row.kernel,
             .shape = shape,
             .threads = threads,
             .work = {.flops = 2 * multiply_adds},
             .goal = {.ratio = 1 / row.wanted_time},
             .contestants = {
                 {target->name, false, [execution, cache = row.cache_mb] { return ibci_trial(execution, cache); }},
                 {"k_forwards_" + target->name, true, [execution] { return forwards_trial(execution); }}}});
      }
    }
    for (const int threads : settings.threads) {
      if (threads == 1) continue;
      registry.add({.kernel = "initialize_ibci_threads",
                    .shape = shape,
                    .threads = threads,
                    .work = {.flops = 2 * multiply_adds},
                    .goal = {.ratio = 1.6},
                    .contestants = {{target->name, false,
                                     [target, threads] {
                                       return ibci_trial({target, threads}, 150);
                                     }},
                                    {"one_thread_" + target->name, true, [target] {
                                       return ibci_trial({target, 1}, 150);
                                     }}}});
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
