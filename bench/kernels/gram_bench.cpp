// gaussian_gram_sum, mmd_squared and the median of pairwise distances. PyTorch on the same rows:
// bench/peers/torch_gram.py.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/gram.h"
#include "peers/gram_peer.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

struct GramProblem {
  GramProblem(std::int64_t n, std::int64_t m, std::int64_t d)
      : x({n, d}), y({m, d}), gamma{0.4F * std::sqrt(static_cast<float>(d))}, rows(static_cast<std::size_t>(n)) {
    fill_random(x.flat(), 31);
    fill_random(y.flat(), 32);
  }
  // Some rows; float32 sums of m positive terms, each with the error of its exponent (at most some ten).
  void verify(const std::function<void()>& run) {
    std::ranges::fill(rows, -1.0);
    run();
    const ConstTensorView xv = x.view(), yv = y.view();
    for (const std::int64_t i : rows_to_check(xv.rows(), yv.size())) {
      double wanted = 0;
      for (std::int64_t j = 0; j < yv.rows(); ++j) {
        double squared = 0;
        for (std::int64_t k = 0; k < yv.cols(); ++k) squared += std::pow(double{xv(i, k)} - double{yv(j, k)}, 2);
        wanted += std::exp(-squared / (2 * double{gamma[0]} * double{gamma[0]}));
      }
      const double found = rows[static_cast<std::size_t>(i)];
      if (!(std::abs(found - wanted) <= 64 * epsilon32 * wanted))
        throw WrongAnswer(fmt::format("wrong answer: row sum {} is {:.9g}, expected {:.9g}", i, found, wanted));
    }
  }
  Tensor x, y;
  std::vector<float> gamma;
  std::vector<double> rows;
  std::vector<double> total = std::vector<double>(1);
};

Contestant contestant(const std::string& name, bool peer, const Shared<GramProblem>& shared,
                      const std::function<void(GramProblem&)>& call) {
  return {name, peer, [shared, call] {
            const auto p = shared.get();
            const auto run = [p, call] { call(*p); };
            return Trial{run, [p, run] { p->verify(run); }, {}};
          }};
}

void add_sums(Registry& registry, const Settings& settings) {
  struct Shape {
    std::int64_t n, m, d;
    double goal;
  };
  for (const auto& [n, m, d, goal] : {Shape{8192, 8192, 10, 3}, Shape{8192, 8192, 64, 1.5}, Shape{1024, 1024, 2, 3}}) {
    for (const int threads : settings.threads) {
      const Shared<GramProblem> shared([n = n, m = m, d = d] { return std::make_shared<GramProblem>(n, m, d); });
      const double pairs = static_cast<double>(n) * static_cast<double>(m);
      Comparison c{.kernel = "gaussian_gram_sum",
                   .shape = shape_name({n, m, d}),
                   .threads = threads,
                   // An exponential counts eleven operations; a difference and its square three.
                   .work = {.flops = pairs * static_cast<double>((d > 32 ? 2 : 3) * d + 11), .items = pairs},
                   .limit = Limit::multiply_add,
                   .goal = {.ratio = goal},
                   .contestants = {}};
      for (const kernels::Target* target : settings.targets) {
        const kernels::Execution execution{target, threads};
        c.contestants.push_back(contestant(target->name, false, shared, [execution](GramProblem& p) {
          kernels::gaussian_gram_sum(execution, p.x, p.y, p.gamma, p.rows, p.total);
        }));
      }
#ifdef KINDLING_GRAM_EIGEN
      c.contestants.push_back(contestant("eigen_rows", true, shared, [threads](GramProblem& p) {
        eigen_gram_threads(threads);
        eigen_gram_by_rows(p.x, p.y, p.gamma[0], p.rows);
      }));
      c.contestants.push_back(contestant("eigen_products", true, shared, [threads](GramProblem& p) {
        eigen_gram_threads(threads);
        eigen_gram_by_products(p.x, p.y, p.gamma[0], p.rows);
      }));
#endif
      registry.add(std::move(c));
    }
  }
}

