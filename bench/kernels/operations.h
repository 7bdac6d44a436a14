// Operations on the buffers of one problem, each a row of its own beside the same operation of the peers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/dense_problem.h"
#include "peers/peers.h"
#include "support.h"

namespace kindling::bench {

template <class Problem>
struct Operation {
  /// A peer of peers/plain.h, which has no threads.
  struct Loop {
    std::string name;  ///< empty: none
    void (*run)(Problem&) = nullptr;
  };

  std::string name;
  void (*run)(const kernels::Execution&, Problem&);
  /// Runs once on poisoned outputs and compares.
  void (Problem::*verify)(const std::function<void()>&);
  std::vector<std::string> peers;  ///< names of peers.h
  std::function<void()> (*bind)(const Peer&, Problem&) = nullptr;
  Loop loop = {};
};

/// Adds the operation for every number of threads; `row` has all but its kernel, its threads and its contestants.
template <class Problem>
void add_operation(Registry& registry, const Settings& settings, const Operation<Problem>& operation,
                   const Shared<Problem>& shared, const Comparison& row) {
  for (const int threads : settings.threads) {
    Comparison comparison = row;
    comparison.kernel = operation.name;
    comparison.threads = threads;
    using Prepare = std::function<std::function<void()>(Problem&)>;
    const auto add = [&](const std::string& name, bool peer, const Prepare& prepare) {
      comparison.contestants.push_back({name, peer, [shared, prepare, verify = operation.verify] {
                                          const std::shared_ptr<Problem> p = shared.get();
                                          const auto run = [p, call = prepare(*p)] { call(); };
                                          return Trial{run, [p, run, verify] { (*p.*verify)(run); }, {}};
                                        }});
    };
    for (const kernels::Target* target : settings.targets) {
      const kernels::Execution execution{target, threads};
      add(target->name, false,
          [execution, run = operation.run](Problem& p) { return [&p, execution, run] { run(execution, p); }; });
    }
    for (const PeerRow& r : peers()) {
      const auto& names = operation.peers;
      if (r.peer == nullptr || std::find(names.begin(), names.end(), r.name) == names.end()) continue;
      add(r.name, true, [peer = r.peer, bind = operation.bind, threads](Problem& p) -> std::function<void()> {
        peer->set_threads(threads);
        // Again before each call: the count of OpenMP threads is one for all who use it.
        return [peer, threads, call = bind(*peer, p)] {
          peer->set_threads(threads);
          call();
        };
      });
    }
    if (!operation.loop.name.empty())
      add(operation.loop.name, true, [run = operation.loop.run](Problem& p) { return [&p, run] { run(p); }; });
    registry.add(std::move(comparison));
  }
}

}  // namespace kindling::bench
