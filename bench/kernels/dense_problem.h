// Buffers and right answers of the dense benchmarks; all contestants of a comparison work on the same memory.
#pragma once

#include <kindling/tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "peers/peers.h"
#include "reference.h"
#include "shapes/dense.h"
#include "support.h"

namespace kindling::bench {

/// One dense layer with ReLU: Y = relu(X W^T + b).
struct ForwardProblem {
  explicit ForwardProblem(const DenseShape& shape);
  Tensor x, w, bias, y;
  /// Runs once on a poisoned y and compares.
  void verify(const std::function<void()>& run);

 private:
  std::optional<Expected> expected_;
};

/// The layer's backward pass: X is the output of a ReLU below, dZ the gradient at the pre-activations.
struct BackwardProblem {
  explicit BackwardProblem(const DenseShape& shape);
  Tensor x, w, bias, dz, dx;
  /// Read at every call. Tiny while the clock runs, since the weights go on moving; large for verification.
  float learning_rate = 1e-12F;
  /// Runs once from fresh weights and compares dX, W and b.
  void verify(const std::function<void()>& run);

 private:
  struct Answer {
    Expected dx, w, bias;
  };
  Answer right_answer() const;
  Tensor initial_w_, initial_bias_;
  std::optional<Answer> expected_;
};

/// A contestant for each target: `run(target execution, problem)`.
template <class Problem, class Run>
void add_targets(Comparison& comparison, const Settings& settings, const Shared<Problem>& shared, const Run& run) {
  for (const kernels::Target* target : settings.targets) {
    const kernels::Execution execution{target, comparison.threads};
    comparison.contestants.push_back({target->name, false, [shared, execution, run] {
                                        const std::shared_ptr<Problem> problem = shared.get();
                                        const auto call = [problem, execution, run] { run(execution, *problem); };
                                        return Trial{call, [problem, call] { problem->verify(call); }, {}};
                                      }});
  }
}

/// A contestant for each peer that is built and offers what `bind(peer, problem)` asks for; a missing one is reported
/// once.
template <class Problem, class Bind>
void add_peers(Comparison& comparison, const Shared<Problem>& shared, const Bind& bind,
               const std::vector<std::string>& names) {
  for (const PeerRow& row : peers()) {
    if (row.peer == nullptr || std::find(names.begin(), names.end(), row.name) == names.end()) continue;
    const Peer* peer = row.peer;
    const int threads = comparison.threads;
    comparison.contestants.push_back({row.name, true, [shared, peer, threads, bind] {
                                        const std::shared_ptr<Problem> problem = shared.get();
                                        peer->set_threads(threads);
                                        const std::function<void()> call = bind(*peer, *problem);
                                        return Trial{call, [problem, call] { problem->verify(call); }, {}};
                                      }});
  }
}

/// Reports the peers of `names` that were not built.
void report_missing_peers(Registry& registry, const std::string& kernel, const std::vector<std::string>& names);

}  // namespace kindling::bench