struct MmdProblem {
  static constexpr std::int64_t problems = 50, samples = 100, d = 10;
  MmdProblem() : u({problems, samples, d}), v({problems, samples, d}), gradient({problems, samples, d}) {
    fill_random(u.flat(), 33);
    fill_random(v.flat(), 34, 0.8F);
  }
  [[nodiscard]] double kernel(const Tensor& a, const Tensor& b, std::int64_t i, std::int64_t j) const {
    double squared = 0;
    for (std::int64_t k = 0; k < d; ++k)
      squared += std::pow(double{a.data()[i * d + k]} - double{b.data()[j * d + k]}, 2);
    return std::exp(-squared / (2 * double{gamma[0]} * double{gamma[0]}));
  }
  void verify_mmd(const std::function<void()>& run) {
    poison(gradient.flat());
    run();
    for (const std::int64_t p : {std::int64_t{0}, problems - 1}) {
      double wanted = 0;
      std::vector<double> slope(samples * d);
      const std::int64_t first = p * samples;
      for (std::int64_t i = first; i < first + samples; ++i)
        for (std::int64_t j = first; j < first + samples; ++j) {
          const double uu = kernel(u, u, i, j), uv = kernel(u, v, i, j);
          wanted += uu - 2 * uv + kernel(v, v, i, j);
          for (std::int64_t k = 0; k < d; ++k)
            slope[static_cast<std::size_t>((i - first) * d + k)] +=
                -2 *
                (uu * (u.data()[i * d + k] - u.data()[j * d + k]) - uv * (u.data()[i * d + k] - v.data()[j * d + k]));
        }
      const double pairs = samples * samples;
      const auto at = static_cast<std::size_t>(p);
      if (!(std::abs(value[at] - wanted / pairs) <= 64 * epsilon32))
        throw WrongAnswer(
            fmt::format("wrong answer: value {} is {:.9g}, expected {:.9g}", p, value[at], wanted / pairs));
      for (std::int64_t e = 0; e < samples * d; ++e) {
        const double expected = slope[static_cast<std::size_t>(e)] / pairs / (double{gamma[0]} * double{gamma[0]});
        if (!(std::abs(gradient.data()[first * d + e] - expected) <= 64 * epsilon32 / samples))
          throw WrongAnswer(fmt::format("wrong answer: gradient {} of problem {}", e, p));
      }
    }
  }
  void verify_median(const std::function<void()>& run) {
    poison(median);
    run();
    for (const std::int64_t p : {std::int64_t{0}, problems - 1}) {
      std::vector<double> all;
      const auto row = [&](std::int64_t i) {
        return i < samples ? u.data() + (p * samples + i) * d : v.data() + (p * samples + i - samples) * d;
      };
      for (std::int64_t i = 0; i < 2 * samples; ++i)
        for (std::int64_t j = i + 1; j < 2 * samples; ++j) {
          double squared = 0;
          for (std::int64_t k = 0; k < d; ++k) squared += std::pow(double{row(i)[k]} - double{row(j)[k]}, 2);
          all.push_back(std::sqrt(squared));
        }
      std::ranges::sort(all);
      const double wanted = 0.5 * (all[all.size() / 2 - 1] + all[all.size() / 2]);
      const double found = median[static_cast<std::size_t>(p)];
      if (!(std::abs(found - wanted) <= 8 * epsilon32 * wanted))
        throw WrongAnswer(fmt::format("wrong answer: median {} is {:.9g}, expected {:.9g}", p, found, wanted));
    }
  }
  Tensor u, v, gradient;
  std::vector<float> gamma = std::vector<float>(problems, 1.2F);
  std::vector<double> value = std::vector<double>(problems);
  std::vector<float> median = std::vector<float>(problems);
};

void add_batched(Registry& registry, const Settings& settings) {
  for (const int threads : settings.threads) {
    const Shared<MmdProblem> shared([] { return std::make_shared<MmdProblem>(); });
    Comparison mmd{.kernel = "mmd_squared",
                   .shape = "50x100x100x10",
                   .threads = threads,
                   .work = {.items = 50.0 * 3 * 100 * 100},
                   .limit = Limit::none,
                   .goal = {},
                   .contestants = {}};
    Comparison median{.kernel = "pair_distance_median",
                      .shape = "50x200x10",
                      .threads = threads,
                      .work = {.items = 50.0 * 199 * 100},
                      .limit = Limit::none,
                      .goal = {},
                      .contestants = {}};
    for (const kernels::Target* target : settings.targets) {
      const kernels::Execution execution{target, threads};
      mmd.contestants.push_back({target->name, false, [shared, execution] {
                                   const auto p = shared.get();
                                   const auto run = [p, execution] {
                                     kernels::mmd_squared(execution, p->u, p->v, p->gamma,
                                                          kernels::MmdEstimate::v_statistic, p->value, p->gradient);
                                   };
                                   return Trial{run, [p, run] { p->verify_mmd(run); }, {}};
                                 }});
      median.contestants.push_back({target->name, false, [shared, execution] {
                                      const auto p = shared.get();
                                      const auto run = [p, execution] {
                                        kernels::pair_distance_quantile(execution, p->u, p->v, 0.5, p->median);
                                      };
                                      return Trial{run, [p, run] { p->verify_median(run); }, {}};
                                    }});
    }
    registry.add(std::move(mmd));
    registry.add(std::move(median));
  }
}

const Registration sums{add_sums}, batched{add_batched};

}  // namespace
}  // namespace kindling::bench
