// gather_rows_u8: a mini-batch of random rows out of a data set kept as bytes, standardised on the way.
#include <fmt/format.h>

#include <cmath>

#include "kernels/scatter.h"
#include "peers/plain.h"
#include "reference.h"
#include "support.h"

namespace kindling::bench {
namespace {

constexpr std::int64_t samples = 60'000;
constexpr std::int64_t features = 784;

struct GatherProblem {
  explicit GatherProblem(std::int64_t rows)
      : bytes(static_cast<std::size_t>(samples * features)),
        index(static_cast<std::size_t>(rows)),
        mean(features),
        inverse_std(features),
        out({rows, features}) {
    std::uint64_t state = 1;
    for (std::uint8_t& b : bytes) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      b = static_cast<std::uint8_t>(state >> 56U);
    }
    for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::int32_t>((i * 48271 + 11) % samples);
    fill_random(mean, 6);
    fill_random(inverse_std, 7, 3.0F);
  }
  [[nodiscard]] BasicTensorView<const std::uint8_t> source() const { return {bytes.data(), {samples, features}}; }

  void verify(const std::function<void()>& run) {
    poison(out.flat());
    run();
    for (std::size_t r = 0; r < index.size(); ++r) {
      for (std::size_t k = 0; k < features; ++k) {
        const double pixel = bytes[static_cast<std::size_t>(index[r]) * features + k] / 255.0;
        const double wanted = (pixel - double{mean[k]}) * double{inverse_std[k]};
        const double found = out.data()[r * features + k];
        if (std::abs(found - wanted) <=
            4 * epsilon32 * (pixel + std::abs(double{mean[k]})) * std::abs(double{inverse_std[k]}))
          continue;
        throw WrongAnswer(
            fmt::format("wrong answer: row {}, feature {} is {:.9g}, expected {:.9g}", r, k, found, wanted));
      }
    }
  }

  std::vector<std::uint8_t> bytes;
  std::vector<std::int32_t> index;
  std::vector<float> mean, inverse_std;
  Tensor out;
};

void add_rows(Registry& registry, const Settings& settings) {
  for (const std::int64_t rows : {100, 1000}) {
    for (const int threads : settings.threads) {
      const Shared<GatherProblem> shared([rows] { return std::make_shared<GatherProblem>(rows); });
      Comparison comparison{.kernel = "gather_rows_u8",
                            .shape = shape_name({rows, features}),
                            .threads = threads,
                            .work = {.bytes = 5.0 * static_cast<double>(rows) * features},
                            .limit = Limit::memory,
                            .goal = {.ratio = 1},
                            .contestants = {}};
      for (const kernels::Target* target : settings.targets) {
        const kernels::Execution execution{target, threads};
        comparison.contestants.push_back({target->name, false, [shared, execution] {
                                            const auto p = shared.get();
                                            const auto run = [p, execution] {
                                              kernels::gather_rows_u8(execution, p->source(), p->index, p->mean,
                                                                      p->inverse_std, p->out);
                                            };
                                            return Trial{run, [p, run] { p->verify(run); }, {}};
                                          }});
      }
      comparison.contestants.push_back(
          {"plain_loop", true, [shared] {
             const auto p = shared.get();
             const auto run = [p] { plain_gather_rows_u8(p->source(), p->index, p->mean, p->inverse_std, p->out); };
             return Trial{run, [p, run] { p->verify(run); }, {}};
           }});
      registry.add(std::move(comparison));
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
