// philox_normal: ten million normal draws, more than the caches hold, beside the standard library.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/random.h"
#include "peers/plain.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

constexpr std::int64_t count = 10'000'000;

struct NormalProblem {
  Tensor out{{count}};
};

constexpr kindling::Stream stream{.seed = 2024, .purpose = Purpose::test, .unit = 3};

// Mean and variance of independent standard normals lie within six standard errors.
void check_moments(std::span<const float> out) {
  double sum = 0, squares = 0;
  for (const float v : out) {
    sum += v;
    squares += double{v} * double{v};
  }
  const auto n = static_cast<double>(out.size());
  const double mean = sum / n;
  const double variance = squares / n - mean * mean;
  if (!(std::abs(mean) < 6 / std::sqrt(n)) || !(std::abs(variance - 1) < 6 * std::sqrt(2 / n))) {
    throw WrongAnswer(fmt::format("wrong answer: {} draws have mean {} and variance {}", out.size(), mean, variance));
  }
}

// Box-Muller on the words of the host's generator, pair by pair, at both ends of the array.
void check_draws(std::span<const float> out) {
  constexpr std::size_t checked = 4096;
  for (std::size_t i = 0; i < out.size(); i += 4) {
    if (i == checked) i = (out.size() - checked) / 4 * 4;
    const auto words = philox_block(stream, static_cast<std::uint32_t>(i / 4));
    for (std::size_t j = 0; j < 4 && i + j < out.size(); ++j) {
      const double radius = std::sqrt(-2 * std::log((words[j / 2 * 2] >> 1U | 1U) / 2147483648.0));
      const double angle = 2 * std::numbers::pi * words[j / 2 * 2 + 1] / 4294967296.0;
      const double wanted = radius * (j % 2 == 0 ? std::cos(angle) : std::sin(angle));
      const double found = out[i + j];
      // Besides a few ulp: u rounds to a float, by eps / 2, and the radius is sqrt(-2 ln u), steep at u = 1.
      const double rounding = std::min(epsilon32 / radius, std::sqrt(epsilon32));
      if (std::abs(found - wanted) <= 16 * epsilon32 * radius + rounding) continue;
      throw WrongAnswer(fmt::format("wrong answer: draw {} is {:.9g}, expected {:.9g}", i + j, found, wanted));
    }
  }
}

void add_rows(Registry& registry, const Settings& settings) {
  for (const int threads : settings.threads) {
    const Shared<NormalProblem> shared([] { return std::make_shared<NormalProblem>(); });
    Comparison comparison{.kernel = "philox_normal",
                          .shape = shape_name({count}),
                          .threads = threads,
                          .work = {.bytes = 4.0 * count, .items = 1.0 * count},
                          .limit = Limit::memory,
                          .goal = {.ratio = 4},
                          .contestants = {}};
    for (const kernels::Target* target : settings.targets) {
      const kernels::Execution execution{target, threads};
      comparison.contestants.push_back({target->name, false, [shared, execution] {
                                          const auto p = shared.get();
                                          const auto run = [p, execution] {
                                            kernels::philox_normal(execution, stream, 0.0F, 1.0F, p->out.flat());
                                          };
                                          return Trial{run,
                                                       [p, run] {
                                                         poison(p->out.flat());
                                                         run();
                                                         check_moments(p->out.flat());
                                                         check_draws(p->out.flat());
                                                       },
                                                       {}};
                                        }});
    }
    comparison.contestants.push_back({"std_mt19937", true, [shared] {
                                        const auto p = shared.get();
                                        const auto run = [p] { plain_normals(p->out.flat()); };
                                        return Trial{run,
                                                     [p, run] {
                                                       poison(p->out.flat());
                                                       run();
                                                       check_moments(p->out.flat());
                                                     },
                                                     {}};
                                      }});
    registry.add(std::move(comparison));
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
