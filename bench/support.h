// What a file of benchmarks needs: how to describe one comparison, and how to register it.
//
// A *comparison* is one piece of work (kernel, shape, thread count); its *contestants* are the ways of doing it: the
// kernel on a target, and peers. Both modes of the program read the same list: Google Benchmark registers every
// contestant as a row `<kernel>/<contestant>/<shape>/threads:<n>`, the interleaved mode times the contestants of a
// comparison round-robin. To add a benchmark, write bench/kernels/<kernel>_bench.cpp (or bench/methods/...) with
//
//   void add_rows(Registry& registry, const Settings& settings) { registry.add({...}); }
//   const Registration registration{add_rows};
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/dispatch.h"

namespace kindling::bench {

/// A contestant ready to run: everything allocated and bound.
struct Trial {
  std::function<void()> run;     ///< one call, the thing that is timed
  std::function<void()> verify;  ///< runs once; throws WrongAnswer (reference.h) that says where
  std::function<std::map<std::string, double>()> counters;  ///< optional: further numbers of the last run
};

struct Contestant {
  std::string name;             ///< target or peer
  bool peer = false;            ///< whether the others are compared with it
  std::function<Trial()> make;  ///< called just before verification; not timed
};

/// What bounds the work, for `of_peak`.
enum class Limit { multiply_add, memory, none };

/// What one call does.
struct Work {
  double flops = 0;  ///< floating-point operations, a multiply-add counting two
  double bytes = 0;  ///< bytes that must be read and written at least once
  double items = 0;  ///< things made, where neither says enough (draws, samples)
};

/// What the project asks of a row; 0: nothing.
struct Goal {
  double ratio = 0;    ///< least speed relative to the fastest peer, by medians
  double of_peak = 0;  ///< least share of the limit, by best runs
};

struct Comparison {
  std::string kernel;  ///< first part of the row's name
  std::string shape;   ///< "1000x784x512"
  int threads = 1;
  Work work;
  Limit limit = Limit::multiply_add;
  Goal goal;
  std::vector<Contestant> contestants;

  [[nodiscard]] std::string row_name(const Contestant& c) const {
    return kernel + "/" + c.name + "/" + shape + "/threads:" + std::to_string(threads);
  }
};

/// What the user asked for.
struct Settings {
  std::vector<const kernels::Target*> targets;  ///< kernels run on each of them
  std::vector<int> threads;                     ///< every comparison is made for each
};

/// A peer that could not be built, so that no baseline is lost without a word.
struct MissingPeer {
  std::string kernel, peer, reason;
};

class Registry {
 public:
  void add(Comparison comparison) { comparisons_.push_back(std::move(comparison)); }
  void missing(MissingPeer peer) { missing_.push_back(std::move(peer)); }
  [[nodiscard]] const std::vector<Comparison>& comparisons() const { return comparisons_; }
  [[nodiscard]] const std::vector<MissingPeer>& missing() const { return missing_; }

 private:
  std::vector<Comparison> comparisons_;
  std::vector<MissingPeer> missing_;
};

/// A static object of this type in a benchmark's source file makes its rows known. Adding rows must be cheap: data is
/// made in Contestant::make.
class Registration {
 public:
  using AddRows = void (*)(Registry&, const Settings&);
  explicit Registration(AddRows add_rows) { all().push_back(add_rows); }
  static std::vector<AddRows>& all();
};

/// Data that the contestants of one comparison share: made when the first of them asks for it, freed with the last.
template <class Problem>
class Shared {
 public:
  explicit Shared(std::function<std::shared_ptr<Problem>()> make)
      : state_(std::make_shared<State>(State{std::move(make), {}})) {}
  [[nodiscard]] std::shared_ptr<Problem> get() const {
    std::shared_ptr<Problem> problem = state_->current.lock();
    if (!problem) state_->current = problem = state_->make();
    return problem;
  }

 private:
  struct State {
    std::function<std::shared_ptr<Problem>()> make;
    std::weak_ptr<Problem> current;
  };
  std::shared_ptr<State> state_;
};

/// "1000x784x512"
std::string shape_name(std::initializer_list<std::int64_t> extents);

/// Number of cores this process may use.
int available_threads();

}  // namespace kindling::bench
