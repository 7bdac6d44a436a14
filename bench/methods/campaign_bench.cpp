// select_campaign: weighted pivoted Gram-Schmidt beside the plain one, which rewrites every residual at every step.
// bench/peers/torch_campaign.py gives the rows of PyTorch.
#include <fmt/format.h>

#include <cmath>
#include <set>

#include "methods/campaign.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

struct Shape {
  std::int64_t total, width, count;
};
// k d_i candidates of d_{i-1} weights, d_i of them to choose: k = 5 for two wide layers.
constexpr Shape shapes[] = {{2560, 784, 512}, {5120, 2048, 1024}};

// uniform: independent scores, most candidates never come near the top. close: normalised criteria, many close to
// equal. equal: the worst case for every shortcut.
enum class Scores { uniform, close, equal };

struct CampaignProblem {
  CampaignProblem(const Shape& s, Scores kind) : shape(s), candidates({s.total, s.width}), scores({s.total}) {
    fill_random(candidates.flat(), 1);
    fill_random(scores.flat(), 2);
    for (float& v : scores.flat()) {
      v = kind == Scores::uniform ? 0.5F * (v + 1.0F) : kind == Scores::close ? 1.0F + 0.1F * v : 1.0F;
    }
  }

  // Follows the choices in float64, as far as that takes some seconds, and demands that each is the best one but for a
  // near tie.
  void verify(const std::vector<std::int64_t>& chosen) const {
    if (static_cast<std::int64_t>(chosen.size()) != shape.count ||
        std::set(chosen.begin(), chosen.end()).size() != chosen.size()) {
      throw WrongAnswer("select_campaign: not as many different candidates as asked for");
    }
    const auto steps = std::min<std::int64_t>(shape.count, 2'000'000'000 / (shape.total * shape.width));
    std::vector<double> residual(candidates.flat().begin(), candidates.flat().end()),
        norm(static_cast<std::size_t>(shape.total)), weight;
    const auto row = [&](std::int64_t i) { return residual.data() + i * shape.width; };
    const auto dot = [&](const double* a, const double* b) {
      double sum = 0;
      for (std::int64_t k = 0; k < shape.width; ++k) sum += a[k] * b[k];
      return sum;
    };
    for (std::int64_t i = 0; i < shape.total; ++i) {
      const double length = std::sqrt(dot(row(i), row(i)));
      for (std::int64_t k = 0; k < shape.width; ++k) row(i)[k] /= length;
      weight.push_back(scores.data()[i]);
      norm[static_cast<std::size_t>(i)] = 1;
    }
    for (std::int64_t t = 0; t < steps; ++t) {
      const auto theirs = static_cast<std::size_t>(chosen[static_cast<std::size_t>(t)]);
      double best = 0;
      for (std::size_t i = 0; i < norm.size(); ++i) best = std::max(best, weight[i] * norm[i]);
      if (weight[theirs] * norm[theirs] < best * (1 - 1e-4)) {
        throw WrongAnswer(fmt::format("select_campaign: choice {} has the product {}, the best one {}", t,
                                      weight[theirs] * norm[theirs], best));
      }
      std::vector<double> q(row(chosen[static_cast<std::size_t>(t)]),
                            row(chosen[static_cast<std::size_t>(t)]) + shape.width);
      for (double& v : q) v /= norm[theirs];
      weight[theirs] = -1;
      for (std::int64_t i = 0; i < shape.total; ++i) {
        const double c = dot(row(i), q.data());
        for (std::int64_t k = 0; k < shape.width; ++k) row(i)[k] -= c * q[static_cast<std::size_t>(k)];
        norm[static_cast<std::size_t>(i)] = std::sqrt(dot(row(i), row(i)));
      }
    }
  }

  Shape shape;
  Tensor candidates, scores;
  std::vector<std::int64_t> chosen;
};

// Sixteen independent sums, which compilers turn into vectors at -O3.
float dot16(const float* a, const float* b, std::int64_t n) {
  float sums[16] = {}, total = 0;
  std::int64_t k = 0;
  for (; k + 16 <= n; k += 16) {
    for (int l = 0; l < 16; ++l) sums[l] += a[k + l] * b[k + l];
  }
  for (; k < n; ++k) total += a[k] * b[k];
  for (const float s : sums) total += s;
  return total;
}

// The plain method, every step in three passes over all residuals (`fused` false) or, as the best one can do without
// blocking, in one, row by row while the row is in the first-level cache.
std::vector<std::int64_t> plain(const CampaignProblem& p, bool fused) {
  const auto [total, width, count] = p.shape;
  std::vector<float> residual(p.candidates.flat().begin(), p.candidates.flat().end()), first,
      q(static_cast<std::size_t>(width));
  const auto row = [&](std::int64_t i) { return residual.data() + i * width; };
  for (std::int64_t i = 0; i < total; ++i) first.push_back(std::sqrt(dot16(row(i), row(i), width)));
  std::vector<float> norm = first, c(first.size());
  std::vector<bool> used(first.size(), false);
  std::vector<std::int64_t> chosen;
  while (static_cast<std::int64_t>(chosen.size()) < count) {
    std::int64_t best = -1;
    float product = -1;
    for (std::int64_t i = 0; i < total; ++i) {
      const auto n = static_cast<std::size_t>(i);
      const float v = p.scores.data()[i] * norm[n] / first[n];
      if (!used[n] && v > product) best = i, product = v;
    }
    chosen.push_back(best);
    used[static_cast<std::size_t>(best)] = true;
    for (std::int64_t k = 0; k < width; ++k)
      q[static_cast<std::size_t>(k)] = row(best)[k] / norm[static_cast<std::size_t>(best)];
    const auto project = [&](std::int64_t i) { c[static_cast<std::size_t>(i)] = dot16(row(i), q.data(), width); };
    const auto subtract = [&](std::int64_t i) {
      float* r = row(i);
      const float factor = c[static_cast<std::size_t>(i)];
      for (std::int64_t k = 0; k < width; ++k) r[k] -= factor * q[static_cast<std::size_t>(k)];
    };
    const auto measure = [&](std::int64_t i) {
      norm[static_cast<std::size_t>(i)] = std::sqrt(dot16(row(i), row(i), width));
    };
    if (fused) {
      for (std::int64_t i = 0; i < total; ++i) project(i), subtract(i), measure(i);
    } else {
      for (std::int64_t i = 0; i < total; ++i) project(i);
      for (std::int64_t i = 0; i < total; ++i) subtract(i);
      for (std::int64_t i = 0; i < total; ++i) measure(i);
    }
  }
  return chosen;
}

void add_rows(Registry& registry, const Settings& settings) {
  const std::pair<const char*, Scores> kinds[] = {
      {"uniform", Scores::uniform}, {"close", Scores::close}, {"equal", Scores::equal}};
  for (const Shape& s : shapes) {
    for (const auto& [kind_name, kind] : kinds) {
      for (const int threads : settings.threads) {
        const double p = static_cast<double>(s.total), k = static_cast<double>(s.width),
                     c = static_cast<double>(s.count);
        // The plain method's multiply-adds: this one does fewer. Against the fastest peer of any kind.
        Comparison comparison{.kernel = "select_campaign",
                              .shape = shape_name({s.total, s.width, s.count}) + "-" + kind_name,
                              .threads = threads,
                              .work = {.flops = 4 * p * k * c, .bytes = 4 * p * k},
                              .limit = Limit::none,
                              .goal = {.ratio = threads == 1 ? 2.5 : 0},
                              .contestants = {}};
        const Shared<CampaignProblem> shared([s, kind = kind] { return std::make_shared<CampaignProblem>(s, kind); });
        const auto contestant = [&](const std::string& name, bool peer, auto select) {
          comparison.contestants.push_back(
              {name, peer, [shared, select] {
                 const std::shared_ptr<CampaignProblem> problem = shared.get();
                 const auto run = [problem, select] { problem->chosen = select(*problem); };
                 return Trial{run, [problem, run] { run(), problem->verify(problem->chosen); }, {}};
               }});
        };
        for (const kernels::Target* target : settings.targets) {
          contestant(target->name, false,
                     [execution = kernels::Execution{target, threads}](const CampaignProblem& problem) {
                       return select_campaign(execution, problem.candidates, problem.scores.flat(),
                                              {.count = problem.shape.count})
                           .chosen;
                     });
        }
        if (threads == 1) {
          contestant("plain", true, [](const CampaignProblem& problem) { return plain(problem, false); });
          contestant("plain_fused", true, [](const CampaignProblem& problem) { return plain(problem, true); });
        }
        registry.add(std::move(comparison));
      }
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
